"""report.html: what is in the pack, to be read and printed. No script, nothing from outside."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.template.loader import get_template

from invoices.models import CancellationBatch
from invoices.packs import stories
from invoices.packs.evidence import Evidence
from invoices.packs.scope import Scope
from invoices.progress import Outcome, progress


@dataclass(frozen=True, slots=True)
class Equation:
    """What was selected against what became of it."""

    selected: int
    outcomes: tuple[Outcome, ...]

    @property
    def total(self) -> int:
        """What the outcomes add up to."""
        return sum(one.count for one in self.outcomes)

    @property
    def difference(self) -> int:
        """How many too few (or, below zero, too many) are accounted for."""
        return self.selected - self.total


def equation(batch: CancellationBatch | None) -> Equation | None:
    """Of a batch."""
    if batch is None:
        return None
    state = progress(batch)
    return Equation(state.selected, state.outcomes)


def pieces(
    scope: Scope, evidence: Evidence, facts: dict[str, Any], told: Iterable[stories.Story]
) -> Iterator[bytes]:
    """The page, piece by piece."""
    given = {"scope": scope, "evidence": evidence, "batch": scope.batch, **facts}
    yield _written("head", {**given, "equation": equation(scope.batch)})
    for story in told:
        yield _written("invoice", {"story": story})
    yield from _beside(scope)
    yield _written("foot", given)


def _beside(scope: Scope) -> Iterator[bytes]:
    events = (stories.Entry(one.at, one) for one in stories.events_beside(scope))
    for title, entries in (("events", events), ("calls", stories.calls_beside(scope))):
        place = 0
        for place, entry in enumerate(entries, start=1):
            yield _written("beside", {"entry": entry, "opens": title if place == 1 else ""})
        if place:
            yield b"</ol></section>\n"


def _written(template: str, facts: dict[str, Any]) -> bytes:
    text: str = get_template(f"packs/{template}.html").render(facts)
    return text.encode("utf-8", "replace")
