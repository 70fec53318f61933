"""Each page of the site's table: no accessibility violation, nothing on the console, no overflow.

The pages are those that tests/security/pages.py says somebody may open.
"""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import resolve

from tests.browser.chromium import NARROW, WIDE
from tests.browser.visiting import Visit, visiting
from tests.security.pages import PAGES, Page
from tests.security.world import World, build

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

NOT_SHOWN = ("/healthz", "/readyz", "/admin/jsi18n/", "/admin/r/")
PARTS = ("/progress/", "/counts/", "/running/", "/rows/", "/payload/request/", "/payload/answer/")
"""What scripts put into a page that is open; without one, they are links to pages of their own."""
FIRST_ASKED = "oapdsr"
"""Of those who may open a page, the first of these does."""
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
LONG = "Donaudampfschifffahrtsgesellschaft\u05e9\u05dc\u05d5\u05dd\U0001f389" * 8
"""Whatever has a name has this one: a word of 300 letters, in two directions, with pictures."""
AXE = Axe().axe_script
AXE_OPTIONS = {
    "runOnly": {"type": "tag", "values": WCAG},
    "resultTypes": ["violations"],
    # No rule of these needs the style sheets a second time, which it waits for.
    "preload": False,
}


def shown(world: World) -> Iterator[tuple[str, str]]:
    """Who opens what: each kind of page once."""
    seen: set[str] = set()
    for page in PAGES:
        address = page.at(world.ids)
        route = resolve(address.partition("?")[0]).route
        if _is_shown(page) and route not in seen and page.opens_for:
            seen.add(route)
            yield next(one for one in FIRST_ASKED if one in page.opens_for), address


def _is_shown(page: Page) -> bool:
    plain = "?" not in page.address or "selection" in page.address
    whole = not page.address.endswith((".txt", *PARTS))
    return plain and whole and not page.address.startswith(NOT_SHOWN)


def test_each_page_keeps_wcag_is_silent_on_the_console_and_fits_a_telephone(
    chromium: "Browser", site: str
) -> None:
    world, found = build(LONG), {}
    pages = list(shown(world))
    for letter in FIRST_ASKED:
        mine = [address for who, address in pages if who == letter]
        with visiting(chromium, site, world.people[letter], reduced_motion="reduce") as visit:
            for address in mine:
                if leads_nowhere_else(visit, address):
                    found[address] = look(visit)
    wrong = {address: what for address, what in found.items() if what}
    assert len(found) > 35
    assert not wrong, json.dumps(wrong, indent=1)


def leads_nowhere_else(visit: Visit, address: str) -> bool:
    """Open a page; False if it only leads to another, which has its own line in the table."""
    # Axe adds styles, which the policy forbids and the console tells, late: let it finish.
    visit.page.goto("about:blank")
    visit.said.clear()
    visit.page.set_viewport_size(WIDE)
    visit.page.emulate_media(color_scheme="light")
    status = visit.open(address)
    is_here = urlsplit(visit.page.url).path == urlsplit(address).path
    assert status == 200 or not is_here, (address, status)
    return is_here


def look(visit: Visit) -> list[str]:
    """What is wrong with the page that is open, which is looked at in every way."""
    found = visit.said.copy()
    visit.page.evaluate(AXE)
    found += [f"light: {one}" for one in violations(visit)]
    visit.page.emulate_media(color_scheme="dark")
    found += [f"dark: {one}" for one in violations(visit)]
    visit.page.set_viewport_size(NARROW)
    return [*found, "has to be moved sideways"] if visit.overflows() else found


def violations(visit: Visit) -> list[str]:
    """What axe has to say about the page as it looks now."""
    found = visit.page.evaluate("options => axe.run(options)", AXE_OPTIONS)["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html'][:160]}" for one in found]
