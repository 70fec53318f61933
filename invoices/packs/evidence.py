"""The sealed rows of a pack with their bodies, and what cannot be proven and why.

Read in this order: `rows`, `bodies`, `proof`; what is missing is known after the first.
"""

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any

from invoices.audit import checkpoints, openings, records
from invoices.audit.layouts import EVENT, PURGE, REQUEST, RESPONSE, SUBJECT, Layout, newest
from invoices.models import BodyPurge
from invoices.packs.scope import Scope
from invoices.packs.zipping import File

PAGE = 100
"""So many rows are held at once, with their bodies."""
KEYS = 100
MOST_NAMED = 1000
"""Of rows that are missing; beyond, they are counted."""
EMPTY = hashlib.sha256(b"").hexdigest()
EMPTY_FILE = "bodies/empty.txt"


class Unproven:
    """Rows that are not in the pack, each with a reason: named up to some number, and counted."""

    def __init__(self) -> None:
        self.count = 0
        self.named: list[str] = []

    def add(self, what: str) -> None:
        """Note one."""
        self.count += 1
        if self.count <= MOST_NAMED:
            self.named.append(what)


class Evidence:
    """The rows of one scope under the newest checkpoint."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.under = checkpoints.newest()
        self.unsealed, self.tampered, self.blanked = Unproven(), Unproven(), Unproven()
        self.purged = 0
        self._bodies, self._opened = array("q"), array("q")
        self._has_empty = False
        self._purges = [
            (_micros(one.since), _micros(one.until)) for one in BodyPurge.objects.order_by("pk")
        ]
        self._found = array("q")
        for layout, keys in self._keys():
            self._find(layout, keys)
        self._found = array("q", sorted(self._found))

    @property
    def count(self) -> int:
        """How many rows are in the pack, known once they were read."""
        return len(self._opened)

    # --- which rows -------------------------------------------------------------------------------

    def _keys(self) -> Iterator[tuple[Layout, Iterator[str]]]:
        scope = self._scope
        requests = scope.requests.order_by()
        yield EVENT, _texts(scope.events.order_by(), "pk")
        yield REQUEST, _texts(requests, "pk")
        yield RESPONSE, _texts(requests.filter(response__isnull=False), "pk")
        yield SUBJECT, _texts(scope.subjects.order_by(), "pk")
        yield PURGE, _texts(BodyPurge.objects.order_by(), "pk")

    def _find(self, layout: Layout, keys: Iterator[str]) -> None:
        covered = self.under.count if self.under else 0
        while page := list(islice(keys, KEYS)):
            found = list(openings.numbers(layout.table, page))
            above = [number for number in found if number > covered]
            self._found.extend(number for number in found if number <= covered)
            for _, _, key, _ in records.seals_of(above) if above else ():
                self.unsealed.add(f"{layout.name} {key}")
            if len(found) < len(page):
                for key in records.unsealed(newest()[layout.table], page):
                    self.unsealed.add(f"{layout.name} {key}")

    # --- the files --------------------------------------------------------------------------------

    def rows(self) -> Iterator[bytes]:
        """The lines of `rows.jsonl`."""
        for opening in self._openings(self._found, self.tampered):
            row = opening.row
            self._opened.append(row["number"])
            if opening.body is not None:
                row = row | {"body": self._name_of_body(opening)}
            yield f"{json.dumps(row)}\n".encode()

    def _name_of_body(self, opening: openings.Opening) -> str | None:
        values = {name: value for name, _, value in opening.row["columns"]}
        number = opening.row["number"]
        if opening.is_purged:
            self.purged += 1
            moment = int(values.get("created_at") or values["received_at"])
            if not any(since <= moment < until for since, until in self._purges):
                key = values.get("request_id", values.get("id"))
                self.blanked.add(f"{opening.row['table']} {key} (seal {number})")
            return None
        if not opening.body:
            self._has_empty = True
            return EMPTY_FILE
        self._bodies.append(number)
        return _name(values)

    def bodies(self) -> Iterator[File]:
        """The bodies as they are stored, one file each."""
        if self._has_empty:
            yield File(EMPTY_FILE, [b""])
        for opening in self._openings(self._bodies, Unproven()):
            values = {name: value for name, _, value in opening.row["columns"]}
            yield File(_name(values), [opening.body or b""])

    def proof(self) -> Iterator[bytes]:
        """`proof.json`."""
        yield b"["
        for place, one in enumerate(self._proof()):
            yield f"{',' if place else ''}\n{json.dumps(one)}".encode()
        yield b"\n]\n"

    def _proof(self) -> Iterator[str]:
        if self.under is None or not self._opened:
            # Of a tree without a row of this pack, the root is all the proof there is.
            return iter([self.under.root.hex()] if self.under else [])
        return openings.proof(self._opened, self.under)

    def _openings(self, numbers: Iterable[int], tampered: Unproven) -> Iterator[openings.Opening]:
        remaining = iter(numbers)
        while page := list(islice(remaining, PAGE)):
            try:
                yield from list(openings.openings(page))
            except openings.Tampered:
                yield from _one_by_one(page, tampered)


def _one_by_one(page: list[int], tampered: Unproven) -> Iterator[openings.Opening]:
    for number in page:
        try:
            yield from list(openings.openings([number]))
        except openings.Tampered as reason:
            tampered.add(str(reason))


def body_name(request: Any, side: str) -> str:
    """The file of a body: `side` is "request" or "answer"."""
    return f"bodies/{request.hex}-{side}.txt"


def _name(values: dict[str, Any]) -> str:
    if "request_id" in values:
        return f"bodies/{values['request_id']}-answer.txt"
    return f"bodies/{values['id']}-request.txt"


def _texts(rows: Any, field: str) -> Iterator[str]:
    for key in rows.values_list(field, flat=True).iterator(chunk_size=KEYS):
        yield getattr(key, "hex", None) or str(key)


def _micros(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)
