"""A text as it stands, and every way it reads once escaping is taken off it.

A secret may stand in JSON within a string of JSON within a form. Instead of guessing how it was
written there, each reading is searched plainly, and what is found is traced back to the bytes
that were stored.
"""

import html
import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator

MOST = 24
"""Readings of one text: more than anybody wraps around an honest answer."""

_NULS = re.compile(rb"\0+")
# Of JSON, and of Python's repr.
_BACKSLASH = re.compile(
    rb"\\(?:u([dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|[0-9a-fA-F]{4})"
    rb"|x([0-9a-fA-F]{2})|([^ux]))",
    re.DOTALL,
)
_PERCENT = re.compile(rb"%([0-9a-fA-F]{2})")
_ENTITY = re.compile(rb"&(?:#[0-9]{1,7};?|#[xX][0-9a-fA-F]{1,6};?|[A-Za-z][A-Za-z0-9]{1,31};)")
_CUT_ESCAPE = re.compile(
    rb"(?:\\(?:u[0-9a-fA-F]{0,3}|x[0-9a-fA-F]?)?|%[0-9a-fA-F]?|&[#\w]{0,8})\0?\Z"
)
_CONTROL = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"f": b"\f"}

Escape = tuple[bytes, re.Pattern[bytes], Callable[[re.Match[bytes]], bytes]]
"""What it begins with, what it looks like, and what it stands for."""


class Layer:
    """One reading of a text; `below` is what it was read from, None for the text itself."""

    __slots__ = ("_escape", "_places", "below", "text")

    def __init__(
        self, text: bytes, below: "Layer | None" = None, escape: Escape | None = None
    ) -> None:
        self.text = text
        self.below = below
        self._escape = escape
        self._places: tuple[array[int], array[int], array[int], array[int]] | None = None

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """Where a part of this reading stands in the text itself; it is not empty."""
        if self.below is None:
            return start, end
        return self.below.origin(self._spot(start)[0], self._spot(end - 1)[1])

    def written(self, index: int) -> bytes:
        """How one character is written in the text itself, e.g. a quote as `\\"`."""
        start, end = self.origin(index, index + 1)
        return self.root.text[start:end]

    @property
    def root(self) -> "Layer":
        """The text itself."""
        return self if self.below is None else self.below.root

    @property
    def is_document(self) -> bool:
        """Whether the text itself looks like JSON, which is to stay JSON."""
        return self.root.text.lstrip()[:1] in (b"{", b"[", b'"')

    @property
    def length_uncut(self) -> int:
        """Its length without an escape that was cut in the middle."""
        cut = _CUT_ESCAPE.search(self.text, max(0, len(self.text) - 16))
        return cut.start() if cut else len(self.text)

    def _spot(self, index: int) -> tuple[int, int]:
        """Begin and end, in the layer below, of what became one byte here."""
        here, begins, ends, sizes = self._places or self._traced()
        last = bisect_right(here, index) - 1
        if last < 0:
            return index, index + 1
        beyond = index - here[last] - sizes[last]
        if beyond < 0:
            return begins[last], ends[last]
        return ends[last] + beyond, ends[last] + beyond + 1

    def _traced(self) -> tuple["array[int]", "array[int]", "array[int]", "array[int]"]:
        """Of each escape: its place here, begin and end below, and its size here.

        Only made once something was found: mostly nothing is.
        """
        here, begins, ends, sizes = (array("q") for _ in range(4))
        below, shrunk = self.below, 0
        if below is not None and self._escape is not None:
            _, pattern, plain = self._escape
            for match in pattern.finditer(below.text):
                size = len(plain(match))
                here.append(match.start() - shrunk)
                begins.append(match.start())
                ends.append(match.end())
                sizes.append(size)
                shrunk += match.end() - match.start() - size
        self._places = (here, begins, ends, sizes)
        return self._places


def layers(text: bytes) -> Iterator[Layer]:
    """The text itself, then each reading of it, as long as there is something to take off."""
    waiting = [Layer(text)]
    seen = {text}
    for layer in waiting:
        yield layer
        for escape in _ESCAPES:
            begin, pattern, plain = escape
            if begin not in layer.text or len(waiting) >= MOST:
                continue
            read = pattern.sub(plain, layer.text)
            if read not in seen:
                seen.add(read)
                waiting.append(Layer(read, layer, escape))


def _nothing(match: re.Match[bytes]) -> bytes:
    return b""


def _unescaped(match: re.Match[bytes]) -> bytes:
    units, byte, plain = match.groups()
    if plain:
        return _CONTROL.get(plain, plain)
    if byte:
        return bytes.fromhex(byte.decode())
    text = bytes.fromhex(units.replace(b"\\u", b"").decode()).decode("utf-16-be", "surrogatepass")
    return text.encode("utf-8", "surrogatepass")


def _unquoted(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match[1].decode())


def _named(match: re.Match[bytes]) -> bytes:
    return html.unescape(match[0].decode()).encode("utf-8", "surrogatepass")


_ESCAPES: tuple[Escape, ...] = (
    # UTF-16 and UTF-32 without their empty bytes.
    (b"\0", _NULS, _nothing),
    (b"\\", _BACKSLASH, _unescaped),
    (b"%", _PERCENT, _unquoted),
    (b"&", _ENTITY, _named),
)
