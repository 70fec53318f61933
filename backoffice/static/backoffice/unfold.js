"use strict";
/*
Fills <details data-unfold="/admin/…/payload/"> from its address when it is opened, once. Without it
the link inside leads to a page with the same content.
*/
document.querySelectorAll("details[data-unfold]").forEach((details) => {
  const fill = async () => {
    details.removeEventListener("toggle", fill);
    const place = document.createElement("div");
    place.setAttribute("aria-live", "polite");
    place.textContent = "Loading…";
    details.append(place);
    try {
      const answer = await fetch(details.dataset.unfold, {
        headers: { "X-Requested-With": "fetch" },
        credentials: "same-origin",
        redirect: "error",
      });
      if (!answer.ok) throw new Error(String(answer.status));
      place.innerHTML = await answer.text();
      details.querySelector(":scope > p")?.remove();
    } catch {
      place.textContent = "It could not be loaded. The link above leads to the same content.";
    }
  };
  details.addEventListener("toggle", fill);
});
