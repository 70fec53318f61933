"""Putting requests on record before they leave: many in one transaction, or none of them."""

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from invoices import bulk
from invoices.calls import Intent
from invoices.failpoints import failpoint
from invoices.models.attempt import CancellationAttempt, State, Step
from invoices.models.batch import CancellationBatch
from invoices.models.evidence import CallSubject
from invoices.recorder import request_row
from providers.errors import NotSent

RUNNING = Q(batch__state=CancellationBatch.State.RUNNING) & (
    Q(batch__starts_at=None) | Q(batch__starts_at__lte=Now())
)
"""A batch that was approved with a delay can be recalled until then."""


def put_on_record(intents: Sequence[Intent], account_id: int, lease: UUID) -> bool:
    """Whether all were stored and let go; of many, none is when one may not be sent any more.

    One that is alone and may not be sent is refused: then, too, the answer is True.
    """
    cancels = [one for one in intents if one.request.purpose == "cancel"]
    first = [one for one in cancels if not one.job.stored]
    # The adapter sends again what was turned away with a 401: the batch may be paused by now.
    again = [one for one in cancels if one.job.stored]
    with transaction.atomic():
        allowed = _are_sending(_attempts_of(first), lease) and _may_go_on(
            _attempts_of(again), lease
        )
        if allowed:
            write_requests(intents, account_id)
            failpoint("drain.before_intent_commits")
        else:
            transaction.set_rollback(True)
    if not allowed and len(intents) > 1:
        return False
    failpoint("drain.after_intent")
    _let_go(intents, first, allowed)
    return True


def _are_sending(attempts: Sequence[CancellationAttempt], lease: UUID) -> bool:
    """Whether each of them is ours and its batch still running; then they are `sending` now."""
    changes = {"sends": F("sends") + 1}
    step = Step(State.CLAIMED, State.SENDING, changes=changes, lease=lease, require=RUNNING)
    return len(CancellationAttempt.objects.move(attempts, step)) == len(attempts)


def _may_go_on(attempts: Sequence[CancellationAttempt], lease: UUID) -> bool:
    """Whether each of those that are `sending` already is still ours, and its batch running."""
    ids = [one.pk for one in attempts]
    mine = CancellationAttempt.objects.filter(RUNNING, state=State.SENDING, lease_token=lease)
    return not ids or mine.filter(pk__in=ids).count() == len(ids)


def _attempts_of(intents: Sequence[Intent]) -> list[CancellationAttempt]:
    return [one for intent in intents for one in intent.job.attempts]


def _let_go(intents: Sequence[Intent], first: Sequence[Intent], allowed: bool) -> None:
    refusal = None if allowed else NotSent("not_running", "The batch is not running any more.")
    for intent in first if allowed else ():
        for attempt in intent.job.attempts:
            attempt.state = State.SENDING
    for intent in intents:
        intent.job.stored += allowed and intent.request.purpose == "cancel"
        intent.settle(refusal)


def write_requests(intents: Sequence[Intent], account_id: int) -> None:
    """The rows of the requests, and of what each is about."""
    bulk.insert(request_row(intent.request, account_id) for intent in intents)
    bulk.write(
        CallSubject,
        ("request_id", "invoice_id", "attempt_id"),
        (
            (intent.request.id, one.invoice_id, one.pk)
            for intent in intents
            if intent.request.references
            for one in intent.job.attempts
        ),
    )
