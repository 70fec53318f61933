"""From what came back to what is written: decisions for the attempts of finished calls.

Everything that arrived since the last flush is written by one transaction: answers, states with
their history, and what the provider now says of the invoices.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import Q

from invoices import batches, outcomes, sync
from invoices.calls import Done
from invoices.eligibility import Frozen, difference
from invoices.failpoints import failpoint
from invoices.lease import Lease
from invoices.models.attempt import WORKING, CancellationAttempt, State, Step
from invoices.models.batch import CancellationBatch
from invoices.models.evidence import HistoryEvent, ProviderResponse
from invoices.models.invoice import Invoice
from invoices.outcomes import Decision, Read, Standing
from invoices.pacing import backoff
from invoices.recorder import response_row
from providers.adapters.base import Adapter, CancelAnswer, Found, RemoteInvoice, text
from providers.errors import (
    CredentialsRejected,
    NotSent,
    OutcomeUnknown,
    ProviderError,
    TryLater,
)
from providers.exchange import Exchange
from providers.models import ProviderAccount

IN_HAND = (State.CLAIMED, State.SENDING)
MALFORMED = "The invoice's id does not have the provider's form; nothing was sent."


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision about one attempt, and the further columns that go with it."""

    attempt: CancellationAttempt
    expected: State
    decision: Decision
    message: str
    sends: int
    unsent: int
    reads: int

    @property
    def lease(self) -> UUID | None:
        """Only who has an attempt in hand may move it on."""
        return self.attempt.lease_token if self.expected in IN_HAND else None


