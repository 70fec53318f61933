"""That nothing left without the approval it needed, by what the record itself says.

Whether a batch needed one is taken from the history, too: a flag could have been taken away.
"""

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Min, Q

from invoices.models import CallSubject, CancellationBatch, HistoryEvent

BatchState = CancellationBatch.State
SKEW = timedelta(seconds=5)
"""So far the clocks of two machines may be apart."""


def unapproved() -> Iterator[str]:
    """A sentence for each batch of which a cancel is on record that nobody had let go."""
    steps = HistoryEvent.objects.filter(kind=HistoryEvent.Kind.BATCH_STATE).order_by("-pk")
    put_before = steps.filter(to_state=BatchState.AWAITING_APPROVAL).order_by().values("batch")
    let_go = {
        one.batch_id: one
        for one in steps.filter(
            from_state=BatchState.AWAITING_APPROVAL, to_state=BatchState.RUNNING
        )
    }
    batches = CancellationBatch.objects.filter(Q(needs_approval=True) | Q(pk__in=put_before))
    first = dict(
        CallSubject.objects.filter(
            request__purpose="cancel", attempt__batch__in=batches.order_by().values("pk")
        )
        .order_by()
        .values_list("attempt__batch")
        .annotate(first=Min("request__created_at"))
    )
    for batch in batches.filter(pk__in=first):
        yes, left = let_go.get(batch.pk), first[batch.pk] + SKEW
        if yes is None or yes.actor_id in (None, batch.requested_by_id):
            yield f"{batch} was sent without another person's approval"
        elif yes.actor_id != batch.approved_by_id:
            yield f"{batch} was approved by somebody else than it says"
        elif left < yes.at or (batch.starts_at is not None and left < batch.starts_at):
            yield f"{batch} was sent before it was let go"
