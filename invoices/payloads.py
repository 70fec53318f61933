"""Payloads as text to read: indented without changing a value, and compared line by line.

They are cut into tokens, not parsed: repeated keys, long numbers and half a document survive.
"""

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

SHOWN_BYTES = 64 * 1024
"""Of a payload; the rest is in the download."""

MOST_LINES = 3000
"""Of either side of a comparison: its cost grows with their product."""

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

_HUNK = re.compile(r"@@ -(\d+)\S* \+(\d+)")

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

Token = tuple[str, str]
"""What it is (`key`, `string`, `number`, `literal`, or "" for the rest) and its text."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a comparison; `sign` is "-" (only in the first), "+" (only in the second),
    " " (in both) or "@" (the same in both is left out here; the text says where it goes on)."""

    sign: str
    text: str


@dataclass(frozen=True, slots=True)
class Difference:
    """Two payloads side by side. `cut`: one of them was too long to be compared to its end."""

    lines: tuple[Line, ...]
    removed: int
    added: int
    cut: bool


def text_of(body: bytes | memoryview | str | None) -> tuple[str, int]:
    """What is shown of a payload, as harmless text, and how many bytes are left out."""
    raw = body.encode("utf-8", "replace") if isinstance(body, str) else bytes(body or b"")
    text = raw[:SHOWN_BYTES].decode("utf-8", "replace").translate(_VISIBLE)
    return text, max(0, len(raw) - SHOWN_BYTES)


def looks_like_json(text: str) -> bool:
    """Told from its first character."""
    return text.lstrip()[:1] in ("{", "[", '"')


def pretty(text: str) -> Iterator[Token]:
    """The tokens of JSON, with line breaks and indentation put in between."""
    depth = 0
    after_open = False
    matches = [match for match in _TOKEN.finditer(text) if match.lastgroup != "space"]
    for index, match in enumerate(matches):
        kind, token = str(match.lastgroup), match[0]
        if kind == "close":
            depth = max(0, depth - 1)
        if (kind == "close") != after_open:
            yield "", _line_break(depth)
        after_open = kind == "open"
        depth += after_open
        following = matches[index + 1].lastgroup if index + 1 < len(matches) else ""
        yield _token(kind, token, is_key=following == "colon")
        if kind == "comma":
            yield "", _line_break(depth)


def difference(first: bytes | memoryview, second: bytes | memoryview) -> Difference:
    """What two answers say differently, after both were indented alike."""
    one, two = _lines(first), _lines(second)
    unified = difflib.unified_diff(one[:MOST_LINES], two[:MOST_LINES], lineterm="")
    # The first two lines name files.
    compared = [Line(*_read(line)) for line in islice(unified, 2, None)]
    return Difference(
        lines=tuple(compared),
        removed=sum(line.sign == "-" for line in compared),
        added=sum(line.sign == "+" for line in compared),
        cut=any(_is_cut(body, lines) for body, lines in ((first, one), (second, two))),
    )


def _lines(body: bytes | memoryview) -> list[str]:
    text, _ = text_of(body)
    if looks_like_json(text):
        text = "".join(token for _, token in pretty(text))
    return text.splitlines()


def _is_cut(body: bytes | memoryview, lines: Sequence[str]) -> bool:
    return len(body) > SHOWN_BYTES or len(lines) > MOST_LINES


def _read(line: str) -> Token:
    hunk = _HUNK.match(line)
    if hunk is None:
        return line[:1] or " ", line[1:]
    first, second = hunk.groups()
    return "@", first if first == second else f"{first} / {second}"


def _line_break(depth: int) -> str:
    return "\n" + "  " * depth if depth <= DEEPEST_INDENT else ""


def _token(kind: str, token: str, *, is_key: bool) -> Token:
    if kind == "string":
        return ("key" if is_key else "string"), token
    if kind in {"number", "literal"}:
        return kind, token
    return "", ": " if kind == "colon" else token
