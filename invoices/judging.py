"""What is decided about each attempt of a call that has ended; nothing is written here.

The rules are those of `outcomes.py`. This file says what is known of an attempt, and which of the
rules is asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.conf import settings

from invoices import outcomes
from invoices.calls import Done
from invoices.eligibility import Frozen, difference
from invoices.models.attempt import CancellationAttempt, State
from invoices.models.batch import CancellationBatch
from invoices.outcomes import Decision, Read, Standing
from invoices.pacing import backoff
from providers.adapters.base import Adapter, CancelAnswer, Found, text
from providers.errors import (
    CredentialsRejected,
    NotSent,
    OutcomeUnknown,
    ProviderError,
    TryLater,
)

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


def judged(
    attempt: CancellationAttempt, done: Done, adapter: type[Adapter], now: datetime, begun: datetime
) -> Verdict:
    """What a call that has ended, and was `begun` then, comes to for one of its attempts."""
    decision, message = _decided(attempt, done, adapter, now, begun)
    return _verdict(attempt, decision, message, done)


def ruled_out(
    attempt: CancellationAttempt, done: Done, found: Found, adapter: type[Adapter], now: datetime
) -> Verdict | None:
    """What the read before a cancel comes to; None when nothing speaks against sending it."""
    read = read_of(attempt, found, adapter)
    remote = found.invoices.get(attempt.invoice.external_id)
    changed = difference(frozen_of(attempt), remote) if remote else ""
    decision = outcomes.before_cancel(standing_of(attempt, now), read, changed=changed)
    return None if decision is None else _verdict(attempt, decision, "", done)


def malformed(attempt: CancellationAttempt) -> Verdict:
    """Its id does not have the provider's form: nothing is sent for it."""
    return _verdict(attempt, Decision(State.REFUSED, "invalid"), MALFORMED, None)


def interrupted(attempt: CancellationAttempt, now: datetime) -> Verdict:
    """The drain that had it in hand has ended."""
    decision = outcomes.after_interruption(standing_of(attempt, now))
    return _verdict(attempt, decision, "", None)


def settle_seconds(adapter: type[Adapter]) -> float:
    """After how long a read shows whatever a request did."""
    return adapter.settle + adapter.read_lag


def _decided(
    attempt: CancellationAttempt, done: Done, adapter: type[Adapter], now: datetime, begun: datetime
) -> tuple[Decision, str]:
    job, result = done.job, done.result
    together = len(job.attempts) > 1
    standing = standing_of(attempt, now, extra_sends=job.left, together=together)
    if job.kind == "cancel":
        return _of_cancel(standing, attempt, result, adapter)
    if job.kind == "precheck":
        return _of_failed_precheck(standing, result)
    if isinstance(result, Found):
        read = read_of(attempt, result, adapter)
        return outcomes.after_read(standing_of(attempt, begun), read), ""
    error = _error_of(result)
    if _says_nothing(error):
        delay = getattr(error, "retry_after", None) or outcomes.READ_DELAYS[0]
        return Decision(standing.state, attempt.code, due_in=delay), error.message
    return outcomes.after_read(standing, outcomes.FAILED_READ), error.message


def _of_cancel(
    standing: Standing, attempt: CancellationAttempt, result: object, adapter: type[Adapter]
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
        standing,
        confirmed=answer.confirmed,
        proven=answer.proven,
        settle=settle_seconds(adapter),
    )
    return decision, answer.advice


def _of_failed_precheck(standing: Standing, result: object) -> tuple[Decision, str]:
    error = _error_of(result)
    if isinstance(error, NotSent | TryLater | CredentialsRejected):
        wait = backoff(standing.unsent)
        return outcomes.after_error(standing, error, backoff=wait), error.message
    return outcomes.after_failed_precheck(standing), error.message


def _verdict(
    attempt: CancellationAttempt, decision: Decision, message: str, done: Done | None
) -> Verdict:
    error = done.result if done is not None else None
    counts_unsent = isinstance(error, NotSent) and error.code not in outcomes.NOT_COUNTED
    left = done.job.left if done is not None else 0
    return Verdict(
        attempt,
        State(attempt.state),
        decision,
        text(message),
        sends=attempt.sends + left,
        unsent=attempt.unsent + counts_unsent,
        reads=_reads_after(attempt, decision, done),
    )


# --- what is known ----------------------------------------------------------------------------


def standing_of(
    attempt: CancellationAttempt, at: datetime, *, extra_sends: int = 0, together: bool = False
) -> Standing:
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
        together=together,
        stopping=attempt.batch.state == CancellationBatch.State.STOPPING,
    )


def read_of(attempt: CancellationAttempt, found: Found, adapter: type[Adapter]) -> Read:
    """What a read says of one attempt's invoice."""
    reference = attempt.invoice.external_id
    remote = found.invoices.get(reference)
    if remote is not None:
        return outcomes.Seen(remote.status, remote.status in adapter.cancellable, remote.credited)
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
