"""The sandbox's own append-only log of every request it read.

In memory one entry per request; in the file one JSON line before the answer is
sent, one after it, and one more when a cancellation takes effect later still. What
changes from outside has a line of its own there, of kind "outside".
The last line with a sequence number holds. Bodies appear as digests only, headers not
at all except X-Request-Id: nothing here can leak a credential.
"""

from __future__ import annotations

import bisect
import dataclasses
import hashlib
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from providers.sandbox.wire import Request


@dataclass(slots=True)
class Entry:
    """One request and what became of it. ``started``/``finished`` are monotonic seconds."""

    seq: int
    pid: int
    connection: int
    wall: float
    started: float
    method: str
    path: str
    request_id: str | None
    body_sha256: str
    body_size: int
    provider: str | None = None
    account: str | None = None
    kind: str = "other"
    ids: list[str] = field(default_factory=list)
    status: int | None = None
    sent_sha256: str | None = None
    """Digest of the body of the answer; None where a fault made it undecodable."""
    sent: bool = False
    """Whether the whole answer was handed to the network."""
    applied: list[str] = field(default_factory=list)
    """The invoices this very call cancelled."""
    fault: str | None = None
    throttled: bool = False
    finished: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The entry as JSON-able values."""
        values = {name: getattr(self, name) for name in _NAMES}
        return {**values, "ids": list(self.ids), "applied": list(self.applied)}


_NAMES = tuple(item.name for item in dataclasses.fields(Entry))


class Log:
    """All entries since the start, oldest first."""

    def __init__(self, path: Path | None = None) -> None:
        self.entries: list[Entry] = []
        self._file: IO[str] | None = path.open("a", encoding="utf-8") if path else None
        self._seq = 0

    def begin(self, request: Request, connection: int) -> Entry:
        """Opens the entry of a request that was read in full."""
        self._seq += 1
        entry = Entry(
            seq=self._seq,
            pid=os.getpid(),
            connection=connection,
            wall=time.time(),
            started=time.monotonic(),
            method=request.method,
            path=request.target,
            request_id=request.headers.get("x-request-id"),
            body_sha256=sha256(request.body),
            body_size=len(request.body),
        )
        self.entries.append(entry)
        return entry

    def outside(self, account: str, provider: str, change: str, external_id: str) -> None:
        """Puts a change that no request made into the file: who reads it knows who did what."""
        self._seq += 1
        now = time.monotonic()
        cancelled = [external_id] if change == "cancel_elsewhere" else []
        self.write(
            Entry(
                seq=self._seq,
                pid=os.getpid(),
                connection=0,
                wall=time.time(),
                started=now,
                method="",
                path=change,
                request_id=None,
                body_sha256="",
                body_size=0,
                provider=provider,
                account=account,
                kind="outside",
                ids=[external_id],
                applied=cancelled,
                finished=now,
            )
        )

    def finish(self, entry: Entry, *, sent: bool) -> None:
        """Closes an entry; a second call changes nothing."""
        if entry.finished is None:
            entry.sent = sent
            entry.finished = time.monotonic()
            self.write(entry)

    def write(self, entry: Entry) -> None:
        """Puts the entry as it is now into the file."""
        if self._file:
            self._file.write(json.dumps(entry.as_dict(), ensure_ascii=False) + "\n")
            self._file.flush()

    def since(self, index: int = 0) -> list[Entry]:
        """The entries with a sequence number greater than ``index``."""
        first = bisect.bisect_right(self.entries, index, key=lambda entry: entry.seq)
        return self.entries[first:]

    def clear(self) -> None:
        """Forgets the entries in memory; numbers go on and the file stays."""
        self.entries.clear()

    def close(self) -> None:
        """Closes the file."""
        if self._file:
            self._file.close()


def sha256(body: bytes) -> str:
    """Hex digest of a body."""
    return hashlib.sha256(body).hexdigest()


def read_log(path: Path) -> list[dict[str, Any]]:
    """The entries of a log file in order, each in its last state."""
    latest: dict[tuple[int, int], dict[str, Any]] = {}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            latest[entry["pid"], entry["seq"]] = entry
    return sorted(latest.values(), key=lambda entry: (entry["wall"], entry["seq"]))
