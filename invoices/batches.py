"""What spans rows: freeze a selection, confirm, pause, resume, stop, retry, finish.

Each function checks the person's permission itself, whoever calls it, and records what it did.
Nothing here speaks to a provider.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from invoices import access, approval_rules, frozen
from invoices.approval_rules import Need
from invoices.contention import again
from invoices.models.attempt import AttemptQuerySet, CancellationAttempt, State, Step
from invoices.models.batch import CancellationBatch
from invoices.models.invoice import Invoice
from providers.adapters import ADAPTERS

BatchState = CancellationBatch.State
RETRYABLE = (State.FAILED, State.WITHDRAWN, State.SKIPPED)
"""Ends of which it is certain that nothing was carried out, so that a new attempt may be made."""

APPROVAL_LIFE = timedelta(hours=24)
"""So long a batch may wait for an approver."""

CONFIRMED = (
    BatchState.AWAITING_APPROVAL,
    BatchState.RUNNING,
    BatchState.PAUSED,
    BatchState.STOPPING,
    BatchState.FINISHED,
)
NEVER_STARTED = (BatchState.REJECTED, BatchState.RECALLED, BatchState.EXPIRED)

WITHDRAW = Step(
    State.QUEUED,
    State.WITHDRAWN,
    code="stopped",
    changes={"due_at": None, "finished_at": Now()},
)


class BatchRefused(Exception):
    """The request cannot be met; the message says why and that nothing was sent."""


class SelectionChanged(BatchRefused):
    """Invoices changed since the preview; `fresh` is a new draft with the new figures."""

    def __init__(self, fresh: CancellationBatch, changed: int) -> None:
        super().__init__(
            f"{changed:,} of the selected invoices changed since this preview was made. "
            "Nothing was sent. These are the new figures."
        )
        self.fresh = fresh


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What the operator confirmed: the key and digest of the preview, and the reasons given.

    `asks`: the operator was told that this only asks for approval.
    """

    key: UUID
    digest: str
    reason: str
    note: str
    options: Mapping[str, Mapping[str, bool]]
    asks: bool = False


def freeze(user: User, invoices: QuerySet[Invoice], selection: str) -> CancellationBatch:
    """Make a draft batch of these invoices as they are now; `selection` says how they were chosen.

    Raises `PermissionDenied`, or `BatchRefused` for an empty selection.
    """
    _require(user, "invoices.cancel_invoice")
    with transaction.atomic():
        batch = CancellationBatch.objects.create(requested_by=user, selection=selection[:500])
        batch.selected_count = CancellationAttempt.objects.freeze(batch, invoices)
        if not batch.selected_count:
            raise BatchRefused("No invoice is selected. Nothing was sent.")
        accounts = frozen.note_accounts(batch)
        access.require_accounts(user, accounts)
        frozen.rule_out(batch, accounts)
        batch.digest = frozen.digest(batch)
        batch.save(update_fields=["selected_count", "digest"])
        batch.record(user, "", BatchState.DRAFT, f"{batch.selected_count:,} selected")
    return batch


def confirm(batch: CancellationBatch, user: User, confirmation: Confirmation) -> CancellationBatch:
    """Start what the preview showed, or ask for approval where a rule wants it.

    The same confirmation twice does it once. Raises `PermissionDenied`, `SelectionChanged` with
    a fresh draft, or `BatchRefused`.
    """
    _require(user, "invoices.cancel_invoice")
    if batch.requested_by_id != user.pk:
        raise PermissionDenied("Only the person who prepared a batch can confirm it.")
    access.require(user, batch)
    reason, note, options = _checked(confirmation)
    given = {"reason": reason, "note": note, "options": options}
    changed = frozen.changed(batch)
    if changed:
        raise SelectionChanged(_fresh_draft(batch, user, given), changed)
    return insistently(lambda: _confirmed(batch.pk, user, confirmation, given))


def pause(batch: CancellationBatch, user: User) -> None:
    """Send nothing more until resumed. Reads that settle what is in doubt go on."""
    _control(batch, user, BatchState.RUNNING, BatchState.PAUSED)


def resume(batch: CancellationBatch, user: User) -> None:
    """Go on with a paused batch."""
    _control(batch, user, BatchState.PAUSED, BatchState.RUNNING)


