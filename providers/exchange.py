"""What travels through the door: a request about to leave, how it ended, and its answer."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from uuid import UUID

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """A request as it is about to leave, with everything secret masked."""

    id: UUID
    purpose: str
    method: str
    url: str
    headers: Headers
    body: bytes
    references: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Exchange:
    """How a request ended. `sent` is False only when provably no byte left this machine.

    `status` is None when no status line was read; `complete` says that the whole answer was.
    `fault` is empty after a complete answer, else our word for what went wrong. `detail` says more
    of that, and what of the body is not kept because it could not be searched for secrets.
    """

    request_id: UUID
    sent: bool
    status: int | None
    headers: Headers
    body: bytes
    complete: bool
    fault: str
    detail: str
    duration_ms: int


class Recorder(Protocol):
    """Who sends keeps the record."""

    def before(self, request: OutgoingRequest) -> None:
        """Store the request durably, then return. Raise `NotSent` to forbid it."""

    def gate(self) -> None:
        """Called before each write, must not block. Raise `NotSent` when permission has lapsed."""

    def after(self, exchange: Exchange) -> None:
        """Take note of how it ended."""


@dataclass(frozen=True, slots=True)
class Wire:
    """What a signature covers: exactly what will be on the wire."""

    method: str
    host: str
    target: str
    body: bytes


Signer = Callable[[Wire], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer, masked as it is on record; a sign-in's has the token it asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON, or None when it is anything else. See `parse`."""
        return parse(self.body)

    def object(self) -> dict[str, Any]:
        """The body as a JSON object; empty when it is anything else."""
        found = parse(self.body)
        return found if isinstance(found, dict) else {}

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait by the Retry-After header (seconds or HTTP date), within [1 s, 1 h]."""
        return retry_after_seconds(self.headers.get("retry-after", ""))


def parse(body: bytes) -> Any:
    """JSON that survives everything: None for what is not JSON, or not unambiguous.

    Fractions stay text, so that no amount ever passes through a float. Duplicate keys, NaN and
    numbers of thousands of digits are not unambiguous.
    """
    try:
        return json.loads(
            body.decode("utf-8"),
            parse_float=str,
            parse_constant=_no_constant,
            object_pairs_hook=_distinct,
        )
    except (ValueError, RecursionError):
        return None


def retry_after_seconds(value: str, now: float | None = None) -> float | None:
    """Seconds by a Retry-After header, clamped to [1, 3600]; None when it says nothing."""
    try:
        seconds = float(int(value))
    except (ValueError, OverflowError):
        try:
            moment = parsedate_to_datetime(value).timestamp()
        except (ValueError, TypeError, OverflowError):
            return None
        seconds = moment - (time.time() if now is None else now)
    return min(3600.0, max(1.0, seconds))


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found
