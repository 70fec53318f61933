"""What a second person says to a batch that needs one; and taking it back before it starts.

Everything about one batch is decided under its row's lock, so that of several answers at the same
moment one counts and the others are told so. Nothing here speaks to a provider.
"""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from invoices import access, batches, frozen
from invoices.batches import BatchRefused, BatchState
from invoices.contention import again
from invoices.models.approval import AwaitingBatch
from invoices.models.attempt import CancellationAttempt, State
from invoices.models.batch import CancellationBatch

APPROVE = "invoices.approve_cancellationbatch"
RECALL = "invoices.recall_cancellationbatch"
CONTROL = "invoices.control_cancellationbatch"
REQUEST = "invoices.cancel_invoice"
LONGEST_NOTE = 2000
BACKEND = "django.contrib.auth.backends.ModelBackend"
EXPIRED_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What an approver's form says: which request was shown, and a note."""

    key: UUID
    digest: str
    note: str


def waiting() -> QuerySet[AwaitingBatch]:
    """Batches that can be approved at this moment, those first that expire first."""
    return AwaitingBatch.objects.filter(
        state=BatchState.AWAITING_APPROVAL, expires_at__gt=Now()
    ).order_by("expires_at", "pk")


def waiting_for(user: User) -> QuerySet[AwaitingBatch]:
    """Those of them that this person may see."""
    return access.narrow(user, waiting())


def answerable_by(user: User) -> QuerySet[AwaitingBatch]:
    """Those that others asked for, so that this person could answer them."""
    return waiting_for(user).exclude(requested_by=user)


def may_see_queue(user: User) -> bool:
    """Those who approve, and those who may see by which rules."""
    return user.has_perm(APPROVE) or user.has_perm("invoices.view_approvalrule")


def may_approve(batch: CancellationBatch, user: User) -> bool:
    """Whether this person is somebody else than the requester, and permitted."""
    return user.is_active and user.has_perm(APPROVE) and batch.requested_by_id != user.pk


def may_recall(batch: CancellationBatch, user: User) -> bool:
    """The requester, any approver, and whoever has been given it; while nothing has been sent."""
    if not (batch.state == BatchState.AWAITING_APPROVAL or batch.is_delayed):
        return False
    return _permitted_to_recall(batch, user)


def approvers(batch: CancellationBatch) -> QuerySet[User]:
    """Who may approve it: those to whom all its accounts belong."""
    people = User.objects.with_perm(APPROVE, backend=BACKEND).filter(is_active=True)
    others = people.exclude(pk=batch.requested_by_id).order_by("username")
    return access.admitted(batch, others)


def approve(batch: CancellationBatch, user: User, answer: Answer) -> CancellationBatch:
    """Let it run, at once or after its delay; what changed since it was asked for is left out.

    Raises `PermissionDenied`, or `BatchRefused` with why nothing was started.
    """
    note = _note(answer)

    def work() -> CancellationBatch:
        with transaction.atomic():
            locked = _answerable(batch.pk, user, answer)
            _still_as_asked(locked)
            now = timezone.now()
            delay = timedelta(minutes=locked.delay_minutes)
            frozen.drop(locked, user)
            batches.launch(
                locked,
                user,
                BatchState.AWAITING_APPROVAL,
                detail=note or "Approved.",
                approved_by=user,
                approved_at=now,
                answer_note=note,
                starts_at=now + delay if delay else None,
            )
        return locked

    return batches.insistently(work)


def reject(batch: CancellationBatch, user: User, answer: Answer) -> CancellationBatch:
    """Say no, with the reason; nothing is sent. Raises `PermissionDenied` or `BatchRefused`."""
    note = _note(answer)
    if not note:
        raise BatchRefused("Say in the note why it is rejected. Nothing was sent.")

    def work() -> CancellationBatch:
        with transaction.atomic():
            locked = _answerable(batch.pk, user, answer)
            _end(locked, user, BatchState.REJECTED, note, answer_note=note)
        return locked

    return again(work)


def recall(batch: CancellationBatch, user: User, note: str = "") -> CancellationBatch:
    """Take it back before its first request leaves.

    One that is approved and waits for its delay to pass ends like one that is stopped. Raises
    `PermissionDenied` or `BatchRefused`.
    """
    user = _as_of_now(user)
    said = _cleaned(note) or "Recalled before anything was sent."

    def work() -> CancellationBatch:
        with transaction.atomic():
            locked = CancellationBatch.objects.select_for_update().get(pk=batch.pk)
            if not _permitted_to_recall(locked, user):
                raise PermissionDenied("Only its requester or an approver can recall a batch.")
            access.require(user, locked)
            if locked.state == BatchState.AWAITING_APPROVAL:
                _end(locked, user, BatchState.RECALLED, said)
            elif locked.is_delayed:
                _withdraw(locked, user, said)
            else:
                raise BatchRefused(f"{_standing(locked)} It cannot be recalled.")
        return locked

    recalled = again(work)
    batches.finish_if_done(recalled.pk)
    return recalled


