"""Checkpoints, one after the other, held against their signatures and against the file."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from invoices.audit import checkpoints
from invoices.audit.findings import Kind, Report
from invoices.audit.keys import PublicKeys, is_signed
from invoices.audit.statement import FIRST, Statement, Unreadable

AFTER_ALL = 1 << 62


class KeptFile:
    """The lines of a file of checkpoints, up to where it went when this was made.

    Made before the database is looked at: a line is written after its checkpoint, so that the
    database knows every line that we read.
    """

    def __init__(self, path: Path, report: Report) -> None:
        self._path = path
        self._size = path.stat().st_size
        self._report = report

    def statements(self) -> Iterator[Statement]:
        """Those that can be read, with what cannot noted."""
        with self._path.open("rb") as file:
            torn: tuple[int, str] | None = None
            for place, line in enumerate(self._lines(file), start=1):
                try:
                    read = Statement.read(line)
                except Unreadable:
                    self._note(torn)
                    torn = (place, line)
                    continue
                # What a crash left of a line is followed by the whole line.
                if torn is not None and not line.startswith(torn[1]):
                    self._note(torn)
                torn = None
                yield read
            self._note(torn)

    def _lines(self, file: BinaryIO) -> Iterator[str]:
        while file.tell() < self._size:
            line = file.readline().decode(errors="replace")
            if line.endswith("\n"):
                yield line.rstrip("\n")

    def _note(self, torn: tuple[int, str] | None) -> None:
        if torn is not None:
            self._report.add(
                Kind.FILE, f"Line {torn[0]} of the file of checkpoints cannot be read."
            )


class Chain:
    """Yields the checkpoints on record that are what they claim to be; notes all others."""

    def __init__(self, report: Report, keys: PublicKeys, file: KeptFile | None) -> None:
        self._report = report
        self._keys = keys
        self._kept = file.statements() if file else iter(())
        self._line: Statement | None = next(self._kept, None)
        self._agreed = 0
        self.last: Statement | None = None

    def statements(self) -> Iterator[Statement]:
        """In order."""
        expected, before, count = 1, FIRST, 0
        for number, made in checkpoints.stored():
            self._missing(expected, number)
            self._compare(number, made)
            if made is None:
                self._report.add(Kind.CHECKPOINT, f"Checkpoint {number} was changed.")
                before = b""
            elif self._is_good(made, before if number == expected else b"", count):
                before, count, self.last = made.digest, made.count, made
                yield made
            else:
                before = b""
            expected = number + 1
        self._compare(AFTER_ALL, None)

    def _missing(self, expected: int, number: int) -> None:
        if number > expected:
            names = f"{expected}" if number == expected + 1 else f"{expected} to {number - 1}"
            self._report.add(Kind.CHECKPOINT, f"Checkpoint {names} was removed.")
        elif number < expected:
            self._report.add(Kind.CHECKPOINT, f"Checkpoint {number} was slipped in.")

    def _is_good(self, made: Statement, before: bytes, count: int) -> bool:
        report, name = self._report, f"Checkpoint {made.number}"
        if not is_signed(self._keys, made.key, made.signature, made.message):
            known = made.key in self._keys
            why = "its signature is false" if known else f"nobody here knows its key {made.key}"
            report.add(Kind.SIGNATURE, f"{name} was changed, or another one signed it: {why}.")
            return False
        if before and before != made.previous:
            report.add(Kind.FORK, f"{name} does not follow the one before it.")
        if made.count < count:
            report.add(Kind.FORK, f"{name} covers fewer rows than the one before it.")
            return False
        report.checkpoints += 1
        report.signed_by.add(made.key)
        return True

    # --- the file -------------------------------------------------------------------------------

    def _compare(self, number: int, made: Statement | None) -> None:
        """Take in the file's lines up to this checkpoint."""
        while self._line is not None and self._line.number <= number:
            line = self._line
            if line.number == number and line == made:
                self._report.lines += 1
                self._agreed = line.count
            elif not is_signed(self._keys, line.key, line.signature, line.message):
                self._report.add(
                    Kind.FILE,
                    f"The file's checkpoint {line.number} is not signed by a key known here.",
                )
            else:
                self._contradict(line, number)
            self._line = next(self._kept, None)
            if self._line is not None and self._line.number <= line.number:
                self._report.add(
                    Kind.FILE, f"The file's checkpoint {self._line.number} is out of its order."
                )

    def _contradict(self, line: Statement, number: int) -> None:
        """A line that we signed, and the database says otherwise."""
        known = f"The file knows checkpoint {line.number} over {line.count:,} rows"
        since = f"something was changed or taken back after row {self._agreed:,}"
        if number == AFTER_ALL:
            kind, sentence = Kind.ROLLBACK, f"{known}, and the database ends before it: {since}."
        elif line.number == number:
            kind, sentence = Kind.FORK, f"{known}, and the database holds another one: {since}."
        else:
            kind, sentence = Kind.CHECKPOINT, f"{known}, and the database lacks it: {since}."
        self._report.add(kind, sentence, self._agreed + 1)
