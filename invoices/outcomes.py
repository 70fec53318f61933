"""What follows from what happened: (what is true of an attempt, what happened) -> what next.

Pure: no clock, no database, no network. Every rule that keeps us from guessing is in this file,
and its tests go through all of it. Times are seconds.

The rules in short. Only an explicit yes is a yes, only an explicit no is a no, the rest is
`unknown` and only a read may decide. A cancel is sent again only after a read, taken when the
last request can no longer take effect (`settled`), has shown the invoice still open. A no to a
call about several says nothing of any one of them: each is sent again by itself. What was
found cancelled is `already_cancelled` only if no request of ours was ever in doubt; otherwise we
may have done it ourselves, and it is `cancelled` on the evidence of reading it back.
"""

from dataclasses import dataclass
from typing import TypeGuard

from invoices.models.attempt import State
from providers.adapters.base import Status
from providers.errors import (
    CredentialsRejected,
    NotSent,
    OutcomeUnknown,
    ProviderError,
    ReadToDecide,
    Refused,
    TryLater,
)

MOST_SENDS = 3
MOST_UNSENT = 3
READ_DELAYS = (5.0, 30.0, 120.0, 600.0, 3600.0, 6 * 3600.0, 24 * 3600.0)
POLL_DELAYS = (2.0, 5.0, 10.0, 30.0, 30.0, 60.0, 120.0, 600.0, 3600.0, 6 * 3600.0, 24 * 3600.0)
DAY = 24 * 3600.0
LOOKS_AFTER_A_NO = (300.0, DAY)
"""A no is looked at again: at once, when whatever was sent has settled, and a day later."""
REVIEW_READS = 7
SECOND_LOOK = 60.0

THROTTLE = 30.0
"""How long to leave an account alone when the provider asks for it without saying how long."""

NOT_COUNTED = frozenset(
    {"lease_lost", "deadline_passed", "not_running", "account_paused", "account_resting"}
)
"""Reasons for not sending that are our own and say nothing about the provider."""

MALFORMED = frozenset({"bad_reference", "bad_url"})
"""Reasons for not sending that no further try will change."""

TURNED_DOWN = frozenset(range(400, 500)) - {408}
"""Statuses of an answer, whoever gave it, by which something in the call was not liked."""

FOR_GOOD = frozenset(
    {
        Status.PAID,
        Status.PARTIALLY_PAID,
        Status.REFUNDED,
        Status.EXPIRED,
        Status.WRITTEN_OFF,
    }
)
"""A cancelled invoice never reads like this again."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of an attempt when something happens to it.

    `sends` counts this request too. `settled` is None when no request is in doubt, False while
    the last one may still take effect, True when a read shows whatever it did; `settles_in` is
    how long until then. `stopping`: a person wants no more of this batch. `together`: the call
    was about others, too.
    """

    state: State
    code: str = ""
    sends: int = 0
    unsent: int = 0
    reads: int = 0
    doubted: bool = False
    settled: bool | None = None
    settles_in: float = 0.0
    verified: bool = False
    stopping: bool = False
    together: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """The next state and why. `due_in` None: nothing more is to be done.

    `doubt` True: from now on a request of ours is in doubt; False: a read has cleared the doubt;
    None: as before. `alone`: should it be sent again, then by a call about nothing else.
    `verified`: a read has confirmed the cancellation.
    """

    to: State
    code: str = ""
    due_in: float | None = None
    evidence: str = ""
    doubt: bool | None = None
    alone: bool = False
    verified: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """A read's result: the status in our words, and whether it may be cancelled as it is.

    `credited`: it may read `paid` because a cancellation has credited the rest of it.
    """

    status: Status
    cancellable: bool
    credited: bool = False


MISSING = "missing"
FAILED_READ = "failed_read"
Read = Seen | str
"""`Seen`, or that the provider does not have it, or that the read came to nothing."""


def after_answer(standing: Standing, *, confirmed: bool, proven: bool, settle: float) -> Decision:
    """The provider answered our cancel with success.

    Proof in the answer itself needs no further look; without it the invoice is read again once
    a read must show the truth, `settle` seconds from now.
    """
    if not confirmed:
        return Decision(State.ACCEPTED, due_in=POLL_DELAYS[0], doubt=True)
    if proven:
        return Decision(State.CANCELLED, evidence="answer", verified=True, doubt=False)
    return Decision(State.CANCELLED, due_in=settle, evidence="answer", doubt=False)


