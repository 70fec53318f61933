"""Sending an answer badly: every fault of the transport, byte by byte."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import cast

from providers.sandbox.faults import Fault
from providers.sandbox.wire import Response

DRIP = 0.2
"""Seconds between two bytes of a dripping head."""


class Wire:
    """One connection, as a fault sees it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def write(self, data: bytes) -> None:
        """Sends bytes."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def fin(self) -> None:
        """Closes the connection the polite way."""
        self._transport.close()

    def rst(self) -> None:
        """Closes it with a reset."""
        sock = cast("socket.socket | None", self._transport.get_extra_info("socket"))
        if sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    @property
    def gone(self) -> bool:
        """Whether the connection has ended."""
        return self._transport.is_closing()


async def spoil(fault: Fault, response: Response, wire: Wire) -> None:
    """Sends as much of ``response`` as the fault has it, and ends the connection."""
    await _SPOILERS[fault.name](fault, response, wire)
    wire.fin()


async def _fin(fault: Fault, response: Response, wire: Wire) -> None:
    wire.fin()


async def _rst(fault: Fault, response: Response, wire: Wire) -> None:
    wire.rst()


async def _silence(fault: Fault, response: Response, wire: Wire) -> None:
    await asyncio.sleep(fault.hold)


async def _header_stall(fault: Fault, response: Response, wire: Wire) -> None:
    head = response.head(len(response.body))
    wire.write(head[: head.index(b"\r\n") + 6])
    await asyncio.sleep(fault.hold)


async def _header_drip(fault: Fault, response: Response, wire: Wire) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + fault.hold
    filler = b"".join(b"X-Drip: %d\r\n" % number for number in range(int(fault.hold)))
    first, _, rest = response.head(len(response.body)).partition(b"\r\n")
    for byte in first + b"\r\n" + filler + rest:
        if wire.gone or loop.time() > end:
            return
        wire.write(bytes((byte,)))
        await asyncio.sleep(DRIP)


async def _partial_status_line(fault: Fault, response: Response, wire: Wire) -> None:
    wire.write(b"HTTP/1.1 2")


async def _body_stall(fault: Fault, response: Response, wire: Wire) -> None:
    wire.write(response.head(len(response.body)) + _half(response))
    await asyncio.sleep(fault.hold)


async def _short_body(fault: Fault, response: Response, wire: Wire) -> None:
    wire.write(response.head(len(response.body)) + _half(response))


async def _chunked_cut(fault: Fault, response: Response, wire: Wire) -> None:
    response.headers["Transfer-Encoding"] = "chunked"
    half = _half(response)
    chunk = b"%x\r\n%s\r\n" % (len(half), half)
    wire.write(response.head(None) + chunk + b"ff\r\n{")


def _half(response: Response) -> bytes:
    return response.body[: len(response.body) // 2]


_Spoiler = Callable[[Fault, Response, Wire], Awaitable[None]]
_SPOILERS: dict[str, _Spoiler] = {
    "fin_at_accept": _fin,
    "rst_at_accept": _rst,
    "rst_mid_request": _rst,
    "fin_after_request": _fin,
    "rst_after_request": _rst,
    "read_timeout": _silence,
    "header_stall": _header_stall,
    "header_drip": _header_drip,
    "partial_status_line": _partial_status_line,
    "body_stall": _body_stall,
    "short_body": _short_body,
    "chunked_cut": _chunked_cut,
}
