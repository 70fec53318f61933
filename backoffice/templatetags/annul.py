"""How a state, an amount, progress and a payload are written. Nothing here trusts its input.

{% load annul %}
{% badge attempt.state attempt.get_state_display %}   or {% badge "open" %}
{% money invoice.amount_minor invoice.currency invoice.exponent %}
{% bar counts %}          counts: [(state, count)] or [(state, count, word)]
{% outcomes counts %}     the legend that belongs to it
<pre class="json" tabindex="0">{{ body|json_html }}</pre>   or {{ body|raw_html }}
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

from invoices.markup import badge, money, word_of
from invoices.payloads import looks_like_json, pretty, text_of

register = template.Library()
register.simple_tag(badge)
register.simple_tag(money)

Count: TypeAlias = tuple[str, int] | tuple[str, int, str]

BAR_UNITS = 1000
SLIVER = 6
"""What is there must be seen: the least width of a segment, of BAR_UNITS."""

_MASK = re.compile(r"(\[masked \d+ chars sha256:[0-9a-f]{8}\])")

_CLASSES = {"key": "k", "string": "s", "number": "n", "literal": "l"}


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

    What is not JSON is shown as text.
    """
    return _shown(body, indented=True)


@register.filter
def raw_html(body: bytes | memoryview | str | None) -> SafeString:
    """A payload as it was stored, not indented; what was masked is marked."""
    return _shown(body, indented=False)


@register.filter
def masks_marked(text: str) -> SafeString:
    """One line of a payload, with what was masked marked as such."""
    return format_html_join("", "{}", ((piece,) for piece in _masked("", text)))


@register.simple_tag
def asset(path: str) -> str:
    """The address of a static file; without the manifest's hash when there is no manifest."""
    try:
        return staticfiles_storage.url(path)
    except ValueError:
        return f"{settings.STATIC_URL}{path}"


def _part(count: Count) -> tuple[str, int, str]:
    return (count[0], count[1], count[2] if len(count) == 3 else word_of(count[0]).lower())


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


def _shown(body: bytes | memoryview | str | None, *, indented: bool) -> SafeString:
    text, missing = text_of(body)
    if not text.strip():
        return format_html('<span class="cut">{}</span>', "empty")
    pieces = _coloured(text) if indented and looks_like_json(text) else _masked("", text)
    shown = format_html_join("", "{}", ((piece,) for piece in pieces))
    if not missing:
        return shown
    note = f"{missing:,} more bytes are not shown here. The download has all of them."
    return format_html('{}\n<span class="cut">{}</span>', shown, note)


def _coloured(text: str) -> Iterator[str]:
    for kind, token in pretty(text):
        if kind in ("key", "string"):
            yield from _masked(_CLASSES[kind], token)
        elif kind:
            yield format_html('<span class="{}">{}</span>', _CLASSES[kind], token)
        else:
            yield token


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
