"""Checking the two ways a request to Visa Acceptance is signed.

Sources: CyberSource's Python SDK (authenticationsdk/jwt/Token.py and
authenticationsdk/http/GetSignatureParameter.py) and the guide "Getting started
with the REST API". Pure functions of the request as it came over the wire.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

WITH_BODY = frozenset(("POST", "PUT", "PATCH"))
_PART = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Signed:
    """What a signature covers, as received: ``host`` is the Host header's value."""

    method: str
    target: str
    host: str
    body: bytes

    @property
    def hosts(self) -> frozenset[str]:
        """The host names a client may have signed: with the port and without."""
        return frozenset((self.host, self.host.rpartition(":")[0] or self.host))

    @property
    def digest(self) -> str:
        """base64(sha256(body))."""
        return base64.b64encode(hashlib.sha256(self.body).digest()).decode()


@dataclass(frozen=True, slots=True)
class Key:
    """A merchant's shared-secret key."""

    merchant_id: str
    key_id: str
    shared_secret: str

    def mac(self, message: str) -> bytes:
        """HMAC-SHA256; the secret is base64 and decoded first."""
        secret = base64.b64decode(self.shared_secret)
        return hmac.new(secret, message.encode(), hashlib.sha256).digest()


def jwt_fault(token: str, signed: Signed, key: Key, now: float, skew: float) -> str | None:
    """What is wrong with a JWT with shared secret; None if nothing."""
    try:
        head, claims, signature = token.split(".")
        header, body = _decoded(head), _decoded(claims)
        mac = _unbase64(signature)
    except ValueError:
        return "not a JWS"
    if header.get("alg") != "HS256" or header.get("kid") != key.key_id:
        return "alg or kid"
    if not hmac.compare_digest(mac, key.mac(f"{head}.{claims}")):
        return "signature"
    return _claims_fault(body, signed, key) or _times_fault(body, now, skew)


def _claims_fault(claims: dict[str, Any], signed: Signed, key: Key) -> str | None:
    expected = {
        "iss": key.merchant_id,
        "v-c-merchant-id": key.merchant_id,
        "v-c-jwt-version": "2",
        "request-method": signed.method,
        "request-resource-path": signed.target,
    }
    if signed.method in WITH_BODY:
        expected |= {"digest": signed.digest, "digestAlgorithm": "SHA-256"}
    for name, value in expected.items():
        if claims.get(name) != value:
            return name
    if claims.get("request-host") not in signed.hosts:
        return "request-host"
    return None if claims.get("jti") else "jti"


def _times_fault(claims: dict[str, Any], now: float, skew: float) -> str | None:
    issued, expires = claims.get("iat"), claims.get("exp")
    if not isinstance(issued, int) or not isinstance(expires, int):
        return "iat or exp"
    if abs(now - issued) > skew:
        return "iat"
    return None if issued < expires and now < expires else "exp"


def http_signature_fault(
    headers: dict[str, str], signed: Signed, key: Key, now: float, skew: float
) -> str | None:
    """What is wrong with an HTTP Signature; None if nothing. Header names in lower case."""
    parts = dict(_PART.findall(headers.get("signature", "")))
    covered = covered_headers(signed.method)
    if parts.get("keyid") != key.key_id or parts.get("algorithm") != "HmacSHA256":
        return "keyid or algorithm"
    if parts.get("headers") != " ".join(covered):
        return "headers"
    if headers.get("v-c-merchant-id") != key.merchant_id:
        return "v-c-merchant-id"
    if signed.method in WITH_BODY and headers.get("digest") != f"SHA-256={signed.digest}":
        return "digest"
    return _mac_fault(parts, headers, signed, key) or _date_fault(headers, now, skew)


def covered_headers(method: str) -> tuple[str, ...]:
    """The names a signature covers, in the only order that is accepted."""
    digest = ("digest",) if method in WITH_BODY else ()
    return ("host", "date", "request-target", *digest, "v-c-merchant-id")


def signing_string(host: str, headers: dict[str, str], signed: Signed) -> str:
    """The text that is signed: one line per covered name, no newline at the end."""
    values = {
        **headers,
        "host": host,
        "request-target": f"{signed.method.lower()} {signed.target}",
    }
    return "\n".join(f"{name}: {values.get(name, '')}" for name in covered_headers(signed.method))


def _mac_fault(
    parts: dict[str, str], headers: dict[str, str], signed: Signed, key: Key
) -> str | None:
    try:
        given = base64.b64decode(parts.get("signature", ""), validate=True)
    except binascii.Error:
        return "signature"
    made = (key.mac(signing_string(host, headers, signed)) for host in signed.hosts)
    return None if any(hmac.compare_digest(given, mac) for mac in made) else "signature"


def _date_fault(headers: dict[str, str], now: float, skew: float) -> str | None:
    try:
        date = parsedate_to_datetime(headers.get("date", ""))
    except ValueError:
        return "date"
    return None if abs(now - date.timestamp()) <= skew else "date"


def key_id_of(headers: dict[str, str]) -> str | None:
    """The key id a request names, in whichever of the two ways; not yet checked."""
    if "signature" in headers:
        return dict(_PART.findall(headers["signature"])).get("keyid")
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme != "Bearer":
        return None
    try:
        kid = _decoded(token.partition(".")[0]).get("kid")
    except ValueError:
        return None
    return kid if isinstance(kid, str) else None


def _decoded(part: str) -> dict[str, Any]:
    value = json.loads(_unbase64(part))
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
