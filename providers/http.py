"""The only door to the outside: one HTTP request, recorded before and after, never repeated.

What this file promises to whoever sends a request through it:

- Nothing leaves before `Recorder.before` has returned, and `Recorder.after` is told how it ended.
- A hook on the connection sees the first byte. Only when it saw none is a failure `NotSent`; no
  exception of requests or urllib3 proves that, they are the same before and after sending.
- The whole exchange ends within its deadline: a watchdog shuts the socket, because a read timeout
  is per `recv` and a slow drip never trips it.
- No redirects, no cookies, no proxy or `.netrc` from the environment, no hidden retries, no body
  larger than the limits, and nothing secret in what is recorded.
"""

import http.client
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

from providers.errors import NotSent, OutcomeUnknown
from providers.exchange import (
    Answer,
    Exchange,
    Headers,
    OutgoingRequest,
    Recorder,
    Signer,
    Wire,
)
from providers.identity import uuid7
from providers.redaction import Redactor, Span, known_here, masked, unsafe_words, without
from providers.transmission import DEADLINE_PASSED, Transmission, Watchdog, in_flight
from providers.unpacking import Unpacked, unpack

CONNECT_SECONDS = 5.0
READ_SECONDS = 20.0
TOTAL_SECONDS = 30.0
LARGEST_RAW = 1024 * 1024
CLOSED = b"}]>\n"
"""The last byte of a body that does not end in the middle of a value."""
IDLE_SECONDS = 4.0
"""A kept-alive connection idle for longer is not reused: a stale one looks like a lost answer."""