def after_error(standing: Standing, error: ProviderError, *, backoff: float) -> Decision:
    """Our cancel ended in an error; `backoff` is the delay before a next try."""
    match error:
        case NotSent():
            return _not_sent(standing, error.code, backoff)
        case TryLater():
            wait = backoff if error.retry_after is None else max(backoff, error.retry_after)
            return _again(standing, "rate_limited", wait)
        case CredentialsRejected():
            return Decision(State.QUEUED, "credentials", due_in=backoff)
        case Refused(code="already_cancelled"):
            return _found_cancelled(standing)
        case Refused():
            # Our copy still shows what we believed: read it once more, to show what is.
            return Decision(State.REFUSED, error.code, due_in=1.0)
        case ReadToDecide() if not standing.together:
            return Decision(State.UNKNOWN, "decide_by_reading", due_in=1.0)
        case ReadToDecide():
            # It may have been one of the others, and it may have been all but that one.
            return _in_doubt("refused_together", alone=True)
        case _:
            alone = standing.together and error.status in TURNED_DOWN
            return _in_doubt(error.code, alone=alone)


def _in_doubt(code: str, *, alone: bool = False) -> Decision:
    return Decision(State.UNKNOWN, code, due_in=READ_DELAYS[0], doubt=True, alone=alone)


def no_answer() -> OutcomeUnknown:
    """The provider answered, but not for this invoice."""
    return OutcomeUnknown("unexpected_answer", "The answer does not mention this invoice.")


def after_interruption(standing: Standing) -> Decision:
    """The drain that had this attempt in hand is gone."""
    if standing.state is State.CLAIMED:
        return Decision(State.QUEUED, "interrupted", due_in=0.0)
    return _in_doubt("interrupted")


def before_cancel(standing: Standing, read: Read, *, changed: str) -> Decision | None:
    """The read just before a cancel; None means: go on and send it.

    `changed` names what differs from what was frozen, "" for nothing.
    """
    if read == FAILED_READ:
        return after_failed_precheck(standing)
    if read == MISSING:
        return Decision(State.REFUSED, "not_found")
    if isinstance(read, Seen) and read.status is Status.CANCELLED:
        return _found_cancelled(standing)
    if changed:
        return Decision(State.SKIPPED, changed)
    if isinstance(read, Seen) and not read.cancellable:
        return Decision(State.SKIPPED, str(read.status))
    return None


def after_failed_precheck(standing: Standing) -> Decision:
    """The read before a cancel came to nothing; nothing was sent."""
    if standing.stopping:
        return Decision(State.WITHDRAWN, "stopped")
    if standing.reads + 1 >= len(READ_DELAYS):
        return Decision(State.FAILED, "unreadable")
    return Decision(State.QUEUED, "unreadable", due_in=READ_DELAYS[standing.reads])


def after_read(standing: Standing, read: Read) -> Decision:
    """A read of an attempt that is unknown, accepted, cancelled, refused or under review."""
    match standing.state:
        case State.UNKNOWN:
            return _read_unknown(standing, read)
        case State.ACCEPTED:
            return _read_accepted(standing, read)
        case State.CANCELLED:
            return _read_cancelled(standing, read)
        case State.REFUSED:
            return _read_refused(standing, read)
        case _:
            return _read_under_review(standing, read)


def _not_sent(standing: Standing, code: str, backoff: float) -> Decision:
    if standing.stopping:
        return Decision(State.WITHDRAWN, "stopped")
    if code in NOT_COUNTED:
        return Decision(State.QUEUED, code, due_in=0.0)
    if code in MALFORMED:
        return Decision(State.REFUSED, "invalid")
    if standing.unsent + 1 >= MOST_UNSENT:
        return Decision(State.FAILED, code)
    return Decision(State.QUEUED, code, due_in=backoff)


def _again(standing: Standing, code: str, backoff: float) -> Decision:
    """Provably not carried out: once more, unless it was enough or nobody wants it any more."""
    if standing.stopping:
        return Decision(State.WITHDRAWN, "stopped", doubt=False)
    if standing.sends >= MOST_SENDS:
        return Decision(State.FAILED, code, doubt=False)
    return Decision(State.QUEUED, code, due_in=backoff, doubt=False)


def _found_cancelled(standing: Standing) -> Decision:
    if standing.doubted:
        return Decision(State.CANCELLED, evidence="read_back", verified=True, doubt=False)
    return Decision(State.ALREADY_CANCELLED)