class Settling:
    """Collects what came back and writes it together."""

    adapter: Adapter

    def __init__(self, account: ProviderAccount, lease: Lease) -> None:
        self._account = account
        self._lease = lease
        self._exchanges: list[Exchange] = []
        self._verdicts: list[Verdict] = []
        self._seen: list[tuple[Sequence[RemoteInvoice], datetime]] = []
        self._since = time.monotonic()

    @property
    def waiting(self) -> bool:
        """Whether something is still to be written."""
        return bool(self._exchanges or self._verdicts or self._seen)

    def is_due(self, seconds: float) -> bool:
        """Whether something has waited for so long."""
        return self.waiting and time.monotonic() - self._since >= seconds

    def answered(self, exchange: Exchange) -> None:
        """An answer, or a fault, of one request."""
        if not self.waiting:
            self._since = time.monotonic()
        self._exchanges.append(exchange)

    def take(self, done: Done) -> None:
        """A call that has ended: decide for each of its attempts."""
        if isinstance(done.result, Found):
            self._note_seen(done, done.result)
        for attempt in done.job.attempts:
            decision, message = self._decide(attempt, done)
            self._add(attempt, decision, message, done)

    def take_precheck(self, done: Done, found: Found) -> list[CancellationAttempt]:
        """The read before a cancel: decide, and return those that nothing speaks against."""
        self._note_seen(done, found)
        return [one for one in done.job.attempts if not self._is_ruled_out(one, found, done)]

    def _is_ruled_out(self, attempt: CancellationAttempt, found: Found, done: Done) -> bool:
        read = read_of(attempt, found, self.adapter)
        remote = found.invoices.get(attempt.invoice.external_id)
        changed = difference(frozen_of(attempt), remote) if remote else ""
        standing = standing_of(attempt, self._lease.now())
        decision = outcomes.before_cancel(standing, read, changed=changed)
        if decision is None:
            return False
        self._add(attempt, decision, "", done)
        return True

    def turn_down(self, malformed: Iterable[CancellationAttempt]) -> None:
        """Attempts whose id does not have the provider's form: nothing is sent for them."""
        for attempt in malformed:
            self._add(attempt, Decision(State.REFUSED, "invalid"), MALFORMED, None)

    def settle_interrupted(self) -> None:
        """What a drain that is gone had in hand: unsent goes back, sent is in doubt."""
        self._give_up(~Q(lease_token=self._lease.token) | Q(lease_token=None))

    def give_back(self, ids: Iterable[int]) -> None:
        """At the end of a drain: attempts still claimed by us, of which nothing was sent."""
        self._give_up(Q(pk__in=list(ids), lease_token=self._lease.token, state=State.CLAIMED))

    def _give_up(self, condition: Q) -> None:
        in_hand = CancellationAttempt.objects.filter(
            condition, account=self._account, state__in=IN_HAND
        )
        for attempt in in_hand.select_related("batch"):
            standing = standing_of(attempt, self._lease.now())
            self._add(attempt, outcomes.after_interruption(standing), "", None)
        self.flush()

    def flush(self) -> set[int]:
        """Write all; returns the ids of the attempts that are done with for now."""
        exchanges, verdicts, seen = self._exchanges, self._verdicts, self._seen
        if not self.waiting:
            return set()
        try:
            with transaction.atomic():
                self._write_answers(exchanges)
                failpoint("settling.after_answers")
                self._write_seen(seen)
                self._write_verdicts(self._ours(verdicts))
                failpoint("settling.before_flush_commits")
            failpoint("settling.after_flush")
        except Exception:
            # Whatever is wrong with the rest: an answer that is in must be kept.
            with suppress(DatabaseError):
                self._write_answers(exchanges)
            raise
        self._exchanges, self._verdicts, self._seen = [], [], []
        self._since = time.monotonic()
        for batch_id in {one.attempt.batch_id for one in verdicts}:
            batches.finish_if_done(batch_id)
        return {one.attempt.pk for one in verdicts}

    # --- deciding -----------------------------------------------------------------------------

    def _decide(self, attempt: CancellationAttempt, done: Done) -> tuple[Decision, str]:
        job, result = done.job, done.result
        now = self._lease.now()
        standing = standing_of(attempt, now, extra_sends=job.left)
        if job.kind == "cancel":
            return self._decide_cancel(standing, attempt, result)
        if job.kind == "precheck":
            return self._decide_failed_precheck(standing, result)
        if isinstance(result, Found):
            taken = now - timedelta(seconds=time.monotonic() - job.started)
            standing = standing_of(attempt, taken)
            return outcomes.after_read(standing, read_of(attempt, result, self.adapter)), ""
        error = _error_of(result)
        if _says_nothing(error):
            delay = getattr(error, "retry_after", None) or outcomes.READ_DELAYS[0]
            return Decision(standing.state, attempt.code, due_in=delay), error.message
        return outcomes.after_read(standing, outcomes.FAILED_READ), error.message

    def _decide_cancel(
        self, standing: Standing, attempt: CancellationAttempt, result: object
    ) -> tuple[Decision, str]:
        if isinstance(result, ProviderError):
            wait = backoff(standing.sends + standing.unsent)
            said = f"{result.message} ({result.provider_code})" if result.provider_code else ""
            return outcomes.after_error(standing, result, backoff=wait), said or result.message
        answer = _answer_for(result, attempt.invoice.external_id)
        if answer is None:
            error = outcomes.no_answer()
            return outcomes.after_error(standing, error, backoff=1.0), error.message
        decision = outcomes.after_answer(
            standing, confirmed=answer.confirmed, proven=answer.proven, settle=self._settle_seconds
        )
        return decision, answer.advice

    def _decide_failed_precheck(self, standing: Standing, result: object) -> tuple[Decision, str]:
        error = _error_of(result)
        if isinstance(error, NotSent | TryLater | CredentialsRejected):
            wait = backoff(standing.unsent)
            return outcomes.after_error(standing, error, backoff=wait), error.message
        return outcomes.after_failed_precheck(standing), error.message

    @property
    def _settle_seconds(self) -> float:
        return self.adapter.settle + self.adapter.read_lag

    def _add(
        self, attempt: CancellationAttempt, decision: Decision, message: str, done: Done | None
    ) -> None:
        if not self.waiting:
            self._since = time.monotonic()
        error = done.result if done is not None else None
        counts_unsent = isinstance(error, NotSent) and error.code not in outcomes.NOT_COUNTED
        left = done.job.left if done is not None else 0
        self._verdicts.append(
            Verdict(
                attempt,
                State(attempt.state),
                decision,
                text(message),
                sends=attempt.sends + left,
                unsent=attempt.unsent + counts_unsent,
                reads=_reads_after(attempt, decision, done),
            )
        )

    def _note_seen(self, done: Done, found: Found) -> None:
        if not self.waiting:
            self._since = time.monotonic()
        # A read may be as far behind the truth as the provider's lag.
        age = time.monotonic() - done.job.started + self.adapter.read_lag
        taken = self._lease.now() - timedelta(seconds=age)
        self._seen.append((list(found.invoices.values()), taken))

    # --- writing --------------------------------------------------------------------------------

    def _write_answers(self, exchanges: Iterable[Exchange]) -> None:
        """Once each, also when the news of an earlier commit was lost on its way to us."""
        rows = [response_row(one) for one in exchanges]
        ProviderResponse.objects.bulk_create(rows, ignore_conflicts=True)

    def _ours(self, verdicts: list[Verdict]) -> list[Verdict]:
        """Without a lease only what carries its token: what was read is another drain's now."""
        if all(one.lease is not None for one in verdicts) or self._lease.is_held():
            return verdicts
        return [one for one in verdicts if one.lease is not None]

    def _write_seen(self, seen: Iterable[tuple[Sequence[RemoteInvoice], datetime]]) -> None:
        for remotes, taken in seen:
            sync.apply_remote(self._account.pk, remotes, taken)

    def _write_verdicts(self, verdicts: list[Verdict]) -> None:
        groups: dict[tuple[Any, ...], list[Verdict]] = defaultdict(list)
        for verdict in verdicts:
            decision = verdict.decision
            due = None if decision.due_in is None else round(decision.due_in, 1)
            key = (
                verdict.expected,
                verdict.lease,
                decision.to,
                decision.code,
                due,
                decision.evidence,
                decision.doubt,
                decision.verified,
                verdict.message,
                verdict.sends,
                verdict.unsent,
                verdict.reads,
            )
            groups[key].append(verdict)
        for group in groups.values():
            self._write_group(group)

    def _write_group(self, group: list[Verdict]) -> None:
        first, attempts = group[0], [one.attempt for one in group]
        changes = self._columns(first)
        if first.decision.to == first.expected:
            self._write_same(first, attempts, changes)
            return
        step = Step(
            first.expected,
            first.decision.to,
            code=first.decision.code,
            detail=first.message,
            changes=changes,
            lease=first.lease,
        )
        if first.expected is State.CANCELLED:
            attempts = self._without_a_newer_one(attempts)
        moved = CancellationAttempt.objects.move(attempts, step)
        if first.decision.to in (State.CANCELLED, State.ALREADY_CANCELLED):
            self._mark_cancelled([one for one in attempts if one.pk in moved])

    def _without_a_newer_one(
        self, attempts: list[CancellationAttempt]
    ) -> list[CancellationAttempt]:
        """Only one attempt may speak for an invoice; where a newer one does, look again later."""
        spoken_for = CancellationAttempt.objects.live().filter(
            invoice__in=[one.invoice_id for one in attempts]
        )
        taken = set(spoken_for.values_list("invoice_id", flat=True))
        later = self._lease.now() + timedelta(seconds=outcomes.DAY * settings.PACE)
        waiting = [one for one in attempts if one.invoice_id in taken]
        CancellationAttempt.objects.filter(state=State.CANCELLED).reschedule(waiting, due_at=later)
        return [one for one in attempts if one.invoice_id not in taken]

    def _write_same(
        self, first: Verdict, attempts: list[CancellationAttempt], changes: dict[str, Any]
    ) -> None:
        newly_verified = first.decision.verified and attempts[0].verified_at is None
        changes["code"] = first.decision.code
        CancellationAttempt.objects.filter(state=first.expected).reschedule(attempts, **changes)
        if newly_verified:
            HistoryEvent.objects.bulk_create(
                HistoryEvent(
                    kind=HistoryEvent.Kind.ATTEMPT_VERIFIED,
                    account_id=one.account_id,
                    batch_id=one.batch_id,
                    attempt_id=one.pk,
                    invoice_id=one.invoice_id,
                )
                for one in attempts
            )

    def _columns(self, verdict: Verdict) -> dict[str, Any]:
        decision, now = verdict.decision, self._lease.now()
        pace = settings.PACE
        changes: dict[str, Any] = {
            "message": verdict.message,
            "sends": verdict.sends,
            "unsent": verdict.unsent,
            "reads": verdict.reads,
            "lease_token": None,
            "due_at": None
            if decision.due_in is None
            else now + timedelta(seconds=decision.due_in * pace),
        }
        if decision.evidence:
            changes["evidence"] = decision.evidence
        if decision.doubt:
            changes["doubted"] = True
            changes["settled_at"] = now + timedelta(seconds=self._settle_seconds * pace)
        elif decision.doubt is False:
            changes["settled_at"] = None
        if decision.verified:
            changes["verified_at"] = now
        if decision.to not in WORKING and decision.to != verdict.expected:
            changes["finished_at"] = now
        return changes

    def _mark_cancelled(self, attempts: list[CancellationAttempt]) -> None:
        """The provider said so: from now on the invoice reads cancelled here, too."""
        Invoice.objects.filter(pk__in=[one.invoice_id for one in attempts]).exclude(
            status=Invoice.Status.CANCELLED
        ).update(status=Invoice.Status.CANCELLED, synced_at=self._lease.now())


