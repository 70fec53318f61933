"""How a state, an amount, progress and a payload are written. Nothing here trusts its input.

{% load annul %}
{% badge attempt.state attempt.get_state_display %}   or {% badge "open" %}
{% money invoice.amount_minor invoice.currency invoice.exponent %}
{% bar counts %}          counts: [(state, count)] or [(state, count, word)]
{% outcomes counts %}     the legend that belongs to it
<pre class="json" tabindex="0">{{ body|json_html }}</pre>
{% asset "backoffice/annul.css" %}    {% static %} that cannot fail, for error pages
"""

import re
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from django import template
from django.conf import settings
from django.contrib.staticfiles.storage import staticfiles_storage
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from providers.money import format_minor

register = template.Library()

Count: TypeAlias = tuple[str, int] | tuple[str, int, str]

SHOWN_BYTES = 64 * 1024
"""Of a payload; the rest is in the download."""

BAR_UNITS = 1000
SLIVER = 6
"""What is there must be seen: the least width of a segment, of BAR_UNITS."""

# Beyond this depth nothing is broken into lines any more, so that a body of 64 k brackets
# does not become a page of gigabytes.
DEEPEST_INDENT = 24

_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\]|\\.)*"?)
      | (?P<number>-?\d[\d.eE+-]*)
      | (?P<literal>\b(?:true|false|null)\b)
      | (?P<open>[{\[])
      | (?P<close>[}\]])
      | (?P<comma>,)
      | (?P<colon>:)
      | (?P<space>\s+)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_MASK = re.compile(r"(\[masked \d+ chars sha256:[0-9a-f]{8}\])")

# Control characters become visible, and those that turn the reading direction lose their power.
_VISIBLE = {
    code: f"‹U+{code:04X}›"
    for code in (
        *(code for code in range(0x20) if chr(code) not in "\t\n\r"),
        0x7F,
        0x061C,
        *(0x200E, 0x200F),
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
    )
}


@register.simple_tag
def badge(state: object, word: object = "") -> SafeString:
    """A state as colour, shape and word; the word is made from the state unless given."""
    return format_html(
        '<span class="badge" data-state="{}">{}</span>', state, word or _word(str(state))
    )


@register.simple_tag
def money(minor: int | None, currency: str, exponent: int | None = 2) -> SafeString:
    """An amount in minor units, e.g. (124000, "USD", 2) -> 1,240.00 USD; exact, no floats."""
    if minor is None or exponent is None:
        return format_html('<span class="money not-stated">{}</span>', "not stated")
    return format_html(
        '<span class="money">{} {}</span>', format_minor(int(minor), int(exponent)), currency
    )


@register.simple_tag
def bar(counts: Iterable[Count], label: str = "") -> SafeString:
    """Stacked progress; what it shows is also its text, for those who do not see it."""
    parts = [part for part in map(_part, counts) if part[1] > 0]
    text = ", ".join(f"{count:,} {word}" for _, count, word in parts) or "nothing yet"
    segments = format_html_join(
        "",
        '<rect x="{}" y="0" width="{}" height="10" data-state="{}"/>',
        _segments([(state, count) for state, count, _ in parts]),
    )
    return format_html(
        '<svg class="bar" role="img" aria-label="{}" viewBox="0 0 {} 10" '
        'preserveAspectRatio="none"><rect class="track" width="{}" height="10"/>{}</svg>',
        f"{label}: {text}" if label else text,
        BAR_UNITS,
        BAR_UNITS,
        segments,
    )


@register.simple_tag
def outcomes(counts: Iterable[Count]) -> SafeString:
    """The legend of a bar: shape, count and word of each state that occurs."""
    return format_html(
        '<ul class="outcomes">{}</ul>',
        format_html_join(
            "",
            '<li data-state="{}"><b>{}</b> {}</li>',
            ((state, f"{count:,}", word) for state, count, word in map(_part, counts) if count > 0),
        ),
    )


@register.filter
def json_html(body: bytes | memoryview | str | None) -> SafeString:
    """A payload, indented and coloured. Every value stays as it was sent, to the digit.

    It is cut into tokens, not parsed: repeated keys, long numbers and half a document survive.
    What is not JSON is shown as text.
    """
    raw = body.encode("utf-8", "replace") if isinstance(body, str) else bytes(body or b"")
    text = raw[:SHOWN_BYTES].decode("utf-8", "replace").translate(_VISIBLE)
    if not text.strip():
        return format_html('<span class="cut">{}</span>', "empty")
    looks_like_json = text.lstrip()[0] in '{["'
    pieces = _pretty(text) if looks_like_json else _masked("", text)
    shown = format_html_join("", "{}", ((piece,) for piece in pieces))
    missing = len(raw) - SHOWN_BYTES
    if missing <= 0:
        return shown
    note = f"{missing:,} more bytes are not shown here. The download has all of them."
    return format_html('{}\n<span class="cut">{}</span>', shown, note)


@register.simple_tag
def asset(path: str) -> str:
    """The address of a static file; without the manifest's hash when there is no manifest."""
    try:
        return staticfiles_storage.url(path)
    except ValueError:
        return f"{settings.STATIC_URL}{path}"


def _word(state: str) -> str:
    return state.replace("_", " ").capitalize() or "Unknown"


def _part(count: Count) -> tuple[str, int, str]:
    return (count[0], count[1], count[2] if len(count) == 3 else _word(count[0]).lower())


def _segments(counts: list[tuple[str, int]]) -> Iterator[tuple[int, int, str]]:
    """(x, width, state) that fill BAR_UNITS exactly, with a hairline between neighbours."""
    total = sum(count for _, count in counts)
    widths = [max(SLIVER, count * BAR_UNITS // total) for _, count in counts]
    if widths:
        widths[widths.index(max(widths))] += BAR_UNITS - sum(widths)
    x = 0
    for index, ((state, _), width) in enumerate(zip(counts, widths, strict=True)):
        gap = 0 if index == len(counts) - 1 else 2
        yield x, max(1, width - gap), state
        x += width


def _pretty(text: str) -> Iterator[str]:
    depth = 0
    after_open = False
    matches = [match for match in _TOKEN.finditer(text) if match.lastgroup != "space"]
    for index, match in enumerate(matches):
        kind, token = match.lastgroup, match[0]
        if kind == "close":
            depth = max(0, depth - 1)
        if (kind == "close") != after_open:
            yield _line(depth)
        after_open = kind == "open"
        depth += after_open
        following = matches[index + 1].lastgroup if index + 1 < len(matches) else ""
        yield from _token(str(kind), token, is_key=following == "colon")
        if kind == "comma":
            yield _line(depth)


def _line(depth: int) -> str:
    return "\n" + "  " * depth if depth <= DEEPEST_INDENT else ""


def _token(kind: str, token: str, *, is_key: bool) -> Iterator[str]:
    if kind == "string":
        yield from _masked("k" if is_key else "s", token)
    elif kind in {"number", "literal"}:
        yield format_html('<span class="{}">{}</span>', kind[0], token)
    else:
        yield {"colon": ": "}.get(kind, token)


def _masked(kind: str, text: str) -> Iterator[str]:
    """The text in its colour, with what was masked before it was stored marked as such."""
    for index, piece in enumerate(_MASK.split(text)):
        if index % 2:
            title = "Masked before it was stored"
            yield format_html('<span class="masked" title="{}">{}</span>', title, piece)
        elif piece and kind:
            yield format_html('<span class="{}">{}</span>', kind, piece)
        elif piece:
            yield piece
