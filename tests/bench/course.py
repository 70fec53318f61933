"""The order of the measurements on one database: what needs it small, then what needs it large."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from django.core.management import call_command

from backoffice import seeding
from invoices.models import Invoice
from tests.bench import accounts, batch, drain, growth, imports, pages, queued
from tests.bench.figures import HEAD, Figure, Size, seconds_of

Measure = Callable[[Size], Iterator[Figure]]

SMALL: dict[str, Measure] = {
    "drain": drain.figures,
    "queued": queued.figures,
    "accounts": accounts.figures,
    "growth": growth.baseline,
}
LARGE: dict[str, Measure] = {
    "search": pages.searches,
    "filters": pages.filters,
    "history": pages.history,
    "calls": pages.calls,
    "batch": batch.figures,
    "growth": growth.figures,
    "import": imports.figures,
}


def run(invoices: int, only: tuple[str, ...], kept: Path) -> None:
    """Print each figure and add it to the file as soon as it is known."""
    size = Size(invoices)
    print(HEAD, flush=True)
    with kept.open("a") as file:
        for figure in course(size, only):
            print(figure.row(), flush=True)
            print(json.dumps(figure.as_json()), file=file, flush=True)


def course(size: Size, only: tuple[str, ...]) -> Iterator[Figure]:
    """All of it, as far as it was asked for."""
    call_command("migrate", verbosity=0)
    if Invoice.objects.exists():
        raise SystemExit("This database holds invoices; measure on an empty one.")
    few = growth.small(size)
    yield from seeded(range(few))
    for name, measure in SMALL.items():
        if name in only:
            yield from measure(size)
    if any(name in only for name in LARGE):
        yield from seeded(range(few, max(few, size.invoices)))
    for name, measure in LARGE.items():
        if name in only:
            yield from measure(size)


def seeded(numbers: range) -> Iterator[Figure]:
    """Made-up invoices with their record."""
    if numbers:
        took = seconds_of(partial(seeding.seed, numbers, lambda _: None))
        yield Figure(f"seeding {len(numbers):,} invoices with their record", took, "s")
