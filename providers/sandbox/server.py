"""The sockets: connections, keep-alive, and answers in the order of the requests."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from typing import cast

from providers.sandbox.application import Application, Delivery
from providers.sandbox.delivery import Wire, spoil
from providers.sandbox.wire import BadRequestError, Parser, Request, Response, json_response

ControlHandler = Callable[[Request], Response]
PLAIN = ""
"""The name of the listener that speaks plain HTTP."""
SETTLE_EVERY = 0.05
"""Seconds between two looks for changes that fell due while nobody called."""


class Connection(asyncio.Protocol):
    """One client connection. Requests are answered one after the other."""

    count = 0

    def __init__(
        self, application: Application, control: ControlHandler, alive: set[Connection]
    ) -> None:
        Connection.count += 1
        self._alive = alive
        self.number = Connection.count
        self._application = application
        self._control = control
        self._parser = Parser()
        self._transport: asyncio.Transport
        self._peer = ""
        self._delivery: Delivery | None = None
        self._keep_alive = True
        self._task: asyncio.Task[None] | None = None
        self._draining = False

    # -- callbacks of asyncio ---------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected; a fault may end it before anything is read."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(0)
        self._alive.add(self)
        self._peer = str((transport.get_extra_info("peername") or [""])[0])
        fault = self._application.faults.take_at_accept()
        if fault and fault.name == "rst_at_accept":
            Wire(self._transport).rst()
        elif fault:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Bytes arrived."""
        self._parser.feed(data)
        self._advance()

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        self._draining = True

    def resume_writing(self) -> None:
        """All of the answer has been handed over at last."""
        self._draining = False
        if self._delivery and self._task is None:
            self._finish(sent=True)
            self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection ended; an answer under way was not sent."""
        self._alive.discard(self)
        if self._task:
            self._task.cancel()
        if self._delivery:
            self._finish(sent=False)

    def abort(self) -> None:
        """Ends the connection at once."""
        self._transport.abort()

    # -- one request after the other ------------------------------------------------------

    def _advance(self) -> None:
        try:
            while self._delivery is None and not self._transport.is_closing():
                request = self._parser.next_request()
                if request is None:
                    return
                self._serve(request)
        except BadRequestError as error:
            answer = json_response(400, {"error": str(error)})
            self._transport.write(answer.encode(keep_alive=False))
            self._transport.close()

    def _serve(self, request: Request) -> None:
        request.peer = self._peer
        self._keep_alive = request.keep_alive
        lock = self._application.world.lock
        if request.path.startswith("/_control/"):
            answer = self._control(request)
            self._transport.write(answer.encode(keep_alive=request.keep_alive))
            self._finish(sent=True)
            return
        with lock:
            delivery = self._application.receive(request, self.number)
            self._delivery = delivery
            if delivery.wait or delivery.fault:
                self._task = asyncio.get_running_loop().create_task(self._perform(delivery))
            else:
                self._send(delivery)

    def _send(self, delivery: Delivery) -> None:
        self._transport.write(delivery.response.encode(keep_alive=self._keep_alive))
        if not self._draining:
            self._finish(sent=not self._transport.is_closing())

    async def _perform(self, delivery: Delivery) -> None:
        await asyncio.sleep(delivery.wait)
        self._task = None if delivery.fault is None else self._task
        with self._application.world.lock:
            if delivery.fault is None:
                self._send(delivery)
        if delivery.fault:
            await spoil(delivery.fault, delivery.response, Wire(self._transport))
            self._finish(sent=False)
        self._advance()

    def _finish(self, *, sent: bool) -> None:
        delivery, self._delivery = self._delivery, None
        if delivery and delivery.entry:
            with self._application.world.lock:
                self._application.log.finish(delivery.entry, sent=sent)
        if not self._keep_alive:
            self._transport.close()


async def serve(
    application: Application,
    control: ControlHandler,
    host: str,
    port: int,
    ready: Callable[[Mapping[str, int]], None],
    stop: asyncio.Event,
    tls: Mapping[str, ssl.SSLContext],
) -> None:
    """Listens until ``stop`` is set; calls ``ready`` with the ports once it does.

    The port of plain HTTP is named ``PLAIN``, those that speak TLS as in ``tls``."""
    loop = asyncio.get_running_loop()
    alive: set[Connection] = set()

    async def listen(port: int, context: ssl.SSLContext | None) -> asyncio.Server:
        return await loop.create_server(
            lambda: Connection(application, control, alive), host, port, backlog=512, ssl=context
        )

    servers = {PLAIN: await listen(port, None)}
    for name, context in tls.items():
        servers[name] = await listen(0, context)
    ready({name: server.sockets[0].getsockname()[1] for name, server in servers.items()})
    settling = loop.create_task(_settle(application))
    await stop.wait()
    settling.cancel()
    for server in servers.values():
        server.close()
    for connection in list(alive):
        connection.abort()
    await asyncio.sleep(0)


async def _settle(application: Application) -> None:
    while True:
        await asyncio.sleep(SETTLE_EVERY)
        with application.world.lock:
            application.world.settle()
