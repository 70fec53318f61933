"""A sandbox that blurts out: its answers repeat every secret it hears of, and hold more of its own.

The canaries are made anew for each run, so that finding one proves a leak.
"""

import gzip
import json
import secrets
import threading
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from typing import Any
from unittest.mock import patch
from urllib.parse import quote, quote_plus

from providers.adapters import ADAPTERS
from providers.sandbox import BASE_PATHS, CREDENTIALS, PROVIDERS
from providers.sandbox.application import Application
from providers.sandbox.control import Control
from providers.sandbox.dialects.base import Call, Dialect
from providers.sandbox.fault_answers import answer_with
from providers.sandbox.faults import Fault
from providers.sandbox.wire import Response

OWN = (
    *("cookie", "refresh_token", "id_token", "password", "assertion", "signed_link"),
    *("azure_link", "location", "fragment", "jwt"),
)
"""Secrets that a provider makes up by itself and nobody could know."""
DEEPEST = 3
OF_INVOICES = 1
"""How deep in an answer an invoice stands."""
MOST_HEARD = 6


def made() -> str:
    """A secret such as no other text has: 30 random characters."""
    return secrets.token_urlsafe(30).replace("-", "x").replace("_", "y")[:30]


@dataclass
class Leaks:
    """What one account's answers hold, and what was heard in its requests."""

    credentials: dict[str, str]
    secret_fields: list[str]
    own: dict[str, str] = field(default_factory=lambda: {name: made() for name in OWN})
    heard: list[str] = field(default_factory=list)
    """Signatures as they were sent."""
    tokens: set[str] = field(default_factory=set)
    """Access tokens that were handed out."""

    @property
    def secret(self) -> str:
        """The account's own secret."""
        return self.credentials[self.secret_fields[0]]

    def canaries(self) -> dict[str, bytes]:
        """Name to bytes: nothing of it may be found anywhere."""
        named = {f"credential {name}": self.credentials[name] for name in self.secret_fields}
        named |= {f"own {name}": value for name, value in self.own.items()}
        named |= {f"token {at}": one for at, one in enumerate(self.tokens)}
        named |= {f"sent {number}": value for number, value in enumerate(self.heard)}
        plain = {name: value.encode() for name, value in named.items()}
        plain["basic text"] = b64encode(b"client:" + self.secret.encode())[10:-4]
        if "shared_secret" in self.credentials:
            plain["key"] = b64decode(self.secret)
        return plain


class Leaking:
    """Accounts that leak, by name; patched into a sandbox that runs in this process."""

    def __init__(self) -> None:
        self.accounts: dict[str, Leaks] = {}
        self._lock = threading.Lock()

    def add(self, control: Control, provider: str, name: str) -> Leaks:
        """One more account, with credentials of its own."""
        leaks = self.prepare(provider, name)
        control.add_account(name, provider, leaks.credentials)
        return leaks

    def prepare(self, provider: str, name: str) -> Leaks:
        """What such an account will leak; somebody else adds it."""
        usual = next(one for one, code in PROVIDERS.items() if code == provider)
        fields = [one.name for one in ADAPTERS[provider].credential_fields if one.secret]
        fresh = {one: made() for one in fields}
        if "shared_secret" in fresh:
            fresh["shared_secret"] = b64encode(secrets.token_bytes(32)).decode()
        leaks = Leaks({**CREDENTIALS[usual], **_unlike(usual), **fresh}, fields)
        self.accounts[name] = leaks
        return leaks

    def canaries(self) -> dict[str, bytes]:
        """Everything of all accounts that must not be found, by name."""
        return {
            f"{name}: {key}": one
            for name, leaks in self.accounts.items()
            for key, one in leaks.canaries().items()
        }

    def taint(self, call: Call, response: Response) -> None:
        """Put secrets into an answer."""
        leaks = self.accounts.get(call.account.name if call.account else "")
        if leaks is None:
            return
        self._hear(leaks, call)
        _exchange_tokens(leaks, call.owner.tokens, response)
        authorization = call.request.headers.get("authorization", "")
        own = leaks.own
        response.headers["Set-Cookie"] = f"sid={own['cookie']}; Path=/; HttpOnly"
        response.headers["Server"] = f"gateway {leaks.secret} {authorization}"
        response.headers["X-Debug"] = f"{authorization} {own['password']}"
        response.headers.setdefault("Location", "https://files.example/moved")
        response.headers["Location"] += f"?token={own['location']}"
        if response.body and "Content-Encoding" not in response.headers:
            response.body = _tainted_body(response.body, leaks, authorization)

    def _hear(self, leaks: Leaks, call: Call) -> None:
        sent = call.request.headers.get("authorization", "").split(" ")[-1]
        signature = call.request.headers.get("signature", "").rpartition('signature="')[2]
        with self._lock:
            for value in (sent.rpartition(".")[2], signature.strip('"')):
                known = value in (leaks.secret, *leaks.tokens, *leaks.heard)
                if len(value) > 20 and not known and len(leaks.heard) < MOST_HEARD:
                    leaks.heard.append(value)


