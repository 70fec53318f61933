"""Deciding what is parked for a person: one proposes with a reason, a second one confirms.

A decision ends an attempt; it never touches what the provider said. An invoice whose attempt two
people declared cancelled still reads as its provider last stated.
"""

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from invoices import access, batches
from invoices.models.attempt import CancellationAttempt, State, Step
from invoices.models.evidence import HistoryEvent
from invoices.models.review import ReviewDecision

PERMISSION = "invoices.review_cancellationattempt"
LONGEST_REASON = 1000
Answer = ReviewDecision.Answer
Kind = HistoryEvent.Kind


class ReviewRefused(Exception):
    """The decision cannot be taken; the message says why and that nothing changed."""


def may_see_reviews(user: User) -> bool:
    """Those who decide, and those who may see what was decided."""
    return user.has_perm(PERMISSION) or user.has_perm("invoices.view_reviewdecision")


def waiting() -> QuerySet[CancellationAttempt]:
    """Attempts that are parked for a person, the longest first."""
    return CancellationAttempt.objects.filter(state=State.NEEDS_REVIEW).order_by(
        "finished_at", "id"
    )


def waiting_for(user: User) -> QuerySet[CancellationAttempt]:
    """Those of them that this person may see."""
    return access.narrow(user, waiting())


def proposals() -> QuerySet[ReviewDecision]:
    """Proposals that a second person may answer, the oldest first.

    One that was made before the attempt was settled and parked anew speaks of something else.
    """
    since = Q(attempt__finished_at=None) | Q(proposed_at__gte=F("attempt__finished_at"))
    return ReviewDecision.objects.filter(
        since, answer=Answer.OPEN, attempt__state=State.NEEDS_REVIEW
    ).order_by("id")


def propose(attempt: CancellationAttempt, user: User, outcome: str, reason: str) -> ReviewDecision:
    """Say how an attempt is to end, and why. Raises `PermissionDenied` or `ReviewRefused`."""
    _require(user, attempt)
    reason = reason.strip().replace("\0", "")
    if outcome not in {str(one) for one in ReviewDecision.OUTCOMES}:
        raise ReviewRefused("Choose how the attempt is to end. Nothing was changed.")
    if not 0 < len(reason) <= LONGEST_REASON:
        raise ReviewRefused("Give a reason of at most 1,000 characters. Nothing was changed.")
    if not waiting().filter(pk=attempt.pk).exists():
        raise ReviewRefused("It is no longer waiting for a decision. Nothing was changed.")
    try:
        with transaction.atomic():
            _close_outlived(attempt)
            decision = ReviewDecision.objects.create(
                attempt=attempt, outcome=outcome, reason=reason, proposed_by=user
            )
            _record(decision, Kind.REVIEW_PROPOSED, user)
    except IntegrityError:
        raise ReviewRefused("A decision is already proposed for it. Nothing was changed.") from None
    return decision


def confirm(decision: ReviewDecision, user: User) -> None:
    """Put a proposal into effect; never one's own. Raises `PermissionDenied`, `ReviewRefused`."""
    _require(user, decision.attempt)
    if decision.proposed_by_id == user.pk:
        raise PermissionDenied("A second person has to confirm a decision.")
    with transaction.atomic():
        moved = _moved(decision, user)
        _answer(decision, user, Answer.CONFIRMED if moved else Answer.OVERTAKEN)
        if not moved:
            _record(decision, Kind.REVIEW_OVERTAKEN, user)
    if not moved:
        raise ReviewRefused("A read has settled it meanwhile. Nothing was changed.")
    batches.finish_if_done(decision.attempt.batch_id)


def decline(decision: ReviewDecision, user: User) -> None:
    """Turn a proposal down, or take back one's own. Raises `PermissionDenied`, `ReviewRefused`."""
    _require(user, decision.attempt)
    own = decision.proposed_by_id == user.pk
    with transaction.atomic():
        _answer(decision, user, Answer.TAKEN_BACK if own else Answer.DECLINED)
        _record(decision, Kind.REVIEW_TAKEN_BACK if own else Kind.REVIEW_DECLINED, user)


def _moved(decision: ReviewDecision, user: User) -> bool:
    """Whether the attempt took the step; not if it was settled since the proposal."""
    if not proposals().filter(pk=decision.pk).exists():
        return False
    return bool(CancellationAttempt.objects.move([decision.attempt], _step(decision), actor=user))


def _step(decision: ReviewDecision) -> Step:
    outcome = State(decision.outcome)
    changes: dict[str, object] = {"due_at": None, "finished_at": Now(), "message": ""}
    if outcome is State.CANCELLED:
        changes["evidence"] = "person"
    return Step(
        State.NEEDS_REVIEW,
        outcome,
        code="decided",
        detail=_cut(f"Proposed by {decision.proposed_by}: {decision.reason}"),
        changes=changes,
    )


def _answer(decision: ReviewDecision, user: User, answer: Answer) -> None:
    still_open = ReviewDecision.objects.filter(pk=decision.pk, answer=Answer.OPEN)
    if not still_open.update(answer=answer, answered_by=user, answered_at=Now()):
        raise ReviewRefused("This proposal has been answered already. Nothing was changed.")


def _close_outlived(attempt: CancellationAttempt) -> None:
    """A proposal from before the attempt was settled and parked anew must not block a new one."""
    mine = ReviewDecision.objects.filter(attempt=attempt, answer=Answer.OPEN)
    mine.exclude(pk__in=proposals().filter(attempt=attempt).values("pk")).update(
        answer=Answer.OVERTAKEN, answered_at=Now()
    )


def _record(decision: ReviewDecision, kind: Kind, user: User) -> None:
    attempt = decision.attempt
    proposed = f"{decision.get_outcome_display()}: {decision.reason}"
    if kind != Kind.REVIEW_PROPOSED:
        proposed = f"Proposed by {decision.proposed_by}: {proposed}"
    HistoryEvent.objects.create(
        kind=kind,
        actor=user,
        account_id=attempt.account_id,
        batch_id=attempt.batch_id,
        attempt=attempt,
        invoice_id=attempt.invoice_id,
        detail=_cut(proposed),
    )


def _cut(text: str, length: int = 500) -> str:
    """What fits into the history; the decision itself keeps the whole reason."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _require(user: User, attempt: CancellationAttempt) -> None:
    if not (user.is_active and user.has_perm(PERMISSION)):
        raise PermissionDenied("This needs a permission that you do not have.")
    access.require(user, attempt)
