"""Each page of the site's table: no accessibility violation, nothing on the console, no overflow.

The pages are those that tests/security/pages.py says somebody may open.
"""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import resolve

from tests.browser.visiting import NARROW, Visit, visiting
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_violates_wcag_or_speaks_on_the_console(
    chromium: "Browser", site: str, scheme: str
) -> None:
    world, wrong, looked = build(), {}, 0
    for letter in FIRST_ASKED:
        mine = [address for who, address in shown(world) if who == letter]
        with visiting(chromium, site, world.people[letter], color_scheme=scheme) as visit:
            for address in mine:
                found = look(visit, address)
                looked += 1
                if found:
                    wrong[address] = found
    assert looked > 40
    assert not wrong, json.dumps(wrong, indent=1)


def look(visit: Visit, address: str) -> list[str]:
    """What is wrong with a page."""
    # Axe adds styles, which the policy forbids and the console tells, late: let it finish.
    visit.page.goto("about:blank")
    visit.said.clear()
    status = visit.open(address)
    if not visit.page.locator("body").count() or status >= 500:
        return [f"status {status}"]
    said = visit.said.copy()
    options = {"runOnly": {"type": "tag", "values": WCAG}}
    violations = Axe().run(visit.page, options=options).response["violations"]
    return said + [f"{one['id']}: {one['nodes'][0]['html'][:160]}" for one in violations]


def test_no_page_has_to_be_moved_sideways_on_a_telephone(chromium: "Browser", site: str) -> None:
    world, wide = build(), []
    for letter in FIRST_ASKED:
        with visiting(chromium, site, world.people[letter], viewport=NARROW) as visit:
            for who, address in shown(world):
                if who == letter:
                    visit.open(address)
                    wide += [address] if visit.overflows() else []
    assert not wide, wide
