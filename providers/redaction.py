"""Masking: nothing secret may be stored, logged or shown.

Two nets, one behind the other. Headers pass by an allow-list: a value is kept only when its name
is known to be harmless. Everything else (URL, bodies, messages) is searched for the values that
we know to be secret, in each encoding they travel in, and for what gives itself away as secret.
A masked value keeps its length and the start of its SHA-256, so that two can be compared.

A value of fewer than six characters is not searched for: it would mask half of every page and
protect nothing, as it can be found by trying. For the same reason its mark has no digest. It is
still masked where the name of its field says that it is secret.
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes, urlsplit

from providers.layers import MOST, Layer, layers
from providers.needles import SHORTEST, Needle, needles
from providers.telltale import Found, told

_SAFE = """
    accept accept-encoding allow cache-control cltraceid connection content-encoding
    content-language content-length content-type date digest expires host last-modified
    paypal-debug-id prefer ratelimit-limit ratelimit-remaining ratelimit-reset retry-after server
    transfer-encoding user-agent v-c-correlation-id v-c-merchant-id vary via
    x-monite-entity-id x-monite-version x-process-time x-rate-limit-limit
    x-rate-limit-remaining x-rate-limit-reset x-ratelimit-limit-second
    x-ratelimit-remaining-second x-request-id
"""
SAFE_HEADERS = frozenset(_SAFE.split())
"""Names of headers whose values are kept as they are."""
ADDRESS_HEADERS = frozenset(("location", "content-location"))
"""Of these the address is kept without what stands in its query and fragment."""
REMEMBERED = 500
"""Secrets that the whole process keeps in mind; the one learned longest ago is forgotten."""

_MARK = re.compile(rb"\[masked \d+ chars sha256:[0-9a-f]{8}\]")
_HALF_ESCAPE = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_ACCESS_TOKEN = re.compile(rb'"access_token"\s*:\s*"((?:[^"\\]|\\.)*)"')
_LONG_WORD = re.compile(r"[A-Za-z0-9+/_=.~-]{20,}")
_QUOTE = re.compile(rb'(?<!\\)(?:\\\\)*"')
_LONG_NAME = 24
"""Letters of a header's name in which something else than a name might stand."""


def mask(value: bytes | str) -> str:
    """The mark that stands in a secret's place, e.g. `[masked 32 chars sha256:1f0c22d9]`.

    What is so short that its digest would give it away has noughts instead.
    """
    raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    digest = hashlib.sha256(raw).hexdigest()[:8] if len(raw) >= SHORTEST else "00000000"
    return f"[masked {len(raw)} chars sha256:{digest}]"


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a text, and the mark to be put there.

    Of two that cover the same, the lower `rank` has its way: nothing is told as well as known.
    """

    start: int
    end: int
    mark: bytes
    rank: int = 0


class Redactor:
    """Knows the secrets of one account and masks them. Safe to share between threads."""

    def __init__(self, secrets: Iterable[str] = (), *, most: int = 0) -> None:
        self._lock = threading.Lock()
        self._most = most
        self._known: dict[int, tuple[Needle, ...]] = {}
        self._needles: tuple[Needle, ...] = ()
        for secret in secrets:
            self.learn(secret)

    def learn(self, secret: str) -> None:
        """From now on mask this value too, e.g. a token that was just handed out."""
        if len(secret) >= SHORTEST:
            self._add(needles(secret, mask(secret).encode()))

    def remember(self, other: "Redactor") -> None:
        """From now on mask all that another one knows."""
        for forms in tuple(other._known.values()):
            self._add(forms)

    def _add(self, forms: tuple[Needle, ...]) -> None:
        with self._lock:
            known = {key: held for key, held in self._known.items() if held[0] != forms[0]}
            known[max(known, default=0) + 1] = forms
            while self._most and len(known) > self._most:
                known.pop(next(iter(known)))
            self._known = known
            self._needles = tuple(one for held in known.values() for one in held)

    def find(
        self,
        raw: bytes,
        *,
        cut: bool = False,
        echoed: Sequence[bytes] = (),
        source: bool = False,
    ) -> list[Span]:
        """Where secrets stand, in order and apart from each other.

        `cut`: the text may end in the middle of one. `echoed`: more values to be masked.
        `source`: it holds lines of a program, in which `token = ...` is no secret.
        """
        found: list[Span] = []
        for depth, layer in enumerate(layers(raw)):
            found += self._in(layer, cut, echoed)
            for one in told(layer, source=source):
                found += _told(raw, layer, one, MOST - depth)
        return _apart(raw, found) if found else found

    def body(self, raw: bytes, *, cut: bool = False) -> bytes:
        """A request's or answer's body without its secrets."""
        spans = self.find(raw, cut=cut)
        return masked(raw, spans) if spans else raw

    def text(self, value: str, *, cut: bool = False, source: bool = False) -> str:
        """The same for text: a URL, or the message of an exception."""
        raw = value.encode("utf-8", "replace")
        spans = self.find(raw, cut=cut, source=source)
        return masked(raw, spans).decode("utf-8", "replace") if spans else value

    def headers(self, pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        """Headers with the value of every name that is not known to be harmless masked."""
        pairs = tuple(pairs)
        kept = "\n".join(_kept(name, value) for name, value in pairs)
        # All at once first: hardly ever is there anything in them.
        clean = not self.find(kept.encode("utf-8", "replace"))
        return tuple(self._header(name, value, clean) for name, value in pairs)

    def _header(self, name: str, value: str, clean: bool) -> tuple[str, str]:
        shown = name if clean else self.text(name)
        if name.lower() in SAFE_HEADERS:
            return shown, value if clean else self.text(value)
        if name.lower() in ADDRESS_HEADERS:
            return shown, self.text(_address(value))
        return shown, mask(value)

    def _in(self, layer: Layer, cut: bool, echoed: Sequence[bytes]) -> list[Span]:
        text = layer.text
        found: list[Span] = []
        for needle in [one for one in self._needles if one.form in text]:
            found += (_known(layer, *place, needle.mark) for place in needle.places(text))
        for value in [one for one in echoed if one in text]:
            needle = Needle(value, mask(value).encode())
            found += (_known(layer, *place, needle.mark) for place in needle.places(text))
        if cut:
            found += self._begun(layer)
        return found

    def _begun(self, layer: Layer) -> Iterator[Span]:
        """A secret of which the text has only the first part, at its very end."""
        end = layer.length_uncut
        for needle in self._needles:
            size = needle.begun(layer.text[max(0, end - len(needle.form)) : end])
            if size:
                yield Span(*layer.origin(end - size, len(layer.text)), needle.mark)


known_here = Redactor(most=REMEMBERED)
"""What this process has learned of all accounts' secrets, for its logs and error reports."""


