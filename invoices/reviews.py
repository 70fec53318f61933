"""Deciding what is parked for a person: one proposes with a reason, a second one confirms.

A decision ends an attempt; it never touches what the provider said. An invoice whose attempt two
people declared cancelled still reads as its provider last stated.
"""

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from invoices import batches
from invoices.models.attempt import CancellationAttempt, State, Step
from invoices.models.review import ReviewDecision

PERMISSION = "invoices.review_cancellationattempt"
Answer = ReviewDecision.Answer


class ReviewRefused(Exception):
    """The decision cannot be taken; the message says why and that nothing changed."""


def waiting() -> QuerySet[CancellationAttempt]:
    """Attempts that are parked for a person, the longest first."""
    return CancellationAttempt.objects.filter(state=State.NEEDS_REVIEW).order_by(
        "finished_at", "id"
    )


def propose(attempt: CancellationAttempt, user: User, outcome: str, reason: str) -> ReviewDecision:
    """Say how an attempt is to end, and why. Raises `PermissionDenied` or `ReviewRefused`."""
    _require(user)
    reason = reason.strip().replace("\0", "")
    if outcome not in {str(one) for one in ReviewDecision.OUTCOMES}:
        raise ReviewRefused("Choose how the attempt is to end. Nothing was changed.")
    if not 0 < len(reason) <= 1000:
        raise ReviewRefused("Give a reason of at most 1,000 characters. Nothing was changed.")
    if not waiting().filter(pk=attempt.pk).exists():
        raise ReviewRefused("It is no longer waiting for a decision. Nothing was changed.")
    try:
        with transaction.atomic():
            return ReviewDecision.objects.create(
                attempt=attempt, outcome=outcome, reason=reason, proposed_by=user
            )
    except IntegrityError:
        raise ReviewRefused("A decision is already proposed for it. Nothing was changed.") from None


def confirm(decision: ReviewDecision, user: User) -> None:
    """Put a proposal into effect; never one's own. Raises `PermissionDenied`, `ReviewRefused`."""
    _require(user)
    if decision.proposed_by_id == user.pk:
        raise PermissionDenied("A second person has to confirm a decision.")
    attempt = CancellationAttempt.objects.get(pk=decision.attempt_id)
    with transaction.atomic():
        moved = CancellationAttempt.objects.move([attempt], _step(decision), actor=user)
        _answer(decision, user, Answer.CONFIRMED if moved else Answer.OVERTAKEN)
    if not moved:
        raise ReviewRefused("A read has settled it meanwhile. Nothing was changed.")
    batches.finish_if_done(attempt.batch_id)


def decline(decision: ReviewDecision, user: User) -> None:
    """Turn a proposal down, or take back one's own."""
    _require(user)
    with transaction.atomic():
        _answer(decision, user, Answer.DECLINED)


def _step(decision: ReviewDecision) -> Step:
    outcome = State(decision.outcome)
    changes: dict[str, object] = {"due_at": None, "finished_at": Now()}
    if outcome is State.CANCELLED:
        changes["evidence"] = "person"
    return Step(
        State.NEEDS_REVIEW,
        outcome,
        code="decided",
        detail=f"Proposed by {decision.proposed_by}: {decision.reason}",
        changes=changes,
    )


def _answer(decision: ReviewDecision, user: User, answer: Answer) -> None:
    still_open = ReviewDecision.objects.filter(pk=decision.pk, answer=Answer.OPEN)
    if not still_open.update(answer=answer, answered_by=user, answered_at=Now()):
        raise ReviewRefused("This proposal has been answered already. Nothing was changed.")


def _require(user: User) -> None:
    if not (user.is_active and user.has_perm(PERMISSION)):
        raise PermissionDenied("This needs a permission that you do not have.")
