"""Masking: nothing secret may be stored, logged or shown.

Two nets, one behind the other. Headers pass by an allow-list: a value is kept only when its name
is known to be harmless. Everything else (URL, bodies) is searched for the values that we know to
be secret, in each encoding they travel in, and for fields whose name says that they hold one.
A masked value keeps its length and the start of its SHA-256, so that two can be compared.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

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

_SECRET_FIELD = (
    rb"(?:access_token|refresh_token|id_token|client_secret|shared_secret|api_key|apikey|password"
    rb"|secret|assertion|client_assertion)"
)
_JSON_FIELD = re.compile(rb'("' + _SECRET_FIELD + rb'"\s*:\s*")((?:[^"\\]|\\.)*)', re.I)
_FORM_FIELD = re.compile(rb"((?:^|[?&])" + _SECRET_FIELD + rb"=)([^&\s\"]+)", re.I)
_SIGNED_LINK = re.compile(
    rb"((?:\?|&|&amp;|\\u0026)(?:token|sig|signature|key|x-amz-[a-z-]+|expires)=)([^&\s\"'<>\\]+)",
    re.I,
)
_BEARER = re.compile(rb"(\b(?:Bearer|Basic)\s+)([A-Za-z0-9._~+/=-]{20,})", re.I)
_JWT = re.compile(rb"()(\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,})")
_PATTERNS = (_JSON_FIELD, _FORM_FIELD, _SIGNED_LINK, _BEARER, _JWT)
_SHORTEST = 6
"""A shorter value is not searched for: it would mask half of every page and protect nothing."""


def mask(value: bytes | str) -> str:
    """The mark that stands in a secret's place, e.g. `[masked 32 chars sha256:1f0c22d9]`."""
    raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return f"[masked {len(raw)} chars sha256:{hashlib.sha256(raw).hexdigest()[:8]}]"


class Redactor:
    """Knows the secrets of one account and masks them. Safe to share between threads."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._needles: tuple[tuple[bytes, bytes], ...] = ()
        for secret in secrets:
            self.learn(secret)

    def learn(self, secret: str) -> None:
        """From now on mask this value too, e.g. a token that was just handed out."""
        if len(secret) < _SHORTEST:
            return
        marker = mask(secret).encode()
        with self._lock:
            known = dict(self._needles)
            known.update((form, marker) for form in _forms(secret))
            # Longest first, so that no part of a secret survives the masking of a shorter one.
            self._needles = tuple(sorted(known.items(), key=lambda pair: -len(pair[0])))

    def body(self, raw: bytes) -> bytes:
        """A request's or answer's body without its secrets."""
        for needle, marker in self._needles:
            if needle in raw:
                raw = raw.replace(needle, marker)
        for pattern in _PATTERNS:
            raw = pattern.sub(_masked_field, raw)
        return raw

    def text(self, value: str) -> str:
        """The same for text: a URL, or the message of an exception."""
        return self.body(value.encode("utf-8", "replace")).decode("utf-8", "replace")

    def headers(self, pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        """Headers with the value of every name that is not known to be harmless masked."""
        return tuple(
            (name, self.text(value) if name.lower() in SAFE_HEADERS else mask(value))
            for name, value in pairs
        )


def _masked_field(match: re.Match[bytes]) -> bytes:
    # What already is a mask stays: masking it again would hide which secret it was.
    inside = match[2]
    return match[0] if inside.startswith(b"[masked ") else match[1] + mask(inside).encode()


def _forms(secret: str) -> set[bytes]:
    """The encodings in which a secret may travel."""
    raw = secret.encode("utf-8", "surrogatepass")
    encoded = base64.b64encode(raw)
    forms = {
        raw,
        encoded,
        encoded.rstrip(b"="),
        base64.urlsafe_b64encode(raw).rstrip(b"="),
        quote(secret, safe="").encode(),
        quote_plus(secret).encode(),
        json.dumps(secret)[1:-1].encode(),
        json.dumps(secret).replace("/", "\\/")[1:-1].encode(),
        json.dumps(secret, ensure_ascii=False)[1:-1].encode("utf-8", "surrogatepass"),
    }
    return {form for form in forms if len(form) >= _SHORTEST}
