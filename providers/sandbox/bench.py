"""``python -m providers.sandbox.bench``: how many requests a second one sandbox answers.

The sandbox runs in a process of its own; the client keeps a few connections
and writes requests prepared beforehand, so that it costs less than the server.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from urllib.parse import urlsplit

from providers.sandbox.control_api import RemoteControl
from providers.sandbox.credentials import BASE_PATHS, CREDENTIALS

ACCOUNT = "kantata-studio"


def main() -> None:
    """Measures reads, then cancels, and prints both figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--connections", type=int, default=8)
    given = parser.parse_args()
    server = _start(given.requests)
    try:
        assert server.stdout  # noqa: S101 - it was opened as a pipe above
        origin = server.stdout.readline().split()[-1]
        _report(origin, given.requests, given.connections)
    finally:
        server.terminate()
        server.wait()


def _start(invoices: int) -> subprocess.Popen[str]:
    module = [sys.executable, "-m", "providers.sandbox"]
    options = ["--port", "0", "--no-limits", "--invoices", str(invoices)]
    return subprocess.Popen([*module, *options], stdout=subprocess.PIPE, text=True)


def _report(origin: str, requests: int, connections: int) -> None:
    ids = RemoteControl(origin).ids(account=ACCOUNT)[:requests]
    for verb, suffix in (("GET", ""), ("PUT", "/cancel")):
        sent = [_request(origin, verb, f"/invoices/{identity}{suffix}") for identity in ids]
        seconds = asyncio.run(_all(origin, sent, connections))
        print(f"{verb:4} {len(sent) / seconds:8.0f} requests/s")  # noqa: T201 - it is a command


def _request(origin: str, verb: str, path: str) -> bytes:
    lines = (
        f"{verb} {BASE_PATHS['kantata']}{path} HTTP/1.1",
        f"Host: {urlsplit(origin).netloc}",
        f"Authorization: Bearer {CREDENTIALS[ACCOUNT]['token']}",
        "Content-Length: 0",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _all(origin: str, requests: list[bytes], connections: int) -> float:
    start = time.perf_counter()
    shares = (requests[number::connections] for number in range(connections))
    await asyncio.gather(*(_one_connection(origin, share) for share in shares))
    return time.perf_counter() - start


async def _one_connection(origin: str, requests: list[bytes]) -> None:
    address = urlsplit(origin)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    for request in requests:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(None, 1)[0])
        await reader.readexactly(length)
    writer.close()


if __name__ == "__main__":
    main()
