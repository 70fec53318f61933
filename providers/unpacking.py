"""What of an answer's body can be searched for secrets, and so be kept.

Nothing is kept in which a secret might hide: compressed bytes that could not be unpacked, or
bytes that are no text. Of these the record has the length and the digest, and of a body that was
unpacked in part, that part.
"""

import codecs
import hashlib
import re
import zlib
from dataclasses import dataclass, replace

from providers.redaction import mask

LARGEST_INFLATED = 4 * 1024 * 1024
KEPT_OF_TOO_LARGE = 64 * 1024
"""Bytes kept of what would unpack to more than any honest answer."""
DEEPEST = 3
"""Encodings that may be named one upon the other."""

_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_AUTOMATIC = zlib.MAX_WBITS | 32
_BARE = -zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A body fit to be searched. `fault` is "", `bad_encoding` or `too_large`.

    `note` says in a sentence what is not kept; `whole` False, that the body's end is missing.
    """

    body: bytes
    fault: str = ""
    note: str = ""
    whole: bool = True


def unpack(raw: bytes, encoding: str, *, cut: bool = False) -> Unpacked:
    """A body as it came, by its header Content-Encoding (RFC 9110, section 8.4).

    `cut`: the connection was lost before its end.
    """
    named = [one.strip() for one in encoding.lower().split(",")]
    packed = [one for one in named if one not in ("", "identity")]
    if not raw or not packed:
        return _searchable(Unpacked(raw), raw, "no text")
    if len(packed) > DEEPEST or not {*packed} <= {"gzip", "x-gzip", "deflate"}:
        return _searchable(Unpacked(raw, "bad_encoding"), raw, f"in {', '.join(packed)[:40]}")
    found = Unpacked(raw)
    for name in reversed(packed):
        found = _inflated(found.body, name, cut)
        if found.fault:
            break
    if found.fault == "bad_encoding" and not found.body:
        # Said to be compressed and was not: as a text it can be searched and kept.
        found = replace(found, body=raw)
    return _searchable(found, raw, f"in {', '.join(packed)}")


def _searchable(found: Unpacked, raw: bytes, kind: str) -> Unpacked:
    """Without the body where it could hide something, and with a note of what is not kept."""
    digest = f"{len(raw)} bytes {kind}, SHA-256 {hashlib.sha256(raw).hexdigest()}"
    if found.body and not is_text(found.body):
        note = f"The body is not kept, as it cannot be searched for secrets: {digest}."
        return replace(found, body=mask(raw).encode(), note=note)
    if found.fault and found.body != raw:
        size = len(found.body)
        return replace(found, note=f"Only {size} bytes that could be unpacked are kept: {digest}.")
    return found


def is_text(body: bytes) -> bool:
    """Whether a secret in it would be seen: UTF-8, cut or not, a text of old, or UTF-16."""
    try:
        codecs.utf_8_decode(body, "strict", False)
    except UnicodeDecodeError:
        is_wide = body.count(0) * 4 >= len(body)
        return not _NO_TEXT.search(body.replace(b"\0", b"") if is_wide else body)
    return True


def _inflated(packed: bytes, name: str, cut: bool) -> Unpacked:
    found = _unpacked_by(packed, _AUTOMATIC, cut)
    if name == "deflate" and not found.body and found.fault:
        # Many a server means by deflate what has no header of zlib's.
        found = _unpacked_by(packed, _BARE, cut)
    return found


def _unpacked_by(packed: bytes, window: int, cut: bool) -> Unpacked:
    """A compressed body, or its beginning where the rest is missing or too much.

    Of a damaged one nothing: somewhere before the error was noticed it is made of anything,
    maybe of parts of a secret that could not be recognised.
    """
    unpack = zlib.decompressobj(window)
    try:
        plain = unpack.decompress(packed, LARGEST_INFLATED + 1)
    except zlib.error:
        return Unpacked(b"", "bad_encoding", whole=False)
    if len(plain) > LARGEST_INFLATED:
        return Unpacked(plain[:KEPT_OF_TOO_LARGE], "too_large", whole=False)
    if unpack.eof:
        # What follows is left out.
        return Unpacked(plain)
    # That it has no end although nothing was lost is a damage, too.
    return Unpacked(plain if cut else b"", "bad_encoding", whole=False)