@contextmanager
def leaking() -> Iterator[Leaking]:
    """While this lasts, every answer to an account of these is full of secrets."""
    found = Leaking()
    respond = Application._respond

    def answer(self: Application, dialect: Dialect, call: Call, entry: Any) -> Response:
        response = respond(self, dialect, call, entry)
        found.taint(call, response)
        return response

    def spoil(fault: Fault, dialect: Dialect, call: Call, real: Response) -> Response:
        found.taint(call, real)
        response = answer_with(fault, dialect, call, real)
        if fault.name == "bad_gzip":
            # So that some of it can be unpacked, and the rest cannot.
            packed = gzip.compress(real.body * 3 or b"{}")
            response.body = packed[: len(packed) * 2 // 3] + b"\xff\x00 not deflate \xff"
        return response

    with (
        patch.object(Application, "_respond", answer),
        patch("providers.sandbox.application.answer_with", spoil),
    ):
        yield found


def _exchange_tokens(leaks: Leaks, tokens: dict[str, float], response: Response) -> None:
    """Random ones for the sandbox's own, which have a correlation id in them."""
    for token in tokens.keys() - leaks.tokens:
        fresh = made() + made()
        leaks.tokens.add(fresh)
        tokens[fresh] = tokens.pop(token)
        response.body = response.body.replace(token.encode(), fresh.encode())


def base_url(origin: str, provider: str) -> str:
    """Where an account of this provider lives."""
    return origin + BASE_PATHS[provider]


def _unlike(usual: str) -> dict[str, str]:
    """Parts of the credentials that are no secret but must not be another account's."""
    own = f"5a4db0c5-0000-4000-9000-{secrets.token_hex(6)}"
    return {key: own for key in ("client_id", "key_id", "entity_id") if key in CREDENTIALS[usual]}


def _tainted_body(body: bytes, leaks: Leaks, authorization: str) -> bytes:
    try:
        said = json.loads(body)
    except ValueError:
        return body + _page(leaks, authorization)
    _put(said, leaks, authorization, 0)
    # A letter in front shifts what stands in base64.
    return json.dumps(said, ensure_ascii=bool(secrets.randbits(1))).encode()


def _put(said: object, leaks: Leaks, authorization: str, depth: int) -> None:
    """Into each object, and behind each message, down to the invoices."""
    if isinstance(said, list):
        for one in said[:5]:
            _put(one, leaks, authorization, depth)
    if not isinstance(said, dict) or depth > DEEPEST:
        return
    for name, value in list(said.items()):
        if name in ("message", "msg", "error_message", "issue", "rmsg") and "@" not in str(value):
            said[name] = f"{value} @ {leaks.secret} {authorization} {leaks.own['jwt']}"[:900]
            said[name] = said[name].replace(leaks.own["jwt"], _jwt(leaks))
        else:
            _put(value, leaks, authorization, depth + 1)
    if depth <= OF_INVOICES:
        said |= _fields(leaks, authorization)


def _jwt(leaks: Leaks) -> str:
    def part(value: object) -> str:
        return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = {"sub": "x", "secret": leaks.secret}
    return f"{part({'alg': 'HS256'})}.{part(claims)}.{leaks.own['jwt']}"


def _fields(leaks: Leaks, authorization: str) -> dict[str, Any]:
    own, secret = leaks.own, leaks.secret
    raw = secret.encode()
    return {
        "refresh_token": own["refresh_token"],
        "idToken": own["id_token"],
        "debug_assertion": {"value": own["assertion"], "kind": "saml"},
        "raw": json.dumps({"password": own["password"], "client_secret": secret}),
        "pdf_url": f"https://f.example/a.pdf?X-Amz-Date=1&X-Amz-Signature={own['signed_link']}",
        "xml_url": f"https://f.example/a.xml?sv=2020&se=2030&sig={quote(own['azure_link'])}%3D",
        "app_url": f"https://f.example/#state=1&access_token={own['fragment']}",
        "debug_headers": f"authorization: {authorization}",
        "debug_jwt": _jwt(leaks),
        "echo": f"{secret} {quote(secret, safe='')} {quote_plus(secret)} {escape(secret)}",
        "echo_hex": raw.hex(),
        "echo_base64": [b64encode(b"x" * n + raw + b"y").decode() for n in range(3)],
        "echo_basic": b64encode(b"client:" + raw).decode(),
        "echo_escaped": "".join(f"%{one:02x}" for one in raw),
    }


def _page(leaks: Leaks, authorization: str) -> bytes:
    fields = _fields(leaks, authorization)
    lines = [f"<p>{name}: {escape(str(value))}</p>" for name, value in fields.items()]
    hidden = f'<input type="hidden" name="token" value="{leaks.own["password"]}">'
    return "\n".join([hidden, f"<a href={fields['pdf_url']!r}>", *lines]).encode()
