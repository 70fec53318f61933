"""What is due on an account, and taking it in hand."""

from collections.abc import Collection, Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import Q

from invoices.contention import again
from invoices.failpoints import failpoint
from invoices.lease import Lease
from invoices.models.attempt import AttemptQuerySet, CancellationAttempt, State, Step
from invoices.models.batch import CancellationBatch

TO_SEND = Q(state=State.QUEUED, batch__state=CancellationBatch.State.RUNNING)
TO_READ = Q(
    state__in=(
        State.UNKNOWN,
        State.ACCEPTED,
        State.CANCELLED,
        State.REFUSED,
        State.NEEDS_REVIEW,
    )
)
WORKABLE = TO_SEND | TO_READ
"""What a drain can do something about, once it is due."""


def reads(account_id: int, in_hand: Collection[int], most: int) -> list[CancellationAttempt]:
    """Attempts that only a read brings on, the longest due first."""
    rows = _due(account_id).filter(TO_READ).exclude(pk__in=in_hand)
    return list(rows[:most])


def claim(
    account_id: int, lease: Lease, in_hand: Collection[int], most: int
) -> list[CancellationAttempt]:
    """Attempts to be sent, the longest due first; they are this lease's from now on.

    Not those in hand: another drain has given them back, and this one does not know it yet.
    """
    due = _due(account_id).filter(TO_SEND)[:most]
    waiting = [attempt for attempt in due if attempt.pk not in in_hand]
    step = Step(State.QUEUED, State.CLAIMED, changes={"lease_token": lease.token})
    moved = again(lambda: _taken(waiting, step))
    failpoint("drain.after_claim")
    claimed = [attempt for attempt in waiting if attempt.pk in moved]
    for attempt in claimed:
        attempt.state = State.CLAIMED
        attempt.lease_token = lease.token
    return claimed


def is_anything_due(account_id: int, by: datetime) -> bool:
    """Whether there is something that a drain can do by then."""
    rows = CancellationAttempt.objects.filter(WORKABLE, account_id=account_id, due_at__lte=by)
    return rows.exists()


def _due(account_id: int) -> AttemptQuerySet:
    # Of the batch there is one for hundreds of attempts, hence no join for each.
    rows = CancellationAttempt.objects.due(account_id)
    return rows.select_related("invoice").prefetch_related("batch")


def _taken(waiting: Sequence[CancellationAttempt], step: Step) -> set[int]:
    with transaction.atomic():
        moved = CancellationAttempt.objects.move(waiting, step)
        failpoint("drain.before_claim_commits")
    return moved