class Client:
    """Sends requests to one account's base URL. Shared by the threads that work for it.

    `ca_bundle` is a file of the authorities to trust instead of those that come with requests.
    """

    def __init__(
        self,
        base_url: str,
        *,
        redactor: Redactor,
        recorder: Recorder,
        total_seconds: float = TOTAL_SECONDS,
        ca_bundle: str = "",
    ) -> None:
        self._base = base_url.rstrip("/")
        self._redactor = redactor
        known_here.remember(redactor)
        self._recorder = recorder
        self._total_seconds = total_seconds
        self._ca_bundle = ca_bundle
        self._threads = threading.local()
        self._watchdog = Watchdog()
        self._sessions: list[requests.Session] = []

    def send(
        self,
        method: str,
        path: str,
        *,
        purpose: str,
        references: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        sign: Signer | None = None,
    ) -> Answer:
        """Send one request and return its complete answer, whatever its status.

        `path` starts with a slash, follows the base URL and may hold a query; ids in it are quoted
        by the caller.
        Raises `NotSent` when provably no byte left, `OutcomeUnknown` when one may have and no
        complete answer came back.
        """
        request_id = uuid7()
        prepared = self._prepare(method, path, headers or {}, body, sign, request_id)
        outgoing = OutgoingRequest(
            id=request_id,
            purpose=purpose,
            method=method,
            url=self._redactor.text(str(prepared.url)),
            headers=self._redactor.headers(prepared.headers.items()),
            body=self._redactor.body(body or b""),
            references=tuple(references),
        )
        self._recorder.before(outgoing)
        return self._exchange(prepared, outgoing)

    def learn(self, secret: str) -> None:
        """Mask this value from now on, here and in all that this process logs."""
        self._redactor.learn(secret)
        known_here.learn(secret)

    def close(self) -> None:
        """Close every connection and stop the watchdog."""
        self._watchdog.stop()
        for session in self._sessions:
            session.close()

    def _prepare(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
        sign: Signer | None,
        request_id: UUID,
    ) -> requests.PreparedRequest:
        url = self._base + path
        fixed = {
            "User-Agent": "Annul/0.1",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "X-Request-Id": str(request_id),
            **headers,
        }
        try:
            prepared = requests.Request(method, url, headers=fixed, data=body).prepare()
            split = urlsplit(str(prepared.url))
            # Without its slash a path would go on with the host's name: "@elsewhere", ".example".
            if not path.startswith("/") or str(prepared.url) != url or _folded(split.path):
                raise NotSent("bad_url", "The address would not be the one that was meant.")
            if sign is not None:
                wire = Wire(method, split.netloc, prepared.path_url, body or b"")
                prepared.prepare_headers({**fixed, **sign(wire)})
                prepared.prepare_content_length(body)
        except (requests.RequestException, ValueError) as error:
            # The library's own words may quote the header's value, so only its name for it is kept.
            kind = type(error).__name__
            raise NotSent("bad_url", f"The request could not be built ({kind}).") from None
        return prepared

    def _exchange(self, prepared: requests.PreparedRequest, outgoing: OutgoingRequest) -> Answer:
        attempt = Transmission(self._recorder.gate, time.monotonic() + self._total_seconds)
        heard = _Heard()
        fault, detail, started = "", "", time.monotonic()
        in_flight.now = attempt
        self._watchdog.watch(attempt)
        try:
            self._talk(prepared, attempt, heard)
        except NotSent as refusal:
            fault, detail = refusal.code, refusal.message
        except _FAULTS as error:
            fault = _fault_of(error, attempt)
            detail = f"{type(error).__name__}: {error}"
            self._forget_session()
        finally:
            self._watchdog.forget(attempt)
            attempt.end()
            in_flight.now = None
        taken = round((time.monotonic() - started) * 1000)
        content = unpack(bytes(heard.body), heard.encoding, cut=bool(fault))
        fault = fault or content.fault
        spans = self._secrets_in(content, cut=bool(fault), prepared=prepared)
        exchange = Exchange(
            request_id=outgoing.id,
            sent=attempt.first_byte,
            status=heard.status,
            headers=self._redactor.headers(heard.headers),
            body=masked(content.body, spans),
            complete=not fault,
            fault=fault,
            detail=self._told(detail, heard, content.note),
            duration_ms=taken,
        )
        self._recorder.after(exchange)
        if not attempt.first_byte:
            raise NotSent(fault or "unsent", _SENTENCES.get(fault, exchange.detail))
        if fault or heard.status is None:
            message = _after_sending(fault, exchange.detail)
            raise OutcomeUnknown(fault, message, status=heard.status)
        return _answer(exchange, outgoing.purpose, content.body, spans)

    def _secrets_in(
        self, content: Unpacked, *, cut: bool, prepared: requests.PreparedRequest
    ) -> list[Span]:
        """Where secrets stand in a body, those that were sent with the request included."""
        if not content.body:
            return []
        return self._redactor.find(
            content.body,
            cut=cut or not content.whole or content.body[-1] not in CLOSED,
            echoed=unsafe_words(prepared.headers.items()),
        )

    def _told(self, detail: str, heard: "_Heard", note: str) -> str:
        """What went wrong and what is not kept, in at most 500 characters.

        A library's message may quote the answer's headers, also those that are masked.
        """
        raw = detail.encode("utf-8", "replace")
        spans = self._redactor.find(raw, cut=True, echoed=unsafe_words(heard.headers))
        room = 499 - len(note)
        return f"{masked(raw, spans).decode('utf-8', 'replace')[:room]} {note}".strip()

    def _talk(
        self, prepared: requests.PreparedRequest, attempt: "Transmission", heard: "_Heard"
    ) -> None:
        """Send and read all of the answer; `heard` keeps what came before a fault."""
        response = self._session().send(
            prepared,
            stream=True,
            allow_redirects=False,
            timeout=(CONNECT_SECONDS, READ_SECONDS),
        )
        try:
            heard.status = response.status_code
            heard.headers = tuple(response.raw.headers.items())
            heard.encoding = response.headers.get("content-encoding", "")
            if heard.status < 200:
                # The real answer is still to come, and would be taken for that of the next call.
                raise http.client.HTTPException(f"an interim answer only: {heard.status}")
            for chunk in response.raw.stream(65536, decode_content=False):
                heard.body += chunk
                if len(heard.body) > LARGEST_RAW:
                    raise _TooLarge(f"more than {LARGEST_RAW} bytes")
            if attempt.expired:
                raise TimeoutError("cut off at the deadline")
        finally:
            # Closes the connection, unless all was read and it went back to the pool.
            response.close()

    def _session(self) -> requests.Session:
        now = time.monotonic()
        session: requests.Session | None = getattr(self._threads, "session", None)
        if session is None:
            session = _new_session(self._ca_bundle)
            self._threads.session = session
            self._sessions.append(session)
        elif now - self._threads.used > IDLE_SECONDS:
            session.close()
        self._threads.used = now
        return session

    def _forget_session(self) -> None:
        session: requests.Session | None = getattr(self._threads, "session", None)
        if session is not None:
            session.close()


class _TooLarge(Exception):
    """The answer is larger than any honest one."""


@dataclass(slots=True)
class _Heard:
    """What was read of an answer so far."""

    status: int | None = None
    headers: Headers = ()
    encoding: str = ""
    body: bytearray = field(default_factory=bytearray)


