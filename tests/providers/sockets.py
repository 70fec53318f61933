"""A provider made of bare sockets, for answers that no server would give."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from providers.http import Client
from providers.redaction import Redactor
from tests.providers.scripted import Kept

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
Behaviour = Callable[[socket.socket, bytes], None]


@dataclass(slots=True)
class Raw:
    """A server made of bare sockets, and what came in."""

    port: int
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def raw_server(behave: Behaviour, *, read: bool = True) -> Iterator[Raw]:
    """Calls `behave` with the connection and each request, or with b"" before reading any."""
    listener = socket.create_server(("127.0.0.1", 0))
    state = Raw(listener.getsockname()[1])

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            if not read:
                behave(connection, b"")
                return
            while request := _request(connection):
                state.requests.append(request)
                behave(connection, request)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                state.connections += 1
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def _request(connection: socket.socket) -> bytes:
    got = b""
    while b"\r\n\r\n" not in got:
        more = connection.recv(65536)
        if not more:
            return b""
        got += more
    head, _, body = got.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    wanted = int(lengths[0].partition(b":")[2]) if lengths else 0
    while len(body) < wanted:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def sending(*parts: bytes, pause: float = 0.0, then_close: bool = False) -> Behaviour:
    def behave(connection: socket.socket, request: bytes) -> None:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        if then_close:
            connection.shutdown(socket.SHUT_RDWR)

    return behave


def close_at_once(connection: socket.socket, request: bytes) -> None:
    connection.close()


def stall(connection: socket.socket, request: bytes) -> None:
    connection.recv(1)


@contextmanager
def client_of(
    url: str, *, seconds: float = 30.0, secrets: tuple[str, ...] = (), kept: Kept | None = None
) -> Iterator[tuple[Client, Kept]]:
    kept = kept or Kept()
    client = Client(url, redactor=Redactor(secrets), recorder=kept, total_seconds=seconds)
    try:
        yield client, kept
    finally:
        client.close()
