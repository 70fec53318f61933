"""One request on its way: the hook at its first byte, and the watchdog that ends it in time."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from providers.errors import NotSent

DEADLINE_PASSED = "Our own deadline passed before the first byte."


class Transmission:
    """One request on its way: when it must end, and whether its first byte has left."""

    def __init__(self, gate: Callable[[], None], deadline: float) -> None:
        self._gate = gate
        self.deadline = deadline
        self.first_byte = False
        self.expired = False
        self.sock: socket.socket | None = None
        self._spare: socket.socket | None = None

    def connected(self, sock: socket.socket) -> None:
        """Called with each bare connection. TLS takes its descriptor away, hence a copy."""
        self._drop_spare()
        self._spare = sock.dup()

    def about_to_write(self, sock: socket.socket) -> None:
        """Called with the connected socket just before each write: of the head, then the body.

        What is stopped between the two was not carried out, but that is left to a read.
        """
        self.sock = sock
        if time.monotonic() >= self.deadline:
            raise NotSent("deadline_passed", DEADLINE_PASSED)
        self._gate()
        self.first_byte = True

    def expire(self) -> None:
        """Shut the socket under whoever is waiting on it."""
        self.expired = True
        for sock in (self.sock, self._spare):
            if sock is not None:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """Nothing is waiting any more."""
        self._drop_spare()

    def _drop_spare(self) -> None:
        if self._spare is not None:
            self._spare.close()
            self._spare = None


class Watchdog:
    """One thread that shuts the sockets of exchanges that are past their deadline."""

    TICK_SECONDS = 0.1

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: set[Transmission] = set()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, attempt: Transmission) -> None:
        with self._lock:
            self._watched.add(attempt)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name="watchdog")
                self._thread.start()

    def forget(self, attempt: Transmission) -> None:
        with self._lock:
            self._watched.discard(attempt)

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self.TICK_SECONDS):
            now = time.monotonic()
            # Under the lock: once `forget` returns, the socket may carry the next request.
            with self._lock:
                for attempt in self._watched:
                    if now >= attempt.deadline:
                        attempt.expire()


class InFlight(threading.local):
    now: Transmission | None = None


in_flight = InFlight()
