"""Starting and stopping a sandbox: in a thread of a test, or as a process of its own."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from providers.sandbox import certificates
from providers.sandbox.alerting import AlertingListener
from providers.sandbox.application import Application
from providers.sandbox.control import Control
from providers.sandbox.control_api import ControlApi
from providers.sandbox.server import PLAIN, serve
from providers.sandbox.state import StateFile
from providers.sandbox.switches import Switches
from providers.sandbox.world import World

SAVE_EVERY = 5.0
"""Seconds between two savings of the state, for a process that is killed."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a sandbox starts. Port 0 is any free one; ``invoices`` per account."""

    host: str = "127.0.0.1"
    port: int = 0
    invoices: int | Mapping[str, int] = 0
    seed: int = 0
    log: Path | None = None
    state: Path | None = None
    """Where invoices are kept from one start to the next."""
    tls: bool = False
    """Whether to listen with TLS as well, once for each of ``certificates.LISTENERS``."""


class SandboxServer:
    """A sandbox in a background thread; ``with`` starts and stops it."""

    def __init__(self, options: Options | None = None, switches: Switches | None = None) -> None:
        self.options = options or Options()
        self.application = Application(World(switches), self.options.log)
        self.control = Control(self.application)
        self.control.reset(self.options.invoices, self.options.seed)
        self._state = StateFile(self.options.state) if self.options.state else None
        if self._state:
            self._state.load(self.application.world)
        self.tls_origins: dict[str, str] = {}
        """Listener to its origin; empty unless ``Options.tls``."""
        self._folder = tempfile.TemporaryDirectory(prefix="sandbox-tls-")
        self._alerting: AlertingListener | None = None
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)

    @property
    def origin(self) -> str:
        """Scheme, host and port, e.g. "http://127.0.0.1:9000"."""
        return self.control.origin

    @property
    def ca_bundle(self) -> Path:
        """What a client has to trust for the listener "trusted"."""
        return Path(self._folder.name) / certificates.AUTHORITY

    def start(self) -> None:
        """Starts the thread; returns once the port is open."""
        self._thread.start()
        self._ready.wait()
        if self._failure:
            raise self._failure

    def stop(self) -> None:
        """Closes all connections and ends the thread."""
        if self._loop and self._stop and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)
        self._close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        await self._listen(self._opened, self._stop)

    async def _listen(
        self, opened: Callable[[Mapping[str, int]], None], stop: asyncio.Event
    ) -> None:
        host = self.options.host
        folder = Path(self._folder.name)
        contexts = dict(certificates.contexts(folder, host)) if self.options.tls else {}
        if contexts:
            self._alerting = AlertingListener(host, contexts.pop(certificates.ALERTING))
        control = ControlApi(self.control)
        await serve(self.application, control, host, self.options.port, opened, stop, contexts)

    def _opened(self, ports: Mapping[str, int]) -> None:
        host = self.options.host
        self.control.origin = f"http://{host}:{ports[PLAIN]}"
        more = {certificates.ALERTING: self._alerting.port} if self._alerting else {}
        self.tls_origins = {
            name: f"https://{host}:{port}"
            for name, port in {**ports, **more}.items()
            if name != PLAIN
        }
        self._ready.set()

    def serve_forever(self, announce: Callable[[str], None]) -> None:
        """Runs in this thread until SIGTERM or SIGINT; ``announce`` gets the origin."""
        asyncio.run(self._serve_forever(announce))
        self._close()

    def _close(self) -> None:
        if self._state:
            with self.application.world.lock:
                self.application.world.settle_everything()
            self._state.save(self.application.world)
        self.application.log.close()
        if self._alerting:
            self._alerting.close()
        self._folder.cleanup()

    async def _serve_forever(self, announce: Callable[[str], None]) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)

        saving = asyncio.create_task(self._save_now_and_then())

        def opened(ports: Mapping[str, int]) -> None:
            self._opened(ports)
            announce(self.origin)

        await self._listen(opened, stop)
        saving.cancel()

    async def _save_now_and_then(self) -> None:
        while self._state:
            await asyncio.sleep(SAVE_EVERY)
            self._state.save(self.application.world)


@contextmanager
def running(
    invoices: int | Mapping[str, int] = 0,
    *,
    seed: int = 0,
    port: int = 0,
    log: Path | None = None,
    tls: bool = False,
    **switches: Any,
) -> Iterator[SandboxServer]:
    """A sandbox on a free port for the length of a ``with``; switches by keyword.

    ``invoices`` is a number per account or a mapping of account name to number. With ``tls``
    the server's ``tls_origins`` name an origin for each of ``certificates.LISTENERS``."""
    chosen = Switches()
    chosen.set(**switches)
    options = Options(port=port, invoices=invoices, seed=seed, log=log, tls=tls)
    with SandboxServer(options, chosen) as server:
        yield server
