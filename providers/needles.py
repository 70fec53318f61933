"""The forms in which one known secret may travel, as bytes to be looked for.

What is escaped (JSON, URLs, HTML) is taken apart before the search, see `layers`. Here is what
cannot be undone without knowing where it begins: base64, hexadecimal, and other character sets.
"""

import binascii
import json
import string
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

SHORTEST = 6
"""Bytes of the shortest form that is looked for."""
BEGUN = 3
"""Bytes of a secret that give away enough of it at a text's end to be masked."""
_KEY_BYTES = 16
_BASE64 = frozenset((string.ascii_letters + string.digits + "+/-_").encode())


@dataclass(frozen=True, slots=True)
class Needle:
    """One form. `wide` says that base64 characters beside it hold bits of the secret, too."""

    form: bytes
    mark: bytes
    wide: tuple[bool, bool] = (False, False)
    encoded: bool = False

    def __repr__(self) -> str:
        return f"Needle({self.mark.decode()})"

    def places(self, text: bytes) -> Iterator[tuple[int, int]]:
        """Begin and end of each occurrence, overlapping ones too."""
        at = text.find(self.form)
        while at >= 0:
            yield self._with_edges(text, at, at + len(self.form))
            at = text.find(self.form, at + 1)

    def begun(self, text: bytes) -> int:
        """How many bytes at the end of this text are the beginning of this form; 0 for too few."""
        if self.form[:BEGUN] not in text:
            return 0
        sizes = range(min(len(text), len(self.form)), BEGUN - 1, -1)
        return next((size for size in sizes if text.endswith(self.form[:size])), 0)

    def _with_edges(self, text: bytes, start: int, end: int) -> tuple[int, int]:
        before, after = self.wide
        if before and start > 0 and text[start - 1] in _BASE64:
            start -= 1
        if after and end < len(text) and text[end] in _BASE64:
            end += 1
        while self.encoded and text[end : end + 1] == b"=":
            end += 1
        return start, end


def needles(secret: str, mark: bytes) -> tuple[Needle, ...]:
    """Every form of a secret, the plain one first."""
    plain = secret.encode("utf-8", "surrogatepass")
    found = [Needle(plain, mark)]
    found += [Needle(form, mark) for form in _other_charsets(secret)]
    for content in _contents(secret, plain):
        for text in (content.hex(), content.hex().upper()):
            found.append(Needle(text.encode(), mark))
        for offset in range(3):
            found += _within_base64(content, offset, mark)
    found += [Needle(form, mark) for form in _key_forms(secret)]
    return tuple(dict.fromkeys(one for one in found if len(one.form) >= SHORTEST))


def _other_charsets(secret: str) -> Iterator[bytes]:
    if " " in secret:
        yield secret.replace(" ", "+").encode("utf-8", "surrogatepass")
    if secret.isascii():
        return
    with suppress(UnicodeEncodeError):
        yield secret.encode("latin-1")
    for name in ("utf-16-le", "utf-16-be"):
        # As it is read: without the empty bytes.
        yield secret.encode(name, "surrogatepass").replace(b"\0", b"")


def _contents(secret: str, plain: bytes) -> Iterator[bytes]:
    """What may have been put into base64: the secret, or the secret as a form or JSON has it."""
    yield plain
    others = [quote(secret, safe="", errors="replace"), quote_plus(secret, errors="replace")]
    others.append(json.dumps(secret)[1:-1])
    yield from {one.encode() for one in others} - {plain}


def _within_base64(content: bytes, offset: int, mark: bytes) -> Iterator[Needle]:
    """The characters made of nothing but the secret, `offset` bytes after a multiple of three."""
    whole = b64encode(bytes(offset) + content)
    bits = 8 * (offset + len(content))
    form = whole[-(-8 * offset // 6) : bits // 6]
    wide = (offset > 0, bits % 6 > 0)
    yield Needle(form, mark, wide, encoded=True)
    yield Needle(form.translate(bytes.maketrans(b"+/", b"-_")), mark, wide, encoded=True)


def _key_forms(secret: str) -> Iterator[bytes]:
    """Of a key that is written as base64: the key itself, which signatures are made with."""
    yield secret.translate(str.maketrans("+/-_", "-_+/")).encode("utf-8", "surrogatepass")
    try:
        key = b64decode(secret.encode(), validate=True)
    except (binascii.Error, UnicodeEncodeError, ValueError):
        return
    if len(key) >= _KEY_BYTES:
        yield key
        yield key.hex().encode()
        yield key.hex().upper().encode()
