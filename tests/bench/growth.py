"""Whether an invoice costs more once the history is long.

The drain is measured beside the script each time, so that a machine that got slower meanwhile is
not taken for a database that did.
"""

from collections.abc import Iterator

from invoices.models import HistoryEvent
from tests.bench.drain import Rates, rates
from tests.bench.figures import Figure, Size, times_as_much

SMALL = 3_500
"""Invoices with about ten thousand rows of history: the baseline."""
TINY = 500

_before: list[Rates] = []


def small(size: Size) -> int:
    """How many invoices there are while the baseline is measured."""
    return SMALL if size.invoices >= 10 * SMALL else TINY


def baseline(size: Size) -> Iterator[Figure]:
    """With a short history."""
    _before.append(rates(0, size))
    yield from ()


def figures(size: Size) -> Iterator[Figure]:
    """With the whole of it."""
    after, [before] = rates(0, size), _before
    rows = HistoryEvent.objects.count()
    cost, cost_before = after.script / after.drain, before.script / before.drain
    name = f"time per invoice, {rows:,} rows of history (script = 1)"
    yield times_as_much(name, cost, "", cost_before, 1.2)
