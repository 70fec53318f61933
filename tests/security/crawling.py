"""Following links, as a browser or a person could."""

import re
from collections import deque
from collections.abc import Iterator
from html import unescape
from http.cookies import SimpleCookie
from urllib.parse import urljoin, urlsplit

from django.http.response import HttpResponseBase

from tests.security.walking import ask

MOST_PAGES = 150
"""For one role. Each filter of a list leads to the same list, so one of each is followed."""

LEADS_TO = re.compile(r'(?<![\w-])(?:href|src|data-poll)="([^"]+)"')
FORM = re.compile(r"<form\b[^>]*>", re.IGNORECASE)
ACTION = re.compile(r'\saction="([^"]*)"')
"""A parser of HTML would take as long as the page took; an attribute of ours has double quotes."""


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
    """What a page leads to or loads: links, forms that only ask, what it polls."""
    text = content.decode("utf-8", "replace")
    asking = [one for one in FORM.findall(text) if 'method="post"' not in one.lower()]
    found = [*LEADS_TO.findall(text), *("".join(ACTION.findall(one)) for one in asking)]
    led_to = (urljoin(address, unescape(one)).partition("#")[0] for one in dict.fromkeys(found))
    return [one for one in led_to if ours(one)]


def ours(address: str) -> bool:
    """Whether it is a page of this site."""
    return address.startswith("/") and not address.startswith(("//", "/static/"))
