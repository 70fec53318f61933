"""Secrets that nobody told us about, by what stands before them: names of fields, links, tokens.

Each look starts from a literal word, which is quick to find or not to find, and only then reads
around it. Everything is bounded or goes on after what it read, so that no body takes long.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from providers.layers import Layer


@dataclass(frozen=True, slots=True)
class Found:
    """A secret at a place of a reading.

    `bare`: the quotes to put around its mark where it is a number without any, as they are
    written in the text itself. `loose`: in a program's source it would be no secret but code.
    """

    start: int
    end: int
    bare: bytes = b""
    loose: bool = False


_NAME = re.compile(rb"[\w.-]{0,64}")
_LONGEST_NAME = 64
_SECRET_NAME = re.compile(
    rb"[\w.-]*?(?:token|secret|passw(?:or)?[dt]|passphrase|assertion|credential|cookie|jwt"
    rb"|signature|authorization|session[_.-]?id|code[_.-]?verifier"
    rb"|(?:api|private|secret|shared|access|signing|encryption|auth|subscription)[_.-]?key)s?"
)
# Of these an object is no secret: it says who signed, or what was paid.
_SINGLE = (b"signature", b"signatures", b"authorization", b"authorizations")
# A place in a list of pages is called a token, too, and an auditor may want to see it.
_OF_PAGES = re.compile(rb"pag|next|prev|skip|contin|cursor|sync")

_AFTER = re.compile(
    rb"""\]?(?:(?P<quote>["'])\s{0,64}(?::|=>)\s{0,64}(?P<value>)(?:[bu](?=["']))?
    |\s{0,8}=\s{0,8}(?P<assigned>["']?)
    |["']\s{1,16}value\s?=\s?(?P<input>["'])
    |(?P<tag>>)
    |\s{0,8}:\s{0,8}(?P<line>))""",
    re.VERBOSE,
)
_STRINGS = {
    b'"': re.compile(rb'(?:[^"\\]+|\\.)*', re.DOTALL),
    b"'": re.compile(rb"(?:[^'\\]+|\\.)*", re.DOTALL),
}
_NUMBER = re.compile(rb"-?\d{4}[\d.eE+-]*")
_ASSIGNED = re.compile(rb"""[^&;\s"'<>,)\]}\\]*""")
_WORDY = re.compile(rb"""(?=[^\s"'<>,;\\]{0,200}\d)[^\s"'<>,;\\]{8,}""")
_LINE = re.compile(rb"""[^\r\n"'<>\\]*""")
_TEXT = re.compile(rb"""[^<"'\\]*""")
# What may follow the closing quote of an assigned value; else it opens something.
_AFTER_QUOTE = re.compile(rb"[\s,;)&>/]|\Z")
_INSIDE = re.compile(
    rb"""(?P<string>["'])|(?P<number>-?\d[\d.eE+-]*)|(?P<open>[\[{])|(?P<close>[\]}])|[A-Za-z_\s:,]+|.""",
    re.DOTALL,
)
_KEY_ENDS = re.compile(rb"\s{0,64}:")

_JWT = re.compile(rb"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,3}")
_JWT_CUT = re.compile(rb"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*\Z")
_RUN = re.compile(rb"[A-Za-z0-9_-]*")
# A long word alone is none: "basic responsibilities".
_SCHEME = re.compile(
    rb"\s{1,16}((?=[A-Za-z.~-]*(?:[0-9+/=_]|[a-z][A-Z]))[A-Za-z0-9._~+/=-]{16,}"
    rb"|[A-Za-z0-9._~+/=-]+\Z)"
)

_QUERY = re.compile(rb"""[^\s"'<>\\^`{|}]*""")
_PARAMETER = re.compile(rb"(?:^|[&;?])([^=&;?]{1,64})=([^&;#]+)")
_SIGNING = re.compile(
    rb"x-(?:amz|goog|oss|cos|ms)-[\w-]+|sig|sign|se|sp|sv|skoid|key|code|auth|hmac|expires|policy"
    rb"|key-pair-id|awsaccesskeyid|googleaccessid|ossaccesskeyid"
)
_USER_INFO = re.compile(rb"""[^/\s:@"'<>]{0,256}:([^/\s@"'<>]{1,256})@""")

Look = Callable[[Layer, bytes, int, int], tuple[list[Found], int]]
"""(reading, the same in lower case, begin and end of the word) -> what is there, where to go on."""


def told(layer: Layer, *, source: bool = False) -> Iterator[Found]:
    """What a reading itself gives away as secret; `source` if it may hold lines of a program."""
    low = layer.text.lower()
    for word, look in [one for one in _LOOKS if one[0] in low]:
        at = low.find(word)
        while at >= 0:
            found, beyond = look(layer, low, at, at + len(word))
            yield from (one for one in found if not (source and one.loose))
            at = low.find(word, max(beyond, at + len(word)))


def _named(layer: Layer, low: bytes, start: int, end: int) -> tuple[list[Found], int]:
    """The value of a field, if its whole name is that of a secret."""
    match = _NAME.match(low, end)
    stop = match.end() if match else end
    begin = start
    while begin > max(0, start - _LONGEST_NAME) and low[begin - 1] in _NAME_BYTES:
        begin -= 1
    name = low[begin:stop]
    if not _SECRET_NAME.fullmatch(name) or (b"token" in name and _OF_PAGES.search(name)):
        return [], stop
    after = _AFTER.match(layer.text, stop)
    return _value(layer, name, begin, after) if after else ([], stop)


def _value(
    layer: Layer, name: bytes, begin: int, after: re.Match[bytes]
) -> tuple[list[Found], int]:
    text, at = layer.text, after.end()
    if after["value"] is not None:
        if name in _SINGLE and text[at : at + 1] in (b"[", b"{"):
            return [], at
        return _json_value(layer, after.start("quote"), at)
    opening = after["assigned"] or after["input"]
    if opening:
        found, stop = _upto(_STRINGS[opening], text, at)
        return (found, stop) if _AFTER_QUOTE.match(text, stop + 1) else ([], at)
    if after["assigned"] is not None:
        return _upto(_ASSIGNED, text, at)
    if after["tag"]:
        is_tag = text[begin - 1 : begin] in (b"<", b":")
        return _upto(_TEXT, text, at) if is_tag else ([], at)
    if text[at : at + 1] in (b"{", b"[") and not layer.is_document:
        return _all_inside(layer, at, at)
    whole_line = name.endswith((b"authorization", b"cookie"))
    return _upto(_LINE if whole_line else _WORDY, text, at)


def _upto(pattern: re.Pattern[bytes], text: bytes, at: int) -> tuple[list[Found], int]:
    match = pattern.match(text, at)
    if match is None or match.end() == at:
        return [], at
    return [Found(at, match.end(), loose=True)], match.end()


def _json_value(layer: Layer, quote: int, at: int) -> tuple[list[Found], int]:
    """A string, a number, or everything in a list or an object.

    In JSON within a string, a quote that is written otherwise than the name's own belongs to
    what is around that string.
    """
    text = layer.text
    first = text[at : at + 1]
    if first in _STRINGS:
        if not _same(layer, quote, at):
            return [], at
        stop = _string_end(layer, at)
        return ([Found(at + 1, stop)] if stop > at + 1 else []), stop
    if first in (b"[", b"{"):
        return _all_inside(layer, quote, at)
    number = _NUMBER.match(text, at)
    if number is None:
        return [], at
    return [Found(at, number.end(), bare=layer.written(quote))], number.end()


def _all_inside(layer: Layer, quote: int, at: int) -> tuple[list[Found], int]:
    """Every string and number in a list or an object that begins here; not the names.

    In a document, the strings have quotes that are written like the one given.
    """
    found: list[Found] = []
    text, depth = layer.text, 0
    bare = layer.written(quote) if text[quote : quote + 1] in _STRINGS else b""
    while match := _INSIDE.match(text, at):
        at = match.end()
        if match["string"]:
            if layer.is_document and not _same(layer, quote, match.start()):
                break
            stop = _string_end(layer, match.start())
            if stop > at and not _KEY_ENDS.match(text, stop + 1):
                found.append(Found(at, stop))
            at = stop + 1
        elif match["number"]:
            found.append(Found(match.start(), at, bare=bare))
        depth += bool(match["open"]) - bool(match["close"])
        if depth <= 0:
            break
    return found, at


def _string_end(layer: Layer, quote: int) -> int:
    """Where the string ends that this quote opens: at one that is written like it."""
    content, at = _STRINGS[layer.text[quote : quote + 1]], quote + 1
    while match := content.match(layer.text, at):
        at = match.end()
        if at >= len(layer.text) or _same(layer, quote, at):
            break
        at += 1
    return at


def _same(layer: Layer, quote: int, other: int) -> bool:
    return layer.below is None or layer.written(quote) == layer.written(other)


def _jwt(layer: Layer, low: bytes, start: int, end: int) -> tuple[list[Found], int]:
    match = _JWT.match(layer.text, start) or _JWT_CUT.match(layer.text, start)
    if match:
        return [Found(start, match.end())], match.end()
    run = _RUN.match(layer.text, start)
    return [], run.end() if run else end


def _scheme(layer: Layer, low: bytes, start: int, end: int) -> tuple[list[Found], int]:
    """What follows the word Bearer or Basic and is too long for a word."""
    match = _SCHEME.match(layer.text, end)
    return ([Found(match.start(1), match.end(1))], match.end(1)) if match else ([], end)


def _query(layer: Layer, low: bytes, start: int, end: int) -> tuple[list[Found], int]:
    """The parameters of a link that are its signature or what is signed."""
    query = _QUERY.match(layer.text, end)
    stop = query.end() if query else end
    found = [
        Found(*match.span(2))
        for match in _PARAMETER.finditer(layer.text, end, stop)
        if _SIGNING.fullmatch(match[1].lower())
    ]
    return found, stop


def _user_info(layer: Layer, low: bytes, start: int, end: int) -> tuple[list[Found], int]:
    """The password in `https://user:password@host`."""
    match = _USER_INFO.match(layer.text, end)
    return ([Found(*match.span(1))], match.end()) if match else ([], end)


_NAME_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_.-")
_NAMED = """
    token secret passw passphrase assertion key authorization credential cookie jwt signature
    session verifier
"""
_LOOKS: tuple[tuple[bytes, Look], ...] = (
    *((word.encode(), _named) for word in _NAMED.split()),
    (b"eyj", _jwt),
    (b"bearer", _scheme),
    (b"basic", _scheme),
    (b"?", _query),
    (b"://", _user_info),
)
