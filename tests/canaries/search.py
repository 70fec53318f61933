"""Looks for a secret in anything, however it is written there. Shares nothing with the masking.

A text is read in every way that a reader could read it (unescaped, decoded, unpacked), and each
reading again, a few times over. A secret counts as found where any eleven of its bytes stand.
"""

import gzip
import html
import re
import zlib
from binascii import a2b_base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from urllib.parse import unquote_to_bytes

DEPTH = 3
WINDOW = 8
STRIDE = 4
AT_A_TIME = 100_000
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{12,}")
_STANDARD = bytes.maketrans(b"-_", b"+/")
_HEX = re.compile(rb"(?:[0-9a-fA-F]{2}){8,}")
_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([\"'\\/]))")


def windows(secret: bytes) -> list[bytes]:
    """Every other run of eight bytes: of any eleven in a row one is among them."""
    return [secret[at : at + WINDOW] for at in range(0, len(secret) - WINDOW + 1, STRIDE)]


def readings(text: bytes) -> Iterator[bytes]:
    """The text, and everything that can be made of it."""
    seen = {text}
    fresh = [text]
    for _ in range(DEPTH):
        yield from fresh
        made = {read(one) for one in fresh for read in _WAYS}
        fresh = [one for one in made - seen if one]
        seen |= made
    yield from fresh


def found(text: bytes, canaries: Mapping[str, bytes]) -> set[str]:
    """The names of the canaries of which some part stands in the text."""
    parts = [(part, name) for name, secret in canaries.items() for part in windows(secret)]
    return {name for reading in readings(text) for part, name in parts if part in reading}


def all_found(texts: Iterable[bytes], canaries: Mapping[str, bytes]) -> set[str]:
    """The same for many texts; a line that stands in many of them is read once."""
    lines = {line for text in set(texts) for line in _lines(text) if len(line) >= WINDOW}
    hits: set[str] = set()
    together, size = list[bytes](), 0
    for line in lines:
        together.append(line)
        size += len(line)
        if size > AT_A_TIME:
            hits |= found(b"\n\n".join(together), canaries)
            together, size = [], 0
    return hits | found(b"\n\n".join(together), canaries)


def _lines(text: bytes) -> list[bytes]:
    """Of a text; bytes that may be compressed stay together."""
    try:
        return [text] if "\0" in text.decode() else text.split(b"\n")
    except UnicodeDecodeError:
        return [text]


def _escapes(text: bytes) -> bytes:
    def plain(match: re.Match[bytes]) -> bytes:
        if match[1]:
            return chr(int(match[1], 16)).encode("utf-8", "surrogatepass")
        return bytes([int(match[2], 16)]) if match[2] else match[3]

    return _ESCAPE.sub(plain, text)


def _forms(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _html(text: bytes) -> bytes:
    return html.unescape(text.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogatepass")


def _no_nuls(text: bytes) -> bytes:
    return text.replace(b"\0", b"")


def _base64(text: bytes) -> bytes:
    """Every long enough run decoded, from each of the four places where it could begin."""
    runs = [run.translate(_STANDARD) for run in _BASE64.findall(text)]
    starts = [(run, start, (len(run) - start) // 4 * 4) for run in runs for start in range(4)]
    return b"\n".join(a2b_base64(run[start : start + size]) for run, start, size in starts)


def _hex(text: bytes) -> bytes:
    return b"\n".join(bytes.fromhex(run.decode()) for run in _HEX.findall(text))


def _unpacked(text: bytes) -> bytes:
    """Compressed bytes, also where they begin in the middle."""
    made = []
    for magic, unpack in ((b"\x1f\x8b\x08", _gunzip), (b"\x78\x9c", _inflate)):
        at = text.find(magic)
        while at >= 0:
            made.append(unpack(text[at:]))
            at = text.find(magic, at + 1)
    return b"\n".join(made)


def _gunzip(packed: bytes) -> bytes:
    with suppress(OSError, EOFError, zlib.error):
        return gzip.decompress(packed)
    return _inflate(packed, zlib.MAX_WBITS | 16)


def _inflate(packed: bytes, window: int = zlib.MAX_WBITS) -> bytes:
    unpack = zlib.decompressobj(window)
    made = b""
    with suppress(zlib.error):
        for at in range(0, len(packed), 16):
            made += unpack.decompress(packed[at : at + 16], 1 << 20)
    return made


_WAYS: tuple[Callable[[bytes], bytes], ...] = (
    *(_escapes, _forms, unquote_to_bytes, _html),
    *(_no_nuls, _base64, _hex, _unpacked),
)
