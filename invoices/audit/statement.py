"""What a checkpoint says, and the bytes that are signed."""

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self

FIRST = bytes(32)
"""In place of a previous checkpoint's digest, in the first one."""
TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


class Unreadable(Exception):
    """A line that is no checkpoint."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A checkpoint: the Merkle root over the first `count` seals, signed by the key `key`."""

    number: int
    count: int
    root: bytes
    previous: bytes
    made_at: datetime
    key: str
    signature: bytes = b""

    @property
    def message(self) -> bytes:
        """The bytes that are signed."""
        lines = [
            "annul checkpoint 1",
            f"number {self.number}",
            f"count {self.count}",
            f"root {self.root.hex()}",
            f"previous {self.previous.hex()}",
            f"made_at {self.made_at.astimezone(UTC).strftime(TIME)}",
            f"key {self.key}",
        ]
        return "".join(f"{line}\n" for line in lines).encode()

    def signed(self, signature: bytes) -> Self:
        """The same with its signature."""
        return replace(self, signature=signature)

    @property
    def digest(self) -> bytes:
        """What the next checkpoint names as its previous one. It covers the signature."""
        return hashlib.sha256(self.message + self.signature).digest()

    @property
    def content(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "number": self.number,
            "count": self.count,
            "root": self.root.hex(),
            "previous": self.previous.hex(),
            "made_at": self.made_at.astimezone(UTC).strftime(TIME),
            "key": self.key,
            "signature": self.signature.hex(),
        }

    @property
    def line(self) -> str:
        """One line of JSON, as it stands in files and mails."""
        return json.dumps(self.content)

    @classmethod
    def read(cls, line: str) -> Self:
        """The checkpoint of a line. Raises `Unreadable`."""
        try:
            given: dict[str, Any] = json.loads(line)
            made_at = datetime.strptime(given["made_at"], TIME).replace(tzinfo=UTC)
            read = cls(
                int(given["number"]),
                int(given["count"]),
                bytes.fromhex(given["root"]),
                bytes.fromhex(given["previous"]),
                made_at,
                str(given["key"]),
                bytes.fromhex(given["signature"]),
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            raise Unreadable from None
        if read.content != given:
            raise Unreadable
        return read
