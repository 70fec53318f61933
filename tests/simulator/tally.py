"""What many scenarios came to, so that one sees how much of the space they covered."""

from collections import Counter
from dataclasses import dataclass, field

from tests.simulator.running import Report

GROUPS = ("process", "call", "cancel done", "fault", "invoice", "person")
"""By which words what happened begins."""


@dataclass
class Tally:
    """Counts over scenarios; `failed` are the seeds of those with a violation."""

    scenarios: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    failed: list[int] = field(default_factory=list)

    def note(self, report: Report) -> None:
        """One scenario more."""
        self.scenarios += 1
        self.ends.update(report.outcomes)
        self.seen.update(report.seen)
        if report.violation:
            self.failed.append(report.seed)

    def add(self, other: "Tally") -> None:
        """Those of another process."""
        self.scenarios += other.scenarios
        self.ends.update(other.ends)
        self.seen.update(other.seen)
        self.failed.extend(other.failed)

    def lines(self) -> list[str]:
        """For people: one line for each kind of thing, the most frequent first."""
        lines = [_line("attempts", self.ends)]
        for group in GROUPS:
            start = f"{group} "
            lines.append(
                _line(
                    group,
                    Counter(
                        {
                            name.removeprefix(start): times
                            for name, times in self.seen.items()
                            if name.startswith(start)
                        }
                    ),
                )
            )
        return lines


def _line(title: str, counts: Counter[str]) -> str:
    named = ", ".join(f"{name} {times:,}" for name, times in counts.most_common())
    return f"  {title:<12}{sum(counts.values()):>11,}  {named}"
