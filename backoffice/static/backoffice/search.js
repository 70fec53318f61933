"use strict";
/* "/" leads to the search box, unless one is typing. Without it the box is one click away. */
{
  const box = document.getElementById("searchbar");
  const hint = document.querySelector("[data-search-key]");
  const TYPING = "input:not([type=checkbox], [type=radio], [type=submit], [type=button]), select, textarea, [contenteditable]";

  if (box && hint) {
    hint.hidden = false;
    box.setAttribute("aria-keyshortcuts", "/");
    document.addEventListener("keydown", (event) => {
      if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.target.closest?.(TYPING)) return;
      event.preventDefault();
      box.focus();
      box.select();
    });
  }
}