def stop(batch: CancellationBatch, user: User) -> int:
    """Withdraw all that is provably unsent; the rest is settled by reading. Returns how many."""
    access.require(user, batch)
    batch.refresh_from_db()
    state = BatchState(batch.state)
    if state not in (BatchState.RUNNING, BatchState.PAUSED):
        raise BatchRefused(f"{batch} is {state.label.lower()} and cannot be stopped.")

    def withdraw() -> int:
        with transaction.atomic():
            _control(batch, user, state, BatchState.STOPPING)
            return batch.attempts.all().move_all(WITHDRAW, actor=user)

    withdrawn = again(withdraw)
    finish_if_done(batch.pk)
    return withdrawn


def retry(batch: CancellationBatch, user: User) -> CancellationBatch:
    """A new draft of what ended without being carried out; it is previewed and confirmed anew."""
    _require(user, "invoices.cancel_invoice")
    access.require(user, batch)
    if batch.state not in (BatchState.FINISHED, *NEVER_STARTED):
        raise BatchRefused(f"{batch} is not finished yet. Nothing was sent.")
    again = retryable(batch).values("invoice_id")
    return freeze(user, Invoice.objects.filter(pk__in=again), f"Retry of batch {batch.pk}")


def retryable(batch: CancellationBatch) -> AttemptQuerySet:
    """What a new batch may try once more; of one that never started, all that it asked for."""
    states = (State.DRAFT,) if batch.state in NEVER_STARTED else RETRYABLE
    return batch.attempts.all().filter(state__in=states)


def discard(batch: CancellationBatch, user: User | None) -> None:
    """Give up a draft: its rows are forgotten, that it existed is not."""
    if user is not None and batch.requested_by_id != user.pk:
        raise PermissionDenied("Only the person who prepared a batch can discard it.")
    if user is not None:
        access.require(user, batch)
    with transaction.atomic():
        if batch.move(user, BatchState.DRAFT, BatchState.DISCARDED):
            batch.attempts.filter(state__in=(State.DRAFT, State.INELIGIBLE)).delete()


def finish_if_done(batch_id: int) -> bool:
    """Mark a batch finished once none of its attempts is still being worked on.

    Of one that is being stopped, what has come back unsent since then is withdrawn first.
    """
    batch = CancellationBatch.objects.get(pk=batch_id)
    if batch.state not in (BatchState.RUNNING, BatchState.PAUSED, BatchState.STOPPING):
        return False
    if batch.state == BatchState.STOPPING:
        again(lambda: batch.attempts.all().move_all(WITHDRAW))
    if batch.attempts.all().working().exists():
        return False
    return batch.move(
        None, BatchState(batch.state), BatchState.FINISHED, finished_at=timezone.now()
    )


def insistently(work: Callable[[], CancellationBatch]) -> CancellationBatch:
    """Do a whole transaction anew while other batches take its invoices or lock its rows."""
    for last_try in (False, False, True):
        try:
            return again(work)
        except IntegrityError:
            # Another batch took one of the invoices between our check and our write.
            if last_try:
                raise
    raise AssertionError  # pragma: no cover


def launch(batch: CancellationBatch, actor: User, expected: BatchState, **changes: Any) -> None:
    """Let a batch run, within the caller's transaction: its drafts are due, at `starts_at` if set.

    What another batch took meanwhile is left out. Raises `BatchRefused` when nothing remains.
    """
    if not batch.move(actor, expected, BatchState.RUNNING, **changes):
        raise BatchRefused(f"{batch} has changed meanwhile. Nothing was sent.")
    frozen.drop_spoken_for(batch, actor)
    due = {"due_at": batch.starts_at or Now()}
    started = batch.attempts.all().move_all(
        Step(State.DRAFT, State.QUEUED, changes=due), actor=actor
    )
    if not started:
        raise BatchRefused("None of the selected invoices can be cancelled. Nothing was sent.")