class _Hooked:
    """What both kinds of connection share: every write passes `about_to_write` first."""

    sock: socket.socket | None

    def _new_conn(self) -> socket.socket:
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]
        if in_flight.now is not None:
            in_flight.now.connected(sock)
        return sock

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()  # type: ignore[attr-defined]
        attempt = in_flight.now
        if attempt is None or self.sock is None:  # pragma: no cover - nobody else may send
            raise NotSent("unsent", "A request outside of the client was stopped.")
        attempt.about_to_write(self.sock)
        super().send(data)  # type: ignore[misc]


class _Plain(_Hooked, HTTPConnection):
    pass


class _Secure(_Hooked, HTTPSConnection):
    pass


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Secure


class _HookedAdapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nowhere. Even unfollowed, requests would read the body of a redirect, however large."""


def _new_session(ca_bundle: str) -> requests.Session:
    session = _Session()
    session.trust_env = False
    # True means the authorities that come with requests. No value switches this off.
    session.verify = ca_bundle or True
    session.headers.clear()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("http://", "https://"):
        session.mount(scheme, _HookedAdapter(pool_connections=1, pool_maxsize=1, max_retries=0))
    return session


def _answer(exchange: Exchange, purpose: str, body: bytes, spans: Sequence[Span]) -> Answer:
    """The answer without secrets, so that none can reach any message or copy that is made of it.

    But for the token in the answer to a sign-in, which is what was asked for.
    """
    if purpose == "token" and exchange.status == 200:
        content = masked(body, without(spans, body))
    else:
        content = exchange.body
    headers = {name.lower(): value for name, value in exchange.headers}
    return Answer(exchange.status or 0, headers, content)


def _folded(path: str) -> bool:
    """Whether a path has parts that some hop may fold away, such as `..`."""
    return any(part in (".", "..") for part in path.split("/")) or "//" in path


_FAULTS = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
    _TooLarge,
)

_SENTENCES = {
    "deadline_passed": DEADLINE_PASSED,
    "deadline": "The exchange was cut off at its deadline; it may have been carried out.",
    "dns": "The provider's host name could not be resolved.",
    "unreachable": "The provider could not be reached.",
    "tls": "The provider's certificate or TLS handshake was not acceptable.",
    "timeout": "The provider did not answer in time; it may have acted.",
    "connection_lost": "The connection was lost after sending; the provider may have acted.",
    "garbled": "The answer was not proper HTTP; the provider may have acted.",
    "too_large": "The answer was larger than any honest answer; it was cut off.",
    "bad_encoding": "The answer's compression could not be undone.",
}


def _after_sending(fault: str, detail: str) -> str:
    """The sentence for a fault after the first byte, which leaves open what was done."""
    sentence = _SENTENCES.get(fault, detail)
    return sentence if "may have" in sentence else f"{sentence} The provider may have acted."


def _fault_of(error: BaseException, attempt: Transmission) -> str:
    """Our word for a fault. What it proves is decided by the first byte, never by this word."""
    if attempt.expired:
        return "deadline" if attempt.first_byte else "deadline_passed"
    kinds = tuple(_causes(error))
    if any(isinstance(kind, _TooLarge) for kind in kinds):
        return "too_large"
    if any(isinstance(kind, urllib3.exceptions.NameResolutionError) for kind in kinds):
        return "dns"
    if any(isinstance(kind, requests.exceptions.SSLError) for kind in kinds):
        return "tls"
    if not attempt.first_byte:
        return "unreachable"
    if any(_is_garbled(kind) for kind in kinds):
        return "garbled"
    timeouts = (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)
    return "timeout" if any(isinstance(kind, timeouts) for kind in kinds) else "connection_lost"


def _is_garbled(error: BaseException) -> bool:
    """Whether an answer came that is no HTTP, as opposed to none or a part of one."""
    lost = (http.client.RemoteDisconnected, http.client.IncompleteRead)
    return isinstance(error, http.client.HTTPException) and not isinstance(error, lost)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    queue = [error]
    while queue and len(seen) < 20:
        current = queue.pop()
        seen.append(current)
        inner = (current.__cause__, current.__context__, *current.args)
        queue += [one for one in inner if isinstance(one, BaseException) and one not in seen]
        reason = getattr(current, "reason", None)
        if isinstance(reason, BaseException) and reason not in seen:
            queue.append(reason)
    yield from seen
