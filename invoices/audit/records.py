"""Reads the record and its seals by plain SQL, the same values on both databases.

No model is used: a column means here what it holds, and a million rows are read in seconds.
"""
# Every name in these statements is ours; what comes from outside is a parameter.
# ruff: noqa: S608

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import DatabaseError, connection

from invoices.audit.layouts import LAYOUTS, REQUEST, SUBJECT, Layout, NotCanonical, codes_of
from invoices.audit.tree import TILE

PAGE = 500
INTEGER_KEY = re.compile(r"0|-?[1-9][0-9]{0,17}")
CASTS = {"i": "::bigint[]", "u": "::uuid[]", "s": "::text[]"}
SEALS = "SELECT number, layout, key, digest FROM invoices_seal"
Seal = tuple[int, int, str, bytes]
"""Number, layout, key and digest."""
UUID_KEY = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it is now. `canonical` is None if some column holds what it cannot hold.

    `body` is None when it was not asked for, or the table has none, or it is no bytes.
    """

    values: Sequence[object]
    canonical: bytes | None
    body: bytes | None


@contextmanager
def snapshot() -> Iterator[None]:
    """Everything read within is as of one moment; nobody waits for us, nor we for them."""
    if connection.in_atomic_block:
        yield
        return
    begin = "BEGIN"
    if _on_postgresql():
        begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    connection.ensure_connection()
    # Not `atomic`: on SQLite that is a writer's transaction, and all other writers would wait.
    ask(begin)
    try:
        yield
    finally:
        ask("ROLLBACK")


def now() -> datetime:
    """The database's time."""
    if _on_postgresql():
        moment: datetime = ask("SELECT clock_timestamp()")[0][0]
        return moment
    return datetime.now(UTC)


