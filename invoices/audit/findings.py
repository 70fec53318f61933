"""What a verification found, and how it is told."""

from dataclasses import dataclass, field

from django.db import models

MOST_TOLD = 20


class Kind(models.TextChoices):
    """What happened to the record."""

    EDITED = "edited", "edited"
    REMOVED = "removed", "removed"
    INSERTED = "inserted", "inserted"
    REORDERED = "reordered", "reordered"
    BODY = "body", "body changed"
    TILE = "tile", "tile changed"
    TRIGGER = "trigger", "trigger missing"
    CHECKPOINT = "checkpoint", "checkpoint missing or changed"
    SIGNATURE = "signature", "bad signature"
    ROLLBACK = "rollback", "rolled back"
    FORK = "fork", "history written anew"
    FILE = "file", "file of checkpoints changed"
    STATE = "state", "state changed"


NO_FILE = "No file of checkpoints was read; a rollback of the whole database would not show."
LAST = 1 << 62
"""In place of a seal's number for what has none."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is wrong. `number` is that of the seal where it begins."""

    number: int
    kind: Kind
    sentence: str


@dataclass(slots=True)
class Report:
    """Counts of what was checked, and all that is wrong."""

    sealed: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    bodies: int = 0
    purged: int = 0
    purges: int = 0
    waiting: int = 0
    after_checkpoint: int = 0
    checkpoints: int = 0
    signed_by: set[str] = field(default_factory=set)
    lines: int = 0
    file: str = ""
    attempts: int = 0
    found: int = 0
    findings: list[Finding] = field(default_factory=list)

    def add(self, kind: Kind, sentence: str, number: int = LAST) -> None:
        """Note what is wrong; of very many only the first are kept."""
        self.found += 1
        if len(self.findings) < 50 * MOST_TOLD:
            self.findings.append(Finding(number, kind, sentence))

    @property
    def is_well(self) -> bool:
        """Whether nothing is wrong."""
        return not self.found

    @property
    def first(self) -> Finding:
        """What is wrong with the lowest number."""
        return min(self.findings)

    def told(self) -> list[str]:
        """The report in plain sentences: what was checked, then what is wrong."""
        return [*self._checked(), "", *(self._wrong() if self.found else ["All is well."])]

    def _checked(self) -> list[str]:
        of_tables = ", ".join(f"{count:,} of {name}" for name, count in self.rows.items() if count)
        signers = ", ".join(sorted(self.signed_by)) or "-"
        held = f"{self.lines:,} of them stand in {self.file} as well."
        return [
            f"{self.sealed:,} seals were held against their rows: {of_tables or 'none'}.",
            f"{self.bodies:,} bodies were held against their SHA-256; {self.purged:,} were purged,"
            f" by {self.purges:,} purges on record.",
            f"{self.checkpoints:,} checkpoints, signed by {signers}, were held against the seals;"
            f" {self.after_checkpoint:,} seals are newer.",
            held if self.file else NO_FILE,
            f"{self.attempts:,} attempts were held against the last step in their history.",
            f"{self.waiting:,} rows are not yet sealed.",
        ]

    def _wrong(self) -> list[str]:
        ordered = sorted(self.findings)
        told = [f"First: {ordered[0].sentence}", *(one.sentence for one in ordered[1:MOST_TOLD])]
        more = self.found - len(told)
        findings = "1 finding" if self.found == 1 else f"{self.found:,} findings"
        rest = [f"And {more:,} more."] if more else []
        return [f"The record was tampered with: {findings}.", *told, *rest]
