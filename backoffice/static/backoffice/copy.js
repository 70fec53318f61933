"use strict";
/*
Copies the text of another element: <button class="btn copy" type="button" data-copy="#id" hidden>.
The button is hidden until it can work; marking the text by hand always works.
*/
if (navigator.clipboard) {
  document.querySelectorAll("button.copy[data-copy]").forEach((button) => {
    const label = button.textContent;
    button.hidden = false;
    button.setAttribute("aria-live", "polite");
    button.addEventListener("click", async () => {
      const source = document.querySelector(button.dataset.copy);
      try {
        await navigator.clipboard.writeText(source.innerText);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Could not copy";
      }
      setTimeout(() => { button.textContent = label; }, 2000);
    });
  });
}