def ask(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """All rows of an answer."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)
        return list(cursor.fetchall()) if cursor.description else []


def fetch(layout: Layout, keys: Sequence[str], *, bodies: bool = False) -> dict[str, Row]:
    """The rows that have these keys, as far as there are such rows."""
    kind = layout.columns[layout.key]
    own = {_own(kind, key): key for key in keys if _is_key(kind, key)}
    if not own:
        return {}
    chosen = [selected(name, of) for name, of in layout.columns.items()]
    if bodies and layout.has_body:
        chosen.append("body")
    condition, parameters = _among(layout.key, kind, list(own))
    sql = f"SELECT {', '.join(chosen)} FROM {layout.table} WHERE {condition}"
    try:
        found = ask(sql, *parameters)
    except DatabaseError:
        if _on_postgresql():
            raise
        # What SQLite stores as text need not be any: find the row that cannot be read.
        return _fetch_halves(layout, keys, bodies)
    position = layout.positions[layout.key]
    return {own[values[position]]: _row(layout, values) for values in found}


def _fetch_halves(layout: Layout, keys: Sequence[str], bodies: bool) -> dict[str, Row]:
    if len(keys) == 1:
        return {keys[0]: Row((), None, None)}
    middle = len(keys) // 2
    halves = (keys[:middle], keys[middle:])
    return {key: row for half in halves for key, row in fetch(layout, half, bodies=bodies).items()}


def _row(layout: Layout, found: Sequence[Any]) -> Row:
    width = len(layout.columns)
    values, body = found[:width], found[width] if len(found) > width else None
    try:
        canonical = layout.canonical(values)
    except NotCanonical:
        canonical = None
    return Row(values, canonical, bytes(body) if isinstance(body, bytes | memoryview) else None)


def pages(layout: Layout, since: datetime | None = None) -> Iterator[list[str]]:
    """Keys of the rows that were added since then, the oldest first, some at a time."""
    if layout is SUBJECT:
        for page in pages(REQUEST, since):
            yield from _subjects_of(page)
        return
    kind, moment = layout.columns[layout.key], layout.moment
    # As text, because a tampered time need not be one that Python knows.
    shown, given = (
        (f"{moment}::text", "%s::timestamptz") if _on_postgresql() else (f"+{moment}", "%s")
    )
    condition: str = "1 = 1"
    parameters: list[Any] = []
    if since is not None:
        condition = f"{moment} >= {given}"
        parameters = [str(connection.ops.adapt_datetimefield_value(since))]
    while True:
        found = ask(
            f"SELECT {shown}, {layout.key}, {selected(layout.key, kind)} FROM {layout.table}"
            f" WHERE {condition} ORDER BY {moment}, {layout.key} LIMIT {PAGE}",
            *parameters,
        )
        if found:
            yield [str(key) for *_, key in found]
        if len(found) < PAGE:
            return
        condition = f"({moment}, {layout.key}) > ({given}, %s)"
        parameters = list(found[-1][:2])


def every_page(layout: Layout) -> Iterator[list[str]]:
    """Keys of all rows, in their own order, whatever else the rows hold."""
    kind = layout.columns[layout.key]
    condition: str = "1 = 1"
    parameters: list[Any] = []
    while True:
        found = ask(
            f"SELECT {layout.key}, {selected(layout.key, kind)} FROM {layout.table}"
            f" WHERE {condition} ORDER BY {layout.key} LIMIT {PAGE}",
            *parameters,
        )
        if found:
            yield [str(key) for _, key in found]
        if len(found) < PAGE:
            return
        condition, parameters = f"{layout.key} > %s", [found[-1][0]]


def _subjects_of(requests: Sequence[str]) -> Iterator[list[str]]:
    condition, parameters = _among("request_id", "u", [_own("u", key) for key in requests])
    found = ask(f"SELECT id FROM {SUBJECT.table} WHERE {condition} ORDER BY id", *parameters)
    for first in range(0, len(found), PAGE):
        yield [str(key) for (key,) in found[first : first + PAGE]]


def unsealed(layout: Layout, keys: Sequence[str]) -> list[str]:
    """Those of the keys that no seal names."""
    codes = ", ".join(str(code) for code in codes_of(layout.table))
    condition, parameters = _among("key", "s", keys)
    seals = f"SELECT key FROM invoices_seal WHERE layout IN ({codes}) AND {condition}"
    sealed = {key for (key,) in ask(seals, *parameters)}
    return [key for key in keys if key not in sealed]


def seals(page: int) -> Iterator[list[Seal]]:
    """All seals in the order of their numbers, so many at a time."""
    after = -(1 << 62)
    while True:
        found: list[Any] = ask(f"{SEALS} WHERE number > %s ORDER BY number LIMIT {page}", after)
        if found:
            yield found
            after = found[-1][0]
        if len(found) < page:
            return


def seals_of(numbers: Sequence[int]) -> list[Seal]:
    """The seals with these numbers, as far as there are such."""
    condition, parameters = _among("number", "i", numbers)
    found: list[Any] = ask(f"{SEALS} WHERE {condition}", *parameters)
    return found


def numbers_of(codes: Sequence[int], keys: Sequence[str]) -> list[int]:
    """The numbers of the seals of the rows that have these keys."""
    of_table = ", ".join(map(str, codes))
    condition, parameters = _among("key", "s", keys)
    sql = f"SELECT number FROM invoices_seal WHERE layout IN ({of_table}) AND {condition}"
    return [int(number) for (number,) in ask(sql, *parameters)]


def rows_of(page: Iterable[Seal]) -> dict[tuple[int, str], Row]:
    """What these seals sealed, with bodies, by layout and key, as far as it is there."""
    wanted: dict[int, list[str]] = defaultdict(list)
    for _, code, key, _ in page:
        wanted[code].append(key)
    return {
        (code, key): row
        for code, found in wanted.items()
        if code in LAYOUTS
        for key, row in fetch(LAYOUTS[code], found, bodies=True).items()
    }


def body_fits(layout: Layout, row: Row) -> bool:
    """Whether the body is the one whose SHA-256 stands in the row."""
    if row.body is None:
        return not layout.has_body
    stated = row.values[layout.positions["body_sha256"]]
    return hashlib.sha256(row.body).hexdigest() == stated


def disagreeing_states() -> list[tuple[int, str, str]]:
    """Attempts whose state is not the last one in their history: id, state, last state or ""."""
    return [
        (int(attempt), str(state), str(last or ""))
        for attempt, state, last in ask(
            "SELECT attempt.id, attempt.state, event.to_state"
            " FROM invoices_cancellationattempt attempt"
            " LEFT JOIN (SELECT attempt_id, max(id) AS last FROM invoices_historyevent"
            "   WHERE kind = 'attempt_state' GROUP BY attempt_id) latest"
            "   ON latest.attempt_id = attempt.id"
            " LEFT JOIN invoices_historyevent event ON event.id = latest.last"
            " WHERE event.to_state <> attempt.state"
            "   OR (event.id IS NULL AND attempt.state NOT IN ('draft', 'ineligible'))"
            " ORDER BY attempt.id"
        )
    ]


def count(table: str) -> int:
    """How many rows a table has."""
    return int(ask(f"SELECT count(*) FROM {table}")[0][0])


class StoredLeaves:
    """The digests of the seals as a tree's leaves; the tile that was last looked at is kept."""

    def __init__(self) -> None:
        self._tile = -1
        self._kept: list[bytes] = []

    def digests(self, low: int, high: int) -> Iterator[bytes]:
        """Of the seals with the numbers low + 1 to high."""
        while low < high:
            tile, offset = divmod(low, TILE)
            size = min(high - low, TILE - offset)
            yield from self._digests_of(tile)[offset : offset + size]
            low += size

    def tile_roots(self, low: int, high: int) -> Iterator[bytes]:
        """Of the tiles [low, high), as far as they are kept without a gap."""
        for first in range(low, high, TILE):
            found = ask(
                "SELECT number, root FROM invoices_sealtile WHERE number >= %s AND number < %s"
                " ORDER BY number",
                first,
                min(high, first + TILE),
            )
            for expected, (number, root) in enumerate(found, start=first):
                if number != expected:
                    return
                yield bytes(root)
            if len(found) < min(high, first + TILE) - first:
                return

    def _digests_of(self, tile: int) -> list[bytes]:
        if tile != self._tile:
            found = ask(
                "SELECT digest FROM invoices_seal WHERE number > %s AND number <= %s"
                " ORDER BY number",
                tile * TILE,
                (tile + 1) * TILE,
            )
            self._tile, self._kept = tile, [bytes(digest) for (digest,) in found]
        return self._kept


def selected(column: str, kind: str) -> str:
    """SQL for a column such that both databases give the same kind of value."""
    if not _on_postgresql():
        # As an expression, which Django's converters of booleans and times leave as it is stored.
        return f"+{column}"
    if kind == "u":
        return f"encode(uuid_send({column}), 'hex')"
    if kind == "t":
        # Exact to the microsecond; an infinite time must not fail the whole query.
        micros = f"round(extract(epoch FROM {column}) * 1000000)::bigint"
        return f"CASE WHEN isfinite({column}) THEN {micros} END"
    return column


def _among(column: str, kind: str, values: Sequence[Any]) -> tuple[str, list[Any]]:
    """A condition, and its parameters."""
    if _on_postgresql():
        return f"{column} = ANY(%s{CASTS[kind]})", [list(values)]
    return f"{column} IN ({', '.join(['%s'] * len(values))})", list(values)


def _on_postgresql() -> bool:
    return connection.vendor == "postgresql"


def _is_key(kind: str, key: str) -> bool:
    if kind == "u":
        return UUID_KEY.fullmatch(key) is not None
    return INTEGER_KEY.fullmatch(key) is not None


def _own(kind: str, key: str) -> Any:
    """A key as the database gives it and takes it."""
    return int(key) if kind == "i" else key