def _read_unknown(standing: Standing, read: Read) -> Decision:
    if isinstance(read, Seen):
        if read.status is Status.CANCELLED:
            return _found_cancelled(standing)
        # Until it has settled, our request may still act, also on what is paid in part by now.
        if read.status is not Status.UNKNOWN and standing.settled is not False:
            return _proved_undone(standing, read)
    if read == MISSING and standing.settled is None:
        return Decision(State.REFUSED, "not_found", due_in=LOOKS_AFTER_A_NO[0])
    if read == MISSING and standing.settled:
        # Gone after a request that may have been carried out: no answer can be read off that.
        return Decision(State.NEEDS_REVIEW, "vanished", due_in=DAY)
    return _look_again(standing)


def _proved_undone(standing: Standing, read: Seen) -> Decision:
    """A read that counts does not show it cancelled."""
    if read.credited and standing.settled:
        return Decision(State.NEEDS_REVIEW, "credited", due_in=DAY)
    # Without doubt there is the provider's word alone, which is looked at again.
    due_in = LOOKS_AFTER_A_NO[0] if standing.settled is None else None
    if not read.cancellable:
        return Decision(State.REFUSED, str(read.status), due_in=due_in, doubt=False)
    if standing.settled is None:
        # The provider said no in words that we do not know, and the invoice is as it was.
        return Decision(State.REFUSED, "invalid", due_in=due_in)
    return _again(standing, "not_carried_out", backoff=1.0)


def _look_again(standing: Standing) -> Decision:
    if standing.reads >= len(READ_DELAYS):
        return Decision(State.NEEDS_REVIEW, "undecided", due_in=DAY)
    delay = READ_DELAYS[standing.reads]
    if standing.settled is False:
        # Not later than the first moment at which "still open" proves something.
        delay = min(delay, max(1.0, standing.settles_in))
    return Decision(State.UNKNOWN, standing.code, due_in=delay)


def _read_accepted(standing: Standing, read: Read) -> Decision:
    if isinstance(read, Seen) and read.status is Status.CANCELLED:
        return Decision(State.CANCELLED, evidence="read_back", verified=True, doubt=False)
    if isinstance(read, Seen) and read.status in FOR_GOOD and standing.settled is not False:
        return _proved_undone(standing, read)
    if read == MISSING and standing.settled:
        return Decision(State.NEEDS_REVIEW, "vanished", due_in=DAY)
    if standing.reads >= len(POLL_DELAYS):
        return Decision(State.NEEDS_REVIEW, "never_confirmed", due_in=DAY)
    return Decision(State.ACCEPTED, standing.code, due_in=POLL_DELAYS[standing.reads])


def _read_refused(standing: Standing, read: Read) -> Decision:
    """The provider's no counts, unless it shows the invoice cancelled after all."""
    if isinstance(read, Seen) and read.status is Status.CANCELLED:
        return Decision(State.NEEDS_REVIEW, "contradicted")
    delays = READ_DELAYS if read == FAILED_READ else LOOKS_AFTER_A_NO
    due_in = delays[standing.reads] if standing.reads < len(delays) else None
    return Decision(State.REFUSED, standing.code, due_in=due_in)


def _read_cancelled(standing: Standing, read: Read) -> Decision:
    if isinstance(read, Seen) and read.status is Status.CANCELLED:
        # Once after settling, and once more a day later.
        due_in = None if standing.verified else DAY
        return Decision(State.CANCELLED, due_in=due_in, verified=True)
    if read == FAILED_READ or (isinstance(read, Seen) and read.status is Status.UNKNOWN):
        delay = READ_DELAYS[min(standing.reads, len(READ_DELAYS) - 1)]
        return Decision(State.CANCELLED, standing.code, due_in=delay)
    if standing.code != "disagrees":
        # One read may be stale: look a second time before raising the alarm.
        return Decision(State.CANCELLED, "disagrees", due_in=SECOND_LOOK)
    return Decision(State.NEEDS_REVIEW, "disagrees", due_in=DAY)


def _read_under_review(standing: Standing, read: Read) -> Decision:
    if standing.code == "contradicted":
        # That it is cancelled is known; by whom no read can tell.
        return Decision(State.NEEDS_REVIEW, standing.code)
    if isinstance(read, Seen) and read.status is Status.CANCELLED:
        return Decision(State.CANCELLED, evidence="read_back", verified=True, doubt=False)
    if _proves_a_no(read, standing):
        return Decision(State.REFUSED, str(read.status), doubt=False)
    due_in = DAY if standing.reads < REVIEW_READS else None
    return Decision(State.NEEDS_REVIEW, standing.code, due_in=due_in)


def _proves_a_no(read: Read, standing: Standing) -> TypeGuard[Seen]:
    """Whether a read of what is under review shows that the cancellation cannot have been done."""
    if standing.code == "disagrees" or standing.settled is False or not isinstance(read, Seen):
        return False
    return read.status in FOR_GOOD and not read.credited