def standing_of(attempt: CancellationAttempt, at: datetime, *, extra_sends: int = 0) -> Standing:
    """What is known of an attempt at a moment (of a read: when it was begun)."""
    left = 0.0
    if attempt.settled_at is not None:
        left = (attempt.settled_at - at).total_seconds()
    return Standing(
        state=State(attempt.state),
        code=attempt.code,
        sends=attempt.sends + extra_sends,
        unsent=attempt.unsent,
        reads=attempt.reads,
        doubted=attempt.doubted,
        settled=None if attempt.settled_at is None else left <= 0,
        # In the unit of the decisions, which PACE multiplies once more.
        settles_in=max(0.0, left) / settings.PACE,
        verified=attempt.verified_at is not None,
        stopping=attempt.batch.state == CancellationBatch.State.STOPPING,
    )


def read_of(attempt: CancellationAttempt, found: Found, adapter: Adapter) -> Read:
    """What a read says of one attempt's invoice."""
    reference = attempt.invoice.external_id
    remote = found.invoices.get(reference)
    if remote is not None:
        return outcomes.Seen(remote.status, remote.status in adapter.cancellable)
    return outcomes.MISSING if reference in found.missing else outcomes.FAILED_READ


def differs_from_copy(attempt: CancellationAttempt) -> bool:
    """Whether our own copy of the invoice is no longer what the preview showed."""
    invoice = attempt.invoice
    return frozen_of(attempt) != Frozen(
        invoice.status,
        invoice.amount_minor,
        invoice.currency,
        invoice.exponent,
        invoice.customer_name,
    )