def masked(raw: bytes, spans: Sequence[Span]) -> bytes:
    """The text with marks in place of these parts."""
    pieces, done = [], 0
    for span in spans:
        # UTF-16 and UTF-32 stay what they are.
        gap = len(raw[span.start + 1 : span.end]) - len(
            raw[span.start + 1 : span.end].lstrip(b"\0")
        )
        mark = (b"\0" * gap).join(bytes([one]) for one in span.mark) if gap else span.mark
        pieces += [raw[done : span.start], mark]
        done = span.end
    return b"".join([*pieces, raw[done:]])


def without(spans: Sequence[Span], raw: bytes) -> list[Span]:
    """The parts but for the first field `access_token`: for whoever has to use the token."""
    token = _ACCESS_TOKEN.search(raw)
    start, end = token.span(1) if token else (0, 0)
    return [one for one in spans if not (start <= one.start and one.end <= end)]


def unsafe_words(pairs: Iterable[tuple[str, str]]) -> tuple[bytes, ...]:
    """What in masked headers could be recognised again: tokens and signatures."""
    return tuple(
        word.encode("latin-1", "replace")
        for name, value in pairs
        if name.lower() not in SAFE_HEADERS
        for word in _LONG_WORD.findall(value)
    )


def _told(raw: bytes, layer: Layer, found: Found, rank: int) -> Iterator[Span]:
    mark = _MARK.match(layer.text, found.start)
    if mark and found.end <= mark.end():
        # What already is a mask stays: masking it again would hide which secret it was.
        return
    start, end = layer.origin(found.start, found.end)
    if layer.below is not None and layer.is_document:
        # In a document, nothing goes on beyond the string in which it stands.
        quote = _QUOTE.search(raw, start, end)
        end = quote.end() - 1 if quote else end
    value = mask(_unescaped(layer.text[found.start : found.end])).encode()
    if start < end:
        yield Span(start, end, found.bare + value + found.bare, rank)


def _known(layer: Layer, start: int, end: int, mark: bytes) -> Span:
    begin, stop = layer.origin(start, end)
    if layer.below is None and layer.text[start:end].isdigit():
        return _number(layer.text, begin, stop, mark)
    return Span(begin, stop, mark)


def _number(text: bytes, start: int, end: int, mark: bytes) -> Span:
    """A secret of digits: where it is a number of JSON, its mark becomes a string."""
    if text.lstrip()[:1] not in (b"{", b"[") or len(_QUOTE.findall(text[:start])) % 2:
        return Span(start, end, mark)
    number = b"0123456789.eE+-"
    while start > 0 and text[start - 1] in number:
        start -= 1
    while end < len(text) and text[end] in number:
        end += 1
    return Span(start, end, b'"' + mark + b'"')


def _apart(raw: bytes, spans: list[Span]) -> list[Span]:
    """Parts that overlap as one, with the mark of the longest."""
    result: list[Span] = []
    for span in sorted(spans, key=lambda one: (one.start, -one.end, one.rank)):
        last = result[-1] if result else None
        if last is None or span.start >= last.end:
            half = _HALF_ESCAPE.search(raw, max(0, span.start - 6), span.start)
            # Half an escape left standing would be no JSON any more.
            result.append(Span(half.start(), span.end, span.mark) if half else span)
        elif span.end > last.end:
            longer = last if last.end - last.start >= span.end - span.start else span
            result[-1] = Span(last.start, span.end, longer.mark)
    return result


def _unescaped(value: bytes) -> bytes:
    """The value of a JSON string or of a form, so that its digest is that of what it says."""
    if b"\\" not in value:
        return unquote_to_bytes(value)
    try:
        return str(json.loads(b'"' + value + b'"')).encode("utf-8", "surrogatepass")
    except ValueError:
        return value


def _kept(name: str, value: str) -> str:
    if name.lower() in SAFE_HEADERS:
        return f"{name}: {value}"
    return name if len(name) > _LONG_NAME else ""


def _address(value: str) -> str:
    """Where a redirect leads, without what its query and fragment say."""
    try:
        split = urlsplit(value)
    except ValueError:
        return mask(value)
    query = re.sub(r"(?<==)[^&;]+", lambda part: mask(part[0]), split.query)
    if split.query and "=" not in split.query:
        query = mask(split.query)
    fragment = f"#{mask(split.fragment)}" if split.fragment else ""
    start = value.split("?", 1)[0].split("#", 1)[0]
    return start + (f"?{query}" if query else "") + fragment
