"""A person at a browser, who hears everything that its console says."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.models import User
from playwright.sync_api import Browser, ConsoleMessage, Page, Request

from tests.browser.chromium import WIDE
from tests.browser.conftest import cookie_of

TOO_WIDE = """
[document.documentElement, ...document.querySelectorAll(".results, .scroll")].some(
  (one) => one.checkVisibility() && one.scrollWidth > one.clientWidth + 1,
)
"""


class Visit:
    """One tab. `said` holds each message of the console and each request that failed."""

    def __init__(self, page: Page, site: str) -> None:
        self.page = page
        self.site = site
        self.said: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("requestfailed", self._hear_of_failure)

    def open(self, path: str) -> int:
        """Go to an address; its status."""
        answer = self.page.goto(self.site + path)
        assert answer is not None
        return answer.status

    def text(self) -> str:
        """What can be read of the page's own part."""
        return self.page.inner_text("#content")

    def overflows(self) -> bool:
        """Whether the page as a whole, or a table in it, has to be moved sideways."""
        return bool(self.page.evaluate(TOO_WIDE))

    def _hear_of_failure(self, request: Request) -> None:
        # Whoever leaves a page leaves its questions unanswered.
        if request.failure != "net::ERR_ABORTED":
            self.said.append(f"failed: {request.url}: {request.failure}")

    def _hear(self, message: ConsoleMessage) -> None:
        # Chromium itself remarks on the status of a page that was refused and on a field that
        # the admin's script focuses before it can, and gives hints on password managers that
        # only who asks for them sees.
        if not message.text.startswith(("Failed to load resource", "Autofocus", "[DOM]")):
            self.said.append(message.text)


@contextmanager
def visiting(
    chromium: Browser, site: str, user: User | None = None, **options: Any
) -> Iterator[Visit]:
    """A new browser in which this person is signed in; `options` are playwright's."""
    context = chromium.new_context(**{"viewport": WIDE, "service_workers": "block", **options})
    context.set_default_timeout(30_000)
    if user is not None:
        context.add_cookies([cookie_of(user, site)])  # type: ignore[list-item]
    try:
        yield Visit(context.new_page(), site)
    finally:
        context.close()