def expire_overdue() -> int:
    """End what nobody approved in time; returns how many. For the worker's tidying up."""
    overdue = CancellationBatch.objects.filter(
        state=BatchState.AWAITING_APPROVAL, expires_at__lte=Now()
    ).order_by("pk")
    ended = [
        one.move(
            None,
            BatchState.AWAITING_APPROVAL,
            BatchState.EXPIRED,
            detail="Nobody approved it in time. Nothing was sent.",
            finished_at=timezone.now(),
        )
        for one in overdue[:EXPIRED_AT_ONCE]
    ]
    return sum(ended)


def awaited_elsewhere(batch: CancellationBatch, user: User) -> list[tuple[int, int]]:
    """How many of its invoices are in which other batch, of those this person sees, that waits."""
    mine = frozen.drafts(batch).order_by().values("invoice_id")
    elsewhere = waiting_for(user).exclude(pk=batch.pk).order_by()
    others = CancellationAttempt.objects.filter(
        state=State.DRAFT, batch__in=elsewhere.values("pk"), invoice__in=mine
    )
    found: dict[int, int] = {}
    for number in others.order_by("batch_id").values_list("batch_id", flat=True):
        found[number] = found.get(number, 0) + 1
    return list(found.items())


def _answerable(batch_id: int, user: User, answer: Answer) -> CancellationBatch:
    """The locked row, if this person may answer it now and saw what it is."""
    user = _as_of_now(user)
    if not (user.is_active and user.has_perm(APPROVE)):
        raise PermissionDenied("This needs a permission that you do not have. Nothing was sent.")
    batch = CancellationBatch.objects.select_for_update().get(pk=batch_id)
    access.require(user, batch)
    if batch.requested_by_id == user.pk:
        raise BatchRefused(
            f"You asked for {_lower(batch)} yourself, so another person has to answer it."
            " Nothing was sent."
        )
    if batch.state != BatchState.AWAITING_APPROVAL:
        raise BatchRefused(_standing(batch))
    if not waiting().filter(pk=batch.pk).exists():
        raise BatchRefused(f"{batch} has expired: nobody approved it in time. Nothing was sent.")
    if (answer.key, answer.digest) != (batch.approval_key, batch.approval_digest):
        raise BatchRefused(f"This is not {_lower(batch)} as it was shown. Nothing was sent.")
    return batch


def _still_as_asked(batch: CancellationBatch) -> None:
    """What is stored is what was asked for, by somebody who still may ask."""
    rows = frozen.digest(batch)
    if rows != batch.digest or frozen.approval_digest(batch, rows) != batch.approval_digest:
        raise BatchRefused(
            f"What is stored of {_lower(batch)} is not what was asked for. Nothing was sent."
        )
    requester = _as_of_now(batch.requested_by)
    still_may = requester.is_active and requester.has_perm(REQUEST)
    if not (still_may and access.sees(requester, batch)):
        raise BatchRefused(
            f"{requester.get_username()}, who asked for {_lower(batch)}, may no longer cancel"
            " invoices. Nothing was sent."
        )


def _end(batch: CancellationBatch, user: User, to: BatchState, detail: str, **changes: str) -> None:
    batch.move(
        user,
        BatchState.AWAITING_APPROVAL,
        to,
        detail=detail,
        ended_by=user,
        finished_at=timezone.now(),
        **changes,
    )


def _withdraw(batch: CancellationBatch, user: User, detail: str) -> None:
    state = BatchState(batch.state)
    batch.move(user, state, BatchState.STOPPING, detail=detail, ended_by=user)
    batch.attempts.all().move_all(batches.WITHDRAW, actor=user)


def _permitted_to_recall(batch: CancellationBatch, user: User) -> bool:
    own = batch.requested_by_id == user.pk
    return user.is_active and (
        user.has_perm(RECALL) or user.has_perm(APPROVE) or (own and user.has_perm(CONTROL))
    )


def _standing(batch: CancellationBatch) -> str:
    """Why it is too late for an answer, as a sentence."""
    if batch.approved_by:
        approver = batch.approved_by.get_username()
        return f"{batch} was approved by {approver} already. Nothing was started a second time."
    word = batch.get_state_display().lower()
    by = f" by {batch.ended_by.get_username()}" if batch.ended_by else ""
    return f"{batch} is {word}{by}. Nothing was sent."


def _note(answer: Answer) -> str:
    note = _cleaned(answer.note)
    if len(note) > LONGEST_NOTE:
        raise BatchRefused("The note is longer than 2,000 characters. Nothing was sent.")
    return note


def _cleaned(note: str) -> str:
    return note.strip().replace("\0", "")


def _as_of_now(user: User) -> User:
    """The person as the database knows them, without what was looked up before."""
    return access.people().get(pk=user.pk)


def _lower(batch: CancellationBatch) -> str:
    return str(batch).lower()
