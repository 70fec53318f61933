"""What exactly of a row is sealed, as bytes that are the same on every database.

A layout is never edited once rows were sealed by it. A column that is added to a sealed table gets
a new layout of the same name with the next version, at the end of `LAYOUTS`: old rows keep theirs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

EPOCH = datetime(1970, 1, 1)
MICROSECONDS = 1_000_000


class NotCanonical(Exception):
    """A value that its column cannot have: somebody wrote past the application."""


def _integer(value: object) -> bytes:
    if type(value) is not int:
        raise NotCanonical
    return b"%d" % value


def _text(value: object) -> bytes:
    if type(value) is not str:
        raise NotCanonical
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise NotCanonical from None


def _boolean(value: object) -> bytes:
    if value not in (0, 1) or not isinstance(value, int):
        raise NotCanonical
    return b"1" if value else b"0"


def _octets(value: object) -> bytes:
    if not isinstance(value, bytes | memoryview):
        raise NotCanonical
    return bytes(value)


def microseconds(value: object) -> bytes:
    """Microseconds since 1970, UTC; SQLite's text is read here, PostgreSQL counts itself."""
    if type(value) is int:
        return b"%d" % value
    if type(value) is not str:
        raise NotCanonical
    try:
        since = datetime.fromisoformat(value) - EPOCH
    except (ValueError, TypeError):
        raise NotCanonical from None
    return b"%d" % ((since.days * 86_400 + since.seconds) * MICROSECONDS + since.microseconds)


Encoder = Callable[[object], bytes]
ENCODERS: Mapping[str, Encoder] = {
    "i": _integer,
    "s": _text,
    "b": _boolean,
    "x": _octets,
    "t": microseconds,
    "u": _text,
}
"""Integer, string, boolean, octets, time and UUID (32 lower-case hexadecimal digits)."""


@dataclass(frozen=True)
class Layout:
    """The columns of a table that are sealed, in order, each with the letter of its kind.

    `code` stands in the seals. `moment` is the column that says when the row was added; a table
    without one is reached through the requests. The body itself is never part of it: its SHA-256
    is, so that a row whose body was purged still verifies.
    """

    code: int
    name: str
    version: int
    table: str
    key: str
    moment: str
    columns: Mapping[str, str]
    has_body: bool = False

    @cached_property
    def positions(self) -> dict[str, int]:
        """Where each column stands."""
        return {name: place for place, name in enumerate(self.columns)}

    @cached_property
    def _lines(self) -> list[tuple[bytes, bytes, Encoder]]:
        return [
            (name.encode(), f"{name} {kind}".encode(), ENCODERS[kind])
            for name, kind in self.columns.items()
        ]

    def plain(self, kind: str, value: object) -> int | str | bool:
        """A value that is canonical, for JSON; from it the same bytes can be made."""
        encoded = ENCODERS[kind](value)
        if kind in ("i", "t"):
            return int(encoded)
        if kind == "b":
            return encoded == b"1"
        return encoded.hex() if kind == "x" else encoded.decode()

    def canonical(self, values: Sequence[object]) -> bytes:
        """The bytes that are sealed. Raises `NotCanonical`."""
        lines = [f"annul row {self.name} {self.version}\n".encode()]
        for (name, named_kind, encode), value in zip(self._lines, values, strict=True):
            if value is None:
                lines.append(b"%b n 0 \n" % name)
            else:
                encoded = encode(value)
                lines.append(b"%b %d %b\n" % (named_kind, len(encoded), encoded))
        return b"".join(lines)


EVENT = Layout(
    code=1,
    name="history_event",
    version=1,
    table="invoices_historyevent",
    key="id",
    moment="at",
    columns={
        "id": "i",
        "at": "t",
        "kind": "s",
        "actor_id": "i",
        "account_id": "i",
        "batch_id": "i",
        "attempt_id": "i",
        "invoice_id": "i",
        "from_state": "s",
        "to_state": "s",
        "code": "s",
        "detail": "s",
        "address": "s",
    },
)
REQUEST = Layout(
    code=2,
    name="provider_request",
    version=1,
    table="invoices_providerrequest",
    key="id",
    moment="created_at",
    columns={
        "id": "u",
        "account_id": "i",
        "created_at": "t",
        "purpose": "s",
        "method": "s",
        "url": "s",
        "headers": "x",
        "body_sha256": "s",
    },
    has_body=True,
)
RESPONSE = Layout(
    code=3,
    name="provider_response",
    version=1,
    table="invoices_providerresponse",
    key="request_id",
    moment="received_at",
    columns={
        "request_id": "u",
        "received_at": "t",
        "sent": "b",
        "status": "i",
        "headers": "x",
        "body_sha256": "s",
        "complete": "b",
        "fault": "s",
        "detail": "s",
        "correlation_id": "s",
        "duration_ms": "i",
    },
    has_body=True,
)
SUBJECT = Layout(
    code=4,
    name="call_subject",
    version=1,
    table="invoices_callsubject",
    key="id",
    moment="",
    columns={"id": "i", "request_id": "u", "invoice_id": "i", "attempt_id": "i"},
)
PURGE = Layout(
    code=5,
    name="body_purge",
    version=1,
    table="invoices_bodypurge",
    key="id",
    moment="at",
    columns={
        "id": "i",
        "at": "t",
        "actor_id": "i",
        "since": "t",
        "until": "t",
        "requests": "i",
        "answers": "i",
        "export_sha256": "s",
    },
)
LAYOUTS: Mapping[int, Layout] = {
    one.code: one for one in (EVENT, REQUEST, RESPONSE, SUBJECT, PURGE)
}
"""Every layout that ever sealed a row, by its code."""


def newest() -> dict[str, Layout]:
    """By table, the layout that seals new rows."""
    return {one.table: one for one in LAYOUTS.values()}


def codes_of(table: str) -> list[int]:
    """The codes by which rows of a table may have been sealed."""
    return [one.code for one in LAYOUTS.values() if one.table == table]
