"""What spans rows: freeze a selection, confirm, pause, resume, stop, retry, finish.

Each function checks the person's permission itself, whoever calls it, and records what it did.
Nothing here speaks to a provider.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from invoices import eligibility
from invoices.contention import again
from invoices.models.attempt import LIVE, CancellationAttempt, State, Step
from invoices.models.batch import CancellationBatch
from invoices.models.evidence import HistoryEvent
from invoices.models.invoice import Invoice
from providers.adapters import ADAPTERS
from providers.credentials import UnreadableCredentials
from providers.models import ProviderAccount

BatchState = CancellationBatch.State
RETRYABLE = (State.FAILED, State.WITHDRAWN, State.SKIPPED)
"""Ends of which it is certain that nothing was carried out, so that a new attempt may be made."""

STARTED = (BatchState.RUNNING, BatchState.PAUSED, BatchState.STOPPING, BatchState.FINISHED)

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
    """What the operator confirmed: the key and digest of the preview, and the reasons given."""

    key: UUID
    digest: str
    reason: str
    note: str
    options: Mapping[str, Mapping[str, bool]]


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
        _rule_out(batch)
        batch.digest = _digest(batch)
        batch.save(update_fields=["selected_count", "digest"])
        _record(batch, user, "", BatchState.DRAFT, f"{batch.selected_count:,} selected")
    return batch


def confirm(batch: CancellationBatch, user: User, confirmation: Confirmation) -> CancellationBatch:
    """Start what the preview showed. The same confirmation twice starts it once.

    Raises `PermissionDenied`, `SelectionChanged` with a fresh draft, or `BatchRefused`.
    """
    _require(user, "invoices.cancel_invoice")
    if batch.requested_by_id != user.pk:
        raise PermissionDenied("Only the person who prepared a batch can confirm it.")
    reason, note, options = _checked(confirmation)
    changed = _changed_since_frozen(batch)
    if changed:
        raise SelectionChanged(_fresh_draft(batch, user), changed)
    for last_try in (False, False, True):
        try:
            return again(lambda: _start(batch.pk, user, confirmation, reason, note, options))
        except IntegrityError:
            # Another batch took one of the invoices between our check and our write.
            if last_try:
                raise
    raise AssertionError  # pragma: no cover


def pause(batch: CancellationBatch, user: User) -> None:
    """Send nothing more until resumed. Reads that settle what is in doubt go on."""
    _control(batch, user, BatchState.RUNNING, BatchState.PAUSED)


def resume(batch: CancellationBatch, user: User) -> None:
    """Go on with a paused batch."""
    _control(batch, user, BatchState.PAUSED, BatchState.RUNNING)


def stop(batch: CancellationBatch, user: User) -> int:
    """Withdraw all that is provably unsent; the rest is settled by reading. Returns how many."""
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
    if batch.state != BatchState.FINISHED:
        raise BatchRefused(f"{batch} is not finished yet. Nothing was sent.")
    again = batch.attempts.filter(state__in=RETRYABLE).values("invoice_id")
    return freeze(user, Invoice.objects.filter(pk__in=again), f"Retry of batch {batch.pk}")


def discard(batch: CancellationBatch, user: User | None) -> None:
    """Give up a draft: its rows are forgotten, that it existed is not."""
    if user is not None and batch.requested_by_id != user.pk:
        raise PermissionDenied("Only the person who prepared a batch can discard it.")
    with transaction.atomic():
        if _set_state(batch, user, BatchState.DRAFT, BatchState.DISCARDED):
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
    return _set_state(
        batch, None, BatchState(batch.state), BatchState.FINISHED, finished_at=timezone.now()
    )


def _start(
    batch_id: int,
    user: User,
    confirmation: Confirmation,
    reason: str,
    note: str,
    options: Mapping[str, Mapping[str, bool]],
) -> CancellationBatch:
    with transaction.atomic():
        batch = CancellationBatch.objects.select_for_update().get(pk=batch_id)
        if batch.confirm_key != confirmation.key or batch.digest != confirmation.digest:
            raise BatchRefused("This is not the preview that was shown. Nothing was sent.")
        if batch.state in STARTED:
            return batch  # The same form once more: it has been started already.
        if batch.state != BatchState.DRAFT:
            state = batch.get_state_display().lower()
            raise BatchRefused(f"{batch} is {state}. Nothing was sent.")
        _set_state(
            batch,
            user,
            BatchState.DRAFT,
            BatchState.RUNNING,
            reason=reason,
            note=note,
            options=options,
            confirmed_at=timezone.now(),
        )
        drafts = batch.attempts.all()
        drafts.filter(_spoken_for()).move_all(
            Step(State.DRAFT, State.INELIGIBLE, code="spoken_for"), actor=user
        )
        started = drafts.move_all(
            Step(State.DRAFT, State.QUEUED, changes={"due_at": Now()}), actor=user
        )
        if not started:
            raise BatchRefused("None of the selected invoices can be cancelled. Nothing was sent.")
    return batch


def _rule_out(batch: CancellationBatch) -> None:
    """Mark what is not eligible: one decision for each combination of facts, not for each row."""
    rows = batch.attempts.all()
    rows.filter(_spoken_for()).rule_out("spoken_for")
    ready = {pk: _has_credentials(pk) for pk in rows.values_list("account", flat=True).distinct()}
    combinations = (
        rows.filter(state=State.DRAFT)
        .order_by()
        .values_list("account_id", "account__provider", "frozen_status")
        .distinct()
    )
    for account_id, provider, status in combinations:
        facts = eligibility.Facts(provider, status, False, ready[account_id])
        rule = eligibility.decide(facts)
        if rule is not None:
            rows.filter(account_id=account_id, frozen_status=status).rule_out(rule.code)


def _has_credentials(account_id: int) -> bool:
    try:
        return not ProviderAccount.objects.get(pk=account_id).missing_credentials()
    except UnreadableCredentials:
        return False


def _spoken_for() -> Exists:
    live = CancellationAttempt.objects.filter(invoice=OuterRef("invoice"), state__in=LIVE)
    return Exists(live)


def _changed_since_frozen(batch: CancellationBatch) -> int:
    same = (
        Q(invoice__status=F("frozen_status"))
        & Q(invoice__currency=F("frozen_currency"))
        & Q(invoice__customer_name=F("frozen_customer"))
        & (
            Q(invoice__amount_minor=F("frozen_amount_minor"))
            | Q(invoice__amount_minor=None, frozen_amount_minor=None)
        )
    )
    return batch.attempts.filter(state=State.DRAFT).exclude(same).count()


def _fresh_draft(batch: CancellationBatch, user: User) -> CancellationBatch:
    with transaction.atomic():
        chosen = Invoice.objects.filter(pk__in=batch.attempts.values("invoice_id"))
        fresh = freeze(user, chosen, batch.selection)
        discard(batch, user)
    return fresh


def _digest(batch: CancellationBatch) -> str:
    """SHA-256 over the frozen rows, in the order in which they were frozen."""
    seal = hashlib.sha256(f"batch {batch.pk}\n".encode())
    rows = batch.attempts.order_by("pk").values_list(
        "invoice_id",
        "state",
        "frozen_status",
        "frozen_amount_minor",
        "frozen_currency",
        "frozen_exponent",
        "frozen_customer",
    )
    for row in rows.iterator(chunk_size=5000):
        seal.update(json.dumps(row).encode() + b"\n")
    return seal.hexdigest()


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
    if not _set_state(batch, user, expected, to):
        batch.refresh_from_db()
        raise BatchRefused(f"{batch} is {batch.get_state_display().lower()} now.")


def _set_state(
    batch: CancellationBatch,
    actor: User | None,
    expected: BatchState,
    to: BatchState,
    **changes: object,
) -> bool:
    """Take a step if the batch is still where it was, and record it; otherwise False."""
    with transaction.atomic():
        waiting = CancellationBatch.objects.filter(pk=batch.pk, state=expected)
        if not waiting.update(state=to, **changes):
            return False
        _record(batch, actor, expected, to, str(changes.get("note", "")))
    for name, value in {"state": to, **changes}.items():
        setattr(batch, name, value)
    return True


def _record(
    batch: CancellationBatch, actor: User | None, from_state: str, to: str, detail: str
) -> None:
    HistoryEvent.objects.create(
        kind=HistoryEvent.Kind.BATCH_STATE,
        actor=actor,
        batch=batch,
        from_state=from_state,
        to_state=to,
        code=batch.reason,
        detail=detail[:500],
    )


def _require(user: User, permission: str) -> None:
    if not (user.is_active and user.has_perm(permission)):
        raise PermissionDenied("This needs a permission that you do not have. Nothing was sent.")
