"""A client of the five providers for the sandbox's own tests, from the standard library.

Written from the providers' public documents, with none of Annul's HTTP code.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from providers.sandbox import BASE_PATHS, CREDENTIALS, PROVIDERS, SandboxServer

Headers = dict[str, str]


@dataclass
class Answer:
    """Status, headers (lower-case names) and body."""

    status: int
    headers: Headers
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """One account's client: signs as its provider wants and keeps one connection."""

    server: SandboxServer
    account: str
    timeout: float = 5.0
    token: str = ""
    extra: Headers = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.host = self.server.origin.removeprefix("http://")
        self.provider = PROVIDERS[self.account]
        self.credentials = dict(CREDENTIALS[self.account])
        self.base = BASE_PATHS[self.provider]
        self.connection = http.client.HTTPConnection(self.host, timeout=self.timeout)

    def close(self) -> None:
        self.connection.close()

    def raw(
        self, method: str, path: str, body: bytes | None = None, headers: Headers | None = None
    ) -> Answer:
        """One request below the base path, with exactly these headers."""
        self.connection.request(method, self.base + path, body, headers or {})
        answer = self.connection.getresponse()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, named, answer.read())

    def call(self, method: str, path: str, value: Any = None) -> Answer:
        """One request with the account's credentials; ``value`` as its JSON body."""
        body = None if value is None else json.dumps(value).encode()
        headers = {**self.headers(method, path, body), **self.extra}
        if body is not None:
            headers["Content-Type"] = "application/json"
        return self.raw(method, path, body, headers)

    def headers(self, method: str, path: str, body: bytes | None) -> Headers:
        """The credentials' headers."""
        if self.provider == "visa_acceptance":
            return {"Authorization": f"Bearer {self.jwt(method, path, body or b'')}"}
        if self.provider == "kantata":
            return {"Authorization": f"Bearer {self.credentials['token']}"}
        if self.provider == "teos":
            return {"Authorization": f"Bearer {self.credentials['api_key']}"}
        self.token = self.token or self.fetch_token()
        return {"Authorization": f"Bearer {self.token}", **self.monite_headers()}

    def monite_headers(self) -> Headers:
        if self.provider != "monite":
            return {}
        return {
            "x-monite-version": "2024-05-25",
            "x-monite-entity-id": self.credentials["entity_id"],
        }

    def fetch_token(self) -> str:
        answer = self.paypal_token() if self.provider == "paypal" else self.monite_token()
        assert answer.status == 200, answer.body
        token: str = answer.json["access_token"]
        return token

    def paypal_token(self) -> Answer:
        pair = f"{self.credentials['client_id']}:{self.credentials['client_secret']}"
        headers = {
            "Authorization": "Basic " + base64.b64encode(pair.encode()).decode(),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return self.raw("POST", "/v1/oauth2/token", b"grant_type=client_credentials", headers)

    def monite_token(self, **more: str) -> Answer:
        body = {
            "grant_type": "client_credentials",
            "client_id": self.credentials["client_id"],
            "client_secret": self.credentials["client_secret"],
            **more,
        }
        headers = {"x-monite-version": "2024-05-25", "Content-Type": "application/json"}
        return self.raw("POST", "/auth/token", json.dumps(body).encode(), headers)

    def jwt(self, method: str, path: str, body: bytes, **changed: Any) -> str:
        """A JWT with shared secret; ``changed`` claims replace the right ones."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iat": now,
            "exp": now + 120,
            "jti": str(uuid.uuid4()),
            "iss": self.credentials["merchant_id"],
            "v-c-merchant-id": self.credentials["merchant_id"],
            "v-c-jwt-version": "2",
            "request-method": method,
            "request-host": self.host,
            "request-resource-path": self.base + path,
        }
        if method == "POST":
            digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
            claims |= {"digest": digest, "digestAlgorithm": "SHA-256"}
        claims |= {name.replace("_", "-"): value for name, value in changed.items()}
        return jws(self.credentials["key_id"], self.credentials["shared_secret"], claims)

    def signature(self, method: str, path: str, body: bytes, date: str | None = None) -> Headers:
        """The headers of an HTTP Signature."""
        names = ["host", "date", "request-target", "v-c-merchant-id"]
        values = {
            "host": self.host,
            "date": date or formatdate(usegmt=True),
            "request-target": f"{method.lower()} {self.base}{path}",
            "v-c-merchant-id": self.credentials["merchant_id"],
        }
        if method == "POST":
            names.insert(3, "digest")
            digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
            values["digest"] = f"SHA-256={digest}"
        text = "\n".join(f"{name}: {values[name]}" for name in names)
        signature = base64.b64encode(mac(self.credentials["shared_secret"], text)).decode()
        values["signature"] = (
            f'keyid="{self.credentials["key_id"]}", algorithm="HmacSHA256",'
            f' headers="{" ".join(names)}", signature="{signature}"'
        )
        values.pop("request-target")
        return values

    # -- what every provider can do ----------------------------------------------

    def cancel(self, external_id: str) -> Answer:
        """The provider's cancel call."""
        if self.provider == "paypal":
            return self.call("POST", f"/v2/invoicing/invoices/{external_id}/cancel", {})
        if self.provider == "visa_acceptance":
            return self.call("POST", f"/invoicing/v2/invoices/{external_id}/cancelation", {})
        if self.provider == "monite":
            return self.call("POST", f"/receivables/{external_id}/cancel")
        if self.provider == "kantata":
            return self.call("PUT", f"/invoices/{external_id}/cancel")
        return self.call("POST", "/odata/v1.1/Invoices/Cancel", {"invoiceIds": [external_id]})

    def fetch(self, external_id: str) -> Answer:
        """The provider's call for one invoice."""
        paths = {
            "paypal": f"/v2/invoicing/invoices/{external_id}",
            "visa_acceptance": f"/invoicing/v2/invoices/{external_id}",
            "monite": f"/receivables/{external_id}",
            "kantata": f"/invoices/{external_id}",
            "teos": f"/odata/v1.1/Invoices({external_id})",
        }
        return self.call("GET", paths[self.provider])


def mac(secret: str, text: str) -> bytes:
    return hmac.new(base64.b64decode(secret), text.encode(), hashlib.sha256).digest()


def jws(kid: str, secret: str, claims: dict[str, Any], alg: str = "HS256") -> str:
    """A compact JWS."""
    head = _part({"alg": alg, "kid": kid, "typ": "JWT"})
    signed = f"{head}.{_part(claims)}"
    signature = base64.urlsafe_b64encode(mac(secret, signed)).rstrip(b"=").decode()
    return f"{signed}.{signature}"


def _part(value: dict[str, Any]) -> str:
    raw = json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@contextmanager
def client(server: SandboxServer, account: str, timeout: float = 5.0) -> Iterator[Client]:
    """A client that is closed in the end."""
    made = Client(server, account, timeout)
    try:
        yield made
    finally:
        made.close()
