"""Following every link changes nothing, whoever follows it."""

from collections import deque
from collections.abc import Iterator
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from urllib.parse import urljoin, urlsplit

import pytest
from django.http.response import HttpResponseBase

from tests.security.walking import ask, changed, held, quiet
from tests.security.world import ROLES, build

pytestmark = pytest.mark.django_db

MOST_PAGES = 150
"""For one role. Each filter of a list leads to the same list, so one of each is followed."""


class Links(HTMLParser):
    """What a page leads to or loads: links, forms that only ask, what it polls."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what a browser or a person could ask for by GET."""
        held = {name: value or "" for name, value in attrs}
        if tag == "form" and held.get("method", "get").lower() == "get":
            self.found.append(held.get("action", ""))
        self.found += [held[name] for name in ("href", "src", "data-poll") if held.get(name)]


def crawl(cookies: SimpleCookie) -> Iterator[tuple[str, HttpResponseBase]]:
    """Every page within reach of the front page, with its address."""
    seen: set[str] = set()
    shapes: set[tuple[str, ...]] = set()
    waiting = deque(["/admin/"])
    while waiting and len(seen) < MOST_PAGES:
        address = waiting.popleft()
        if address in seen or shape(address) in shapes:
            continue
        shapes.add(shape(address))
        answer = ask("GET", address, cookies)
        seen.add(address)
        yield address, answer
        waiting.extend(links(address, getattr(answer, "content", b"")))
        waiting.extend(one for one in [answer.headers.get("Location", "")] if ours(one))


def shape(address: str) -> tuple[str, ...]:
    """A path with the names of its parameters: what is worth looking at once."""
    parts = urlsplit(address)
    return (parts.path, *sorted(one.partition("=")[0] for one in parts.query.split("&")))


def links(address: str, content: bytes) -> list[str]:
    parser = Links()
    parser.feed(content.decode("utf-8", "replace"))
    led_to = (urljoin(address, one).partition("#")[0] for one in parser.found)
    return [one for one in led_to if ours(one)]


def ours(address: str) -> bool:
    return address.startswith("/") and not address.startswith(("//", "/static/"))


@pytest.mark.parametrize("letter", list(ROLES))
def test_every_link_can_be_followed_and_changes_nothing(letter: str) -> None:
    world = build()
    cookies = world.cookies(letter)
    with quiet():
        before = held()
        seen = {address: answer.status_code for address, answer in crawl(cookies)}
        after = changed(before)
    assert after == []
    assert len(seen) > (2 if letter == "n" else 15)
    # Nothing is offered that the same person is then refused.
    assert {one: status for one, status in seen.items() if status not in (200, 286, 302)} == {}
