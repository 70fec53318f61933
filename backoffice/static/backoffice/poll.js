"use strict";
/*
Replaces the inside of [data-poll] elements by what their address answers, again and again:

    <div data-poll="/admin/…/progress/" data-poll-every="2000">…</div>

It rests while the tab is hidden, ends when the server says so (status 286 or "X-Poll: done"), and
waits longer after each failure, saying so in words; being logged out ends it. Without it the page
is simply as of its load.
*/
{
  const SLOWEST = 30000;
  const LOST = "Connection lost, trying again.";
  const LOGGED_OUT = "You are logged out. Load the page again to see how far it is.";

  const noteFor = (element) => {
    const note = document.createElement("p");
    note.className = "poll-note";
    note.setAttribute("role", "status");
    element.after(note);
    return note;
  };

  const untilVisible = () =>
    document.hidden
      ? new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }))
      : null;

  const show = (element, html) => {
    // Whoever is inside with the keyboard must not lose the place.
    const focused = document.activeElement;
    const id = element.contains(focused) && focused.id;
    element.innerHTML = html;
    if (id) document.getElementById(id)?.focus();
  };

  const refresh = async (element) => {
    const answer = await fetch(element.dataset.poll, {
      headers: { "X-Requested-With": "fetch" },
      credentials: "same-origin",
      redirect: "manual",
    });
    // Only the way to the log-in page is a redirection.
    if (answer.type === "opaqueredirect") return LOGGED_OUT;
    if (!answer.ok) throw new Error(String(answer.status));
    show(element, await answer.text());
    return answer.status === 286 || answer.headers.get("X-Poll") === "done" ? "" : null;
  };

  const poll = async (element) => {
    const every = Number(element.dataset.pollEvery) || 2000;
    const note = noteFor(element);
    let wait = every;
    for (let ended = null; ended === null && element.isConnected; ) {
      await new Promise((resolve) => setTimeout(resolve, wait));
      await untilVisible();
      try {
        ended = await refresh(element);
        wait = every;
        note.textContent = ended ?? "";
      } catch {
        wait = Math.min(wait * 2, SLOWEST);
        note.textContent = LOST;
      }
    }
  };

  document.querySelectorAll("[data-poll]").forEach(poll);
}
