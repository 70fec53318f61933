"""Recomputes every seal and every checkpoint, and says what was tampered with, the first row first.

One pass over the seals, in the order of their numbers, on a snapshot of the database: rows may be
added meanwhile. Memory does not grow with the number of rows.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from django.db import connection

from invoices.audit import guard, keys, records
from invoices.audit.chain import Chain, KeptFile
from invoices.audit.findings import Kind, Report
from invoices.audit.layouts import LAYOUTS, PURGE, Layout, microseconds, newest
from invoices.audit.records import Row, Seal, StoredLeaves
from invoices.audit.sealing import MARGIN
from invoices.audit.statement import Statement
from invoices.audit.tree import TILE, Frontier, leaf_hash

PAGE = 1000
SUSPECTS = 200
NEIGHBOURS = (-3, -2, -1, 1, 2, 3)


def verify(public: keys.PublicKeys, file: Path | None = None) -> Report:
    """Check everything. `file` is a file of checkpoints; raises OSError if it cannot be read."""
    report = Report(file=str(file) if file else "")
    kept = KeptFile(file, report) if file else None
    with records.snapshot():
        for name in guard.missing(connection):
            report.add(Kind.TRIGGER, f"The trigger {name} is missing, or not as it was made.")
        chain = Chain(report, public, kept)
        present = _Pass(report, chain.statements()).run()
        _look_for_unsealed(report, present, chain.last)
        report.attempts = records.count("invoices_cancellationattempt")
        for attempt, state, last in records.disagreeing_states():
            report.add(
                Kind.STATE,
                f"Attempt {attempt} is {state}, and its history ends with {last or 'nothing'}.",
            )
    return report


class _Pass:
    """The one pass over the seals, with the tree growing beside it."""

    def __init__(self, report: Report, statements: Iterator[Statement]) -> None:
        self._report = report
        self._statements = statements
        self._master = keys.seal_key()
        self._purges = _purges()
        self._whole, self._tile = Frontier(), Frontier()
        self._suspects: list[tuple[Seal, bytes]] = []
        self._gaps: list[int] = []
        self._present: dict[str, int] = defaultdict(int)
        self._next = 1
        self._agreed = 0
        self._tree_is_broken = False

    def run(self) -> Mapping[str, int]:
        """Check all; returns by table how many of its rows have a seal."""
        self._report.purges = len(self._purges)
        self._statement = next(self._statements, None)
        self._reach_checkpoints()
        for page in records.seals(PAGE):
            rows = records.rows_of(page)
            for seal in page:
                self._take_number(seal[0])
                self._check(seal, rows.get(seal[1:3]))
                self._grow(seal[3])
        self._tell_suspects()
        self._end()
        return self._present

    # --- the seals and their rows -----------------------------------------------------------------

    def _take_number(self, number: int) -> None:
        missing = number - self._next
        if missing > 0:
            first, self._tree_is_broken = self._next, True
            self._gaps.extend(range(first, first + min(missing, SUSPECTS)))
            names = f"Seal {first} was" if missing == 1 else f"Seals {first} to {number - 1} were"
            self._report.add(Kind.REMOVED, f"{names} removed, perhaps with what it sealed.", first)
        elif missing < 0:
            self._tree_is_broken = True
            self._report.add(Kind.INSERTED, f"Seal {number} was slipped in.", number)
        self._next = max(self._next, number + 1)

    def _check(self, seal: Seal, row: Row | None) -> None:
        number, code, key, digest = seal
        layout = LAYOUTS.get(code)
        self._report.sealed += 1
        if layout is None or not isinstance(digest, bytes):
            self._report.add(Kind.EDITED, f"Seal {number} was edited.", number)
        elif row is None:
            self._report.add(
                Kind.REMOVED, f"{layout.name} {key} (seal {number}) was removed.", number
            )
        else:
            self._present[layout.table] += 1
            canonical = row.canonical or b""
            if keys.digest(self._master, number, code, key, canonical) != digest:
                self._suspect(seal, canonical)
            elif layout.has_body:
                self._check_body(layout, seal, row)

    def _check_body(self, layout: Layout, seal: Seal, row: Row) -> None:
        if records.body_fits(layout, row):
            self._report.bodies += 1
        elif row.body == b"" and self._is_purged(row.values[layout.positions[layout.moment]]):
            self._report.purged += 1
        else:
            number, _, key, _ = seal
            sentence = f"The body of {layout.name} {key} (seal {number}) was changed."
            self._report.add(Kind.BODY, sentence, number)

    def _is_purged(self, moment: object) -> bool:
        at = int(microseconds(moment))
        return any(since <= at < until for since, until in self._purges)

    def _suspect(self, seal: Seal, canonical: bytes) -> None:
        self._suspects.append((seal, canonical))
        if len(self._suspects) == SUSPECTS:
            self._tell_suspects()

    def _tell_suspects(self) -> None:
        """Each was edited, unless its seal is good for another number."""
        numbers = {seal[0] for seal, _ in self._suspects}
        for (number, code, key, digest), canonical in self._suspects:
            others = numbers.union(self._gaps, (number + one for one in NEIGHBOURS)) - {number}
            was = (
                other
                for other in sorted(others)
                if keys.digest(self._master, other, code, key, canonical) == digest
            )
            if former := next(was, None):
                sentence = f"Seal {number} was number {former}: the order was changed."
                self._report.add(Kind.REORDERED, sentence, number)
            else:
                sentence = f"{LAYOUTS[code].name} {key} (seal {number}) or its seal was edited."
                self._report.add(Kind.EDITED, sentence, number)
            self._tree_is_broken = True
        self._suspects = []

    # --- the tree ---------------------------------------------------------------------------------

    def _grow(self, digest: object) -> None:
        self._tile.add(leaf_hash(digest if isinstance(digest, bytes) else b""))
        if self._tile.size == TILE:
            root = self._tile.root()
            self._check_tile(self._whole.size // TILE, root)
            self._whole.add(root, TILE)
            self._tile = Frontier()
        self._reach_checkpoints()

    @property
    def _is_broken(self) -> bool:
        """Whether the tree cannot be right, for a reason that is told already."""
        return self._tree_is_broken or bool(self._suspects)

    def _check_tile(self, number: int, root: bytes) -> None:
        kept = next(StoredLeaves().tile_roots(number, number + 1), None)
        if kept is not None and kept != root and not self._is_broken:
            self._report.add(
                Kind.TILE, f"The kept root of tile {number} was changed.", number * TILE + 1
            )

    def _reach_checkpoints(self) -> None:
        size = self._whole.size + self._tile.size
        while self._statement is not None and self._statement.count == size:
            made, self._statement = self._statement, next(self._statements, None)
            if self._whole.root(self._tile) == made.root:
                self._agreed = size
            elif not self._is_broken:
                self._tree_is_broken = True
                span = f"{self._agreed + 1:,} to {size:,}"
                sentence = f"Checkpoint {made.number} was signed over others than seals {span}."
                self._report.add(Kind.FORK, sentence, self._agreed + 1)

    def _end(self) -> None:
        """What the checkpoints know beyond the last seal."""
        self._report.after_checkpoint = self._next - 1 - self._agreed
        covered = self._statement.count if self._statement else 0
        for later in self._statements:
            covered = max(covered, later.count)
        if covered >= self._next:
            sentence = f"Seals {self._next:,} to {covered:,} were cut off, with what they sealed."
            self._report.add(Kind.REMOVED, sentence, self._next)


def _purges() -> list[tuple[int, int]]:
    since, until = records.selected("since", "t"), records.selected("until", "t")
    # Names of ours.
    found = records.ask(f"SELECT {since}, {until} FROM {PURGE.table}")  # noqa: S608
    return [(int(microseconds(begin)), int(microseconds(end))) for begin, end in found]


def _look_for_unsealed(report: Report, present: Mapping[str, int], last: Statement | None) -> None:
    """Rows without a seal are new, or they were slipped in."""
    since = last.made_at - MARGIN if last else None
    for layout in newest().values():
        report.rows[layout.name] = present.get(layout.table, 0)
        missing = records.count(layout.table) - report.rows[layout.name]
        if missing > 0:
            waiting = {
                key
                for page in records.pages(layout, since)
                for key in records.unsealed(layout, page)
            }
            report.waiting += len(waiting)
            if len(waiting) < missing:
                _name_inserted(report, layout, waiting)
    if last is None and report.sealed and not report.waiting:
        report.add(Kind.CHECKPOINT, "Rows are sealed, and there is no checkpoint.")


def _name_inserted(report: Report, layout: Layout, waiting: set[str]) -> None:
    for page in records.every_page(layout):
        for key in records.unsealed(layout, page):
            if key not in waiting:
                sentence = (
                    f"{layout.name} {key} has no seal: it was slipped in, or its seal is gone."
                )
                report.add(Kind.INSERTED, sentence)