def frozen_of(attempt: CancellationAttempt) -> Frozen:
    """What the preview showed."""
    return Frozen(
        attempt.frozen_status,
        attempt.frozen_amount_minor,
        attempt.frozen_currency,
        attempt.frozen_exponent,
        attempt.frozen_customer,
    )


def _answer_for(result: object, reference: str) -> CancelAnswer | None:
    answer = result.get(reference) if isinstance(result, Mapping) else None
    return answer if isinstance(answer, CancelAnswer) else None


def _error_of(result: object) -> ProviderError:
    """The error by which a read ended; a result that a read cannot have is one, too."""
    if isinstance(result, ProviderError):
        return result
    return OutcomeUnknown("unexpected_answer", "The read came back with something else.")


def _reads_after(attempt: CancellationAttempt, decision: Decision, done: Done | None) -> int:
    """How many reads the present state has seen; a new state begins at none."""
    if done is None or done.job.kind == "cancel":
        return 0
    if isinstance(done.result, ProviderError) and _says_nothing(done.result):
        return attempt.reads
    goes_on = decision.to == attempt.state or decision.code == "unreadable"
    return attempt.reads + 1 if goes_on else 0


def _says_nothing(error: ProviderError) -> bool:
    """Whether a read failed for reasons that have nothing to do with the invoice."""
    return isinstance(error, TryLater | CredentialsRejected) or (
        isinstance(error, NotSent) and error.code in outcomes.NOT_COUNTED
    )
