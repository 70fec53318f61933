"use strict";
/*
Ctrl+K (on a Mac ⌘K) leads to the search box. With a modifier, so that no key that somebody types or
says by accident does anything (WCAG 2.1.4). Without it the box is one click away.
*/
{
  const box = document.getElementById("searchbar");
  const hint = document.querySelector("[data-search-key]");

  if (box && hint) {
    const isMac = /Mac|iPhone|iPad/.test(navigator.platform);
    hint.textContent = isMac ? "⌘K" : "Ctrl K";
    hint.hidden = false;
    box.setAttribute("aria-keyshortcuts", isMac ? "Meta+K" : "Control+K");
    document.addEventListener("keydown", (event) => {
      const isHeld = isMac ? event.metaKey && !event.ctrlKey : event.ctrlKey && !event.metaKey;
      if (event.key.toLowerCase() !== "k" || !isHeld || event.altKey || event.shiftKey) return;
      event.preventDefault();
      box.focus();
      box.select();
    });
  }
}
