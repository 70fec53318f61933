"""A provider that says exactly what a test wants it to say, over a real socket.

For answers that the sandbox has no reason to give: damaged entries, foreign links, missing fields.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from providers.adapters.base import Adapter
from providers.exchange import Exchange, OutgoingRequest
from providers.http import Client
from providers.redaction import Redactor


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came in."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The target without its query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        """The query's values by name."""
        return parse_qs(urlsplit(self.target).query)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; `body` is sent as JSON unless it is bytes."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def raw(self) -> bytes:
        """The bytes on the wire."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


A = TypeVar("A", bound=Adapter)
Script = Callable[[Asked], Reply]


@dataclass(slots=True)
class Kept:
    """Keeps what a recorder is told."""

    requests: list[OutgoingRequest] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)

    def before(self, request: OutgoingRequest) -> None:
        """Keep the request."""
        self.requests.append(request)

    def gate(self) -> None:
        """Let everything pass."""

    def after(self, exchange: Exchange) -> None:
        """Keep how it ended."""
        self.exchanges.append(exchange)

    @property
    def purposes(self) -> list[str]:
        """What each request was for, in order."""
        return [request.purpose for request in self.requests]


@dataclass(slots=True)
class Scripted:
    """A running scripted provider."""

    url: str
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def scripted(script: Script) -> Iterator[Scripted]:
    """Serve `script` on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, self.rfile.read(length))
            state.asked.append(asked)
            reply = script(asked)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.status != 204:
                self.send_header("Content-Length", str(len(reply.raw)))
            self.end_headers()
            self.wfile.write(reply.raw)

        do_GET = do_POST = do_PUT = answer

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state = Scripted(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def speaking(
    kind: type[A],
    base_url: str,
    credentials: Mapping[str, str],
    settings: Mapping[str, str] | None = None,
) -> Iterator[tuple[A, Kept]]:
    """An adapter that talks to `base_url`, and what its recorder was told."""
    kept = Kept()
    client = Client(base_url, redactor=Redactor(credentials.values()), recorder=kept)
    try:
        yield kind(client, credentials, settings or {}), kept
    finally:
        client.close()
