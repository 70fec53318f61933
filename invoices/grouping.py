"""Which attempts share a call to the provider."""

from collections.abc import Iterable, Iterator
from itertools import islice

from invoices.calls import Job
from invoices.models.attempt import CancellationAttempt
from providers.adapters.base import Adapter


def grouped(
    attempts: Iterable[CancellationAttempt], size: int
) -> Iterable[list[CancellationAttempt]]:
    """Lists of at most so many."""
    rows = iter(attempts)
    while group := list(islice(rows, size)):
        yield group


def cancels(adapter: Adapter, attempts: Iterable[CancellationAttempt]) -> Iterator[Job]:
    """As few calls as may be: of one batch each, for its options, and some by themselves."""
    by_batch: dict[int, list[CancellationAttempt]] = {}
    for attempt in attempts:
        by_batch.setdefault(attempt.batch_id, []).append(attempt)
    for rows in by_batch.values():
        options = rows[0].batch.options.get(adapter.code, {})
        together = [one for one in rows if not one.alone]
        by_themselves = [[one] for one in rows if one.alone]
        for group in (*grouped(together, adapter.cancel_limit), *by_themselves):
            yield Job("cancel", group, options)
