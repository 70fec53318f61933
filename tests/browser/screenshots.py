"""`make screenshots`: pictures of the main pages of a demo of its own, and of its states.

    python -m tests.browser.screenshots [--readme]

Each page in light and dark, 1280 and 390 pixels wide, goes to var/screenshots. With --readme the
three that the README shows are taken anew, too. Data, addresses and order of steps are the same
each time; only the clock differs.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from backoffice.demonstration import (
    Demo,
    DemoFailed,
    Place,
    Stopped,
    free_port,
    stop_on_signals,
)
from tests.browser.chromium import NARROW, SWITCHES, WIDE, executable

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "var" / "screenshots"
PICTURES = ROOT / "backoffice" / "pictures"
FOR_README = {"overview", "preview", "invoice"}
README_CLIP = {"x": 0, "y": 0, "width": 1280, "height": 820}
SCHEMES = ("light", "dark")

INVOICES = "/admin/invoices/invoice/"
BATCHES = "/admin/invoices/cancellationbatch/"
REVIEWS = "/admin/invoices/cancellationattempt/"
APPROVALS = "/admin/invoices/awaitingbatch/"
REVIEW_TRIES = 45
"""Seconds until the demo's provider has gone back on its word and was read again."""


class Album:
    """Takes each page in every size and scheme."""

    def __init__(self, readme: bool) -> None:
        self._readme = readme
        self.taken = 0

    def take(self, page: Page, name: str) -> None:
        """Pictures of what is open now, under this name."""
        for size in (WIDE, NARROW):
            page.set_viewport_size(size)
            for scheme in SCHEMES:
                page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
                path = FOLDER / f"{name}-{scheme}-{size['width']}.png"
                page.screenshot(path=path, full_page=True, animations="disabled")
                self.taken += 1
        page.set_viewport_size(WIDE)
        page.emulate_media(color_scheme="light")
        if self._readme and name in FOR_README:
            page.screenshot(path=PICTURES / f"{name}.png", clip=README_CLIP)  # type: ignore[arg-type]


class Person:
    """Somebody who is logged in at the demo."""

    def __init__(self, browser: Browser, origin: str, name: str) -> None:
        self._origin = origin
        self.page = browser.new_page(reduced_motion="reduce")
        self.open("/admin/")
        self.page.fill("#id_username", name)
        self.page.fill("#id_password", "demo")
        self.page.press("#id_password", "Enter")
        self.page.wait_for_url("**/admin/")

    def open(self, path: str) -> Page:
        """Go to an address."""
        self.page.goto(self._origin + path)
        return self.page


def main(arguments: list[str]) -> int:
    """0 when all were taken."""
    parser = argparse.ArgumentParser(prog="tests.browser.screenshots", description=__doc__)
    parser.add_argument("--readme", action="store_true", help="renew the pictures of the README")
    options = parser.parse_args(arguments)
    FOLDER.mkdir(parents=True, exist_ok=True)
    stop_on_signals()
    album = Album(options.readme)
    try:
        with demo() as origin, chromium() as browser:
            photograph(album, browser, origin)
    except DemoFailed as reason:
        print(reason)
        return 1
    except Stopped:
        print("stopped")
        return 1
    print(f"{album.taken} pictures are in {FOLDER}.")
    return 0


@contextmanager
def demo() -> Iterator[str]:
    """A fresh demo; where it answers."""
    with tempfile.TemporaryDirectory(prefix="annul-screenshots-") as name:
        folder = Path(name)
        (folder / "log").mkdir()
        place = Place(folder, ROOT / "manage.py", free_port(), free_port())
        running = Demo(place, print)
        try:
            running.start()
            yield place.origin
        finally:
            running.stop()


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser of this machine."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=list(SWITCHES))
        yield browser
        browser.close()


def photograph(album: Album, browser: Browser, origin: str) -> None:
    """Page after page, in the order in which somebody would come to them."""
    operator = Person(browser, origin, "operator")
    review_appears(operator)
    album.take(operator.open(INVOICES), "invoices")
    album.take(choose(operator), "preview")
    operator.page.select_option("select[name=reason]", "duplicate")
    operator.page.click("#content form .btn-danger")
    operator.page.wait_for_selector("text=/[1-9]\\d* of \\d+ done/")
    album.take(operator.page, "batch-running")
    album.take(operator.open("/admin/"), "overview")
    album.take(operator.open(f"{BATCHES}1/change/"), "batch-finished")
    album.take(operator.open(REVIEWS), "reviews")
    operator.page.locator("#result_list tbody th a").first.click()
    album.take(operator.page, "review")

    auditor = Person(browser, origin, "auditor")
    auditor.open(f"{BATCHES}1/rows/?state=cancelled")
    auditor.page.locator("tr:has-text('Müller') .row-name a").first.click()
    album.take(auditor.page, "invoice")
    album.take(auditor.open("/admin/invoices/providerrequest/"), "provider-calls")

    approver = Person(browser, origin, "approver")
    album.take(approver.open(APPROVALS), "approvals")
    approver.page.locator("#result_list tbody th a").first.click()
    album.take(approver.page, "approval")

    admin = Person(browser, origin, "admin")
    album.take(admin.open("/admin/providers/provideraccount/"), "accounts")
    admin.page.locator("#result_list tbody th a").first.click()
    album.take(admin.page, "account")


def choose(operator: Person) -> Page:
    """The preview of a page of invoices that are open: few enough to need no approval."""
    page = operator.open(f"{INVOICES}?status=open&rows=100")
    page.check("#action-toggle")
    page.select_option("select[name=action]", "cancel_selected")
    page.click("button[name=index]")
    page.wait_for_selector("text=This cannot be undone")
    return page


def review_appears(operator: Person) -> None:
    """Wait for what a person has to decide."""
    for _ in range(REVIEW_TRIES):
        if operator.open(REVIEWS).locator("#result_list tbody th a").count():
            return
        operator.page.wait_for_timeout(1000)
    raise DemoFailed("Nothing came to need a review; is the machine very busy?")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
