"use strict";
/* Menus (of filters, of the account) close with Escape or a click elsewhere. Without it a second click on it does. */
{
  const open = () => document.querySelectorAll("details.pill[open]");

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    open().forEach((pill) => {
      pill.open = false;
      pill.querySelector("summary").focus();
    });
  });

  document.addEventListener("click", (event) => {
    open().forEach((pill) => {
      if (!pill.contains(event.target)) pill.open = false;
    });
  });
}
