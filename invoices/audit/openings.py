"""What an evidence pack needs to prove its rows: their openings, and one proof for all of them.

The pack's builder writes what these functions give; `invoices/audit/__init__.py` says how.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from invoices.audit import checkpoints, keys, records, tree
from invoices.audit.layouts import LAYOUTS, Layout, codes_of
from invoices.audit.statement import Statement

PAGE = 500


@dataclass(frozen=True, slots=True)
class Opening:
    """A sealed row that an outsider can check without the master key.

    `row` is one line of `rows.jsonl`, without "body". `body` is None for a row that has none, and
    empty for one whose body was purged, if `is_purged`.
    """

    row: dict[str, Any]
    body: bytes | None
    is_purged: bool


class Tampered(Exception):
    """A row is not as it was sealed: nothing can be proven before that is looked into."""


def numbers(table: str, row_keys: Iterable[str]) -> Iterator[int]:
    """The numbers of the seals of some rows; of those that have none yet, nothing.

    `table` is the database's name of it. A key is a number, or a UUID's 32 hexadecimal digits.
    """
    remaining = iter(row_keys)
    while page := list(islice(remaining, PAGE)):
        yield from records.numbers_of(codes_of(table), page)


def openings(wanted: Iterable[int]) -> Iterator[Opening]:
    """The openings of the seals with these numbers, in the order given. Raises `Tampered`."""
    master, remaining = keys.seal_key(), iter(wanted)
    while page := list(islice(remaining, PAGE)):
        seals = {seal[0]: seal for seal in records.seals_of(page)}
        rows = records.rows_of(seals.values())
        for number in page:
            if number not in seals or seals[number][1:3] not in rows:
                raise Tampered(f"Seal {number}, or what it sealed, is missing.")
            yield _opening(master, seals[number], rows[seals[number][1:3]])


def _opening(master: bytes, seal: records.Seal, row: records.Row) -> Opening:
    number, code, key, digest = seal
    if row.canonical is None or keys.digest(master, number, code, key, row.canonical) != digest:
        raise Tampered(f"What seal {number} sealed was edited.")
    layout = LAYOUTS[code]
    return Opening(
        {
            "number": number,
            "table": layout.name,
            "version": layout.version,
            "k": keys.row_key(master, number, code, key).hex(),
            "columns": _columns(layout, row.values),
        },
        row.body,
        row.body == b"" and not records.body_fits(layout, row),
    )


def _columns(layout: Layout, values: Sequence[Any]) -> list[tuple[str, str, Any]]:
    return [
        (name, "n", None) if value is None else (name, kind, layout.plain(kind, value))
        for (name, kind), value in zip(layout.columns.items(), values, strict=True)
    ]


def proof(wanted: Sequence[int], under: Statement) -> Iterator[str]:
    """The hashes of `proof.json`, for seal numbers in ascending order, none above `under.count`."""
    leaves = array("q", (number - 1 for number in wanted))
    if not leaves or leaves[-1] >= under.count:
        raise ValueError("there must be rows, and all of them under the checkpoint")
    for one in tree.proof(records.StoredLeaves(), leaves, under.count):
        yield one.hex()


def newest_checkpoint() -> dict[str, Any]:
    """The content of `checkpoint.json`. Raises `LookupError` when there is none yet."""
    made = checkpoints.newest()
    if made is None:
        raise LookupError("There is no checkpoint yet.")
    signer = keys.public_keys().get(made.key)
    return made.content | {"public_key": keys.public_hex(signer) if signer else ""}