def _confirmed(
    batch_id: int, user: User, confirmation: Confirmation, given: Mapping[str, Any]
) -> CancellationBatch:
    with transaction.atomic():
        batch = CancellationBatch.objects.select_for_update().get(pk=batch_id)
        if batch.confirm_key != confirmation.key or batch.digest != confirmation.digest:
            raise BatchRefused("This is not the preview that was shown. Nothing was sent.")
        if batch.state in CONFIRMED:
            return batch  # The same form once more: it has been confirmed already.
        if batch.state != BatchState.DRAFT:
            state = batch.get_state_display().lower()
            raise BatchRefused(f"{batch} is {state}. Nothing was sent.")
        need = _need(batch, confirmation)
        changes = {**given, "confirmed_at": timezone.now()}
        if need:
            _ask(batch, user, need, changes)
        else:
            launch(batch, user, BatchState.DRAFT, **changes)
    return batch


def _need(batch: CancellationBatch, confirmation: Confirmation) -> Need:
    """What the rules say now, which must be what the operator was told.

    Two batches of one person wait for one another here: each counts towards the other's day. A new
    limit of that person waits, too, or holds already.
    """
    locked = access.people().select_for_update(of=("self",), no_key=True)
    access.require(locked.get(pk=batch.requested_by_id), batch)
    need = approval_rules.needed(batch)
    if bool(need) == confirmation.asks:
        return need
    now = "it needs an approver now" if need else "it needs no approver any more"
    raise BatchRefused(f"Since this preview was shown, this has changed: {now}. Nothing was sent.")


def _ask(batch: CancellationBatch, user: User, need: Need, changes: Mapping[str, Any]) -> None:
    """Let it wait for another person; nobody's invoices are held meanwhile."""
    if not frozen.drafts(batch).exists():
        raise BatchRefused("None of the selected invoices can be cancelled. Nothing was sent.")
    for name, value in changes.items():
        setattr(batch, name, value)
    batch.approval_reasons = list(need.reasons)
    batch.delay_minutes = need.delay_minutes
    batch.move(
        user,
        BatchState.DRAFT,
        BatchState.AWAITING_APPROVAL,
        **changes,
        needs_approval=True,
        approval_reasons=batch.approval_reasons,
        delay_minutes=batch.delay_minutes,
        approval_digest=frozen.approval_digest(batch, batch.digest),
        approval_key=uuid4(),
        expires_at=timezone.now() + APPROVAL_LIFE,
    )


def _fresh_draft(
    batch: CancellationBatch, user: User, given: Mapping[str, Any]
) -> CancellationBatch:
    """The same selection as it is now, with what was typed for the old one."""
    with transaction.atomic():
        chosen = Invoice.objects.filter(pk__in=batch.attempts.values("invoice_id"))
        fresh = freeze(user, chosen, batch.selection)
        CancellationBatch.objects.filter(pk=fresh.pk).update(**given)
        discard(batch, user)
    fresh.refresh_from_db()
    return fresh


def _checked(
    confirmation: Confirmation,
) -> tuple[str, str, dict[str, dict[str, bool]]]:
    """The reason, note and options, or `BatchRefused` with what is wrong with them."""
    if confirmation.reason not in CancellationBatch.Reason.values:
        raise BatchRefused("Choose a reason. Nothing was sent.")
    note = confirmation.note.strip().replace("\0", "")
    if confirmation.reason == CancellationBatch.Reason.OTHER and not note:
        raise BatchRefused("Say in the note what the other reason is. Nothing was sent.")
    if len(note) > 2000:
        raise BatchRefused("The note is longer than 2,000 characters. Nothing was sent.")
    return confirmation.reason, note, _known_options(confirmation.options)


def _known_options(
    chosen: Mapping[str, Mapping[str, bool]],
) -> dict[str, dict[str, bool]]:
    """Every option of every provider with what was chosen, or its default."""
    return {
        code: {
            option.name: bool(chosen.get(code, {}).get(option.name, option.default))
            for option in adapter.options
        }
        for code, adapter in ADAPTERS.items()
        if adapter.options
    }


def _control(batch: CancellationBatch, user: User, expected: BatchState, to: BatchState) -> None:
    _require(user, "invoices.control_cancellationbatch")
    if batch.requested_by_id != user.pk and not user.is_superuser:
        raise PermissionDenied("Only the person who started a batch can pause or stop it.")
    access.require(user, batch)
    if not batch.move(user, expected, to):
        batch.refresh_from_db()
        raise BatchRefused(f"{batch} is {batch.get_state_display().lower()} now.")


def _require(user: User, permission: str) -> None:
    if not (user.is_active and user.has_perm(permission)):
        raise PermissionDenied("This needs a permission that you do not have. Nothing was sent.")
