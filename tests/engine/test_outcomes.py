"""What follows from what happened: each row of the table, and what holds for every row."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices import outcomes
from invoices.models.attempt import LEGAL, WORKING, State
from invoices.outcomes import FAILED_READ, MISSING, Decision, Read, Seen, Standing
from providers.adapters import ADAPTERS
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

SETTLE = 120.0
BACKOFF = 7.0
SENDING = Standing(State.SENDING, sends=1)
CLAIMED = Standing(State.CLAIMED)
UNKNOWN = Standing(State.UNKNOWN, "timeout", sends=1, doubted=True, settled=True)
NO_REASON = replace(UNKNOWN, code="decide_by_reading", doubted=False, settled=None)
ACCEPTED = Standing(State.ACCEPTED, sends=1, doubted=True, settled=True)
CANCELLED = Standing(State.CANCELLED, sends=1)
REVIEW = Standing(State.NEEDS_REVIEW, "undecided", sends=1, doubted=True, settled=True)

OPEN = Seen(Status.OPEN, cancellable=True)
GONE = Seen(Status.CANCELLED, cancellable=False)
PAID = Seen(Status.PAID, cancellable=False)
PENDING = Seen(Status.PAYMENT_PENDING, cancellable=False)
STRANGE = Seen(Status.UNKNOWN, cancellable=False)
PART_PAID = Seen(Status.PARTIALLY_PAID, cancellable=False)
CREDITED = Seen(Status.PAID, cancellable=False, credited=True)

READS: tuple[Read, ...] = (
    *(Seen(status, cancellable=False) for status in Status if status is not Status.OPEN),
    OPEN,
    Seen(Status.DRAFT, cancellable=True),
    CREDITED,
    MISSING,
    FAILED_READ,
)
ERRORS: tuple[ProviderError, ...] = (
    *(NotSent(code, "m") for code in ("unreachable", "dns", "no_token", "internal_error")),
    *(NotSent(code, "m") for code in sorted(outcomes.NOT_COUNTED | outcomes.MALFORMED)),
    TryLater("m", retry_after=None, status=429),
    TryLater("m", retry_after=90.0, status=429),
    CredentialsRejected("m", status=401),
    *(Refused(code, "m") for code in ("paid", "draft", "not_found", "forbidden")),
    Refused("already_cancelled", "m"),
    *(ReadToDecide("decide_by_reading", "m", status=status) for status in (400, 409, 422)),
    OutcomeUnknown("unexpected_answer", "m", status=413),
    *(OutcomeUnknown(code, "m") for code in ("timeout", "server_error", "unexpected_answer")),
    ProviderError("something_new", "m"),
)
READ_STATES = (
    *(State.UNKNOWN, State.ACCEPTED, State.CANCELLED),
    *(State.REFUSED, State.NEEDS_REVIEW),
)
PROVES_UNDONE = (NotSent, TryLater, CredentialsRejected, Refused)


def standings(state: State) -> Iterator[Standing]:
    """Every standing of a state that makes a difference to some rule."""
    together = (False, True) if state is State.SENDING else (False,)
    for sends, unsent, reads, doubted, settled, verified, stopping, code, shared in product(
        (0, 1, 2, 3),
        (0, 2),
        (0, 1, 6, 7, 11),
        (False, True),
        (None, False, True),
        (False, True),
        (False, True),
        ("", "disagrees", "contradicted"),
        together,
    ):
        if settled is not None and not doubted:
            continue
        settles_in = 60.0 if settled is False else 0.0
        given = (state, code, sends, unsent, reads, doubted, settled, settles_in, verified)
        yield Standing(*given, stopping=stopping, together=shared)


def of_answers() -> Iterator[tuple[Standing, object, Decision]]:
    for one, confirmed, proven in product(standings(State.SENDING), (True, False), (True, False)):
        decision = outcomes.after_answer(one, confirmed=confirmed, proven=proven, settle=SETTLE)
        yield one, "answer", decision


def of_errors() -> Iterator[tuple[Standing, object, Decision]]:
    for one, error in product(standings(State.SENDING), ERRORS):
        yield one, error, outcomes.after_error(one, error, backoff=BACKOFF)
    for one, error in product(standings(State.CLAIMED), ERRORS):
        # Before anything was stored nothing else can come back, see `calls`.
        if isinstance(error, PROVES_UNDONE) and not isinstance(error, Refused):
            yield one, error, outcomes.after_error(one, error, backoff=BACKOFF)


def of_reads() -> Iterator[tuple[Standing, object, Decision]]:
    for state in READ_STATES:
        for one, read in product(standings(state), READS):
            yield one, read, outcomes.after_read(one, read)


def of_prechecks() -> Iterator[tuple[Standing, object, Decision]]:
    for one, read, changed in product(
        standings(State.CLAIMED), READS, ("", "paid", "amount_changed")
    ):
        decision = outcomes.before_cancel(one, read, changed=changed)
        if decision is not None:
            yield one, read, decision


def of_interruptions() -> Iterator[tuple[Standing, object, Decision]]:
    for state in (State.CLAIMED, State.SENDING):
        for one in standings(state):
            yield one, "interrupted", outcomes.after_interruption(one)


def everything() -> Iterator[tuple[Standing, object, Decision]]:
    """The full product of what is known, what happened, and what follows."""
    yield from of_answers()
    yield from of_errors()
    yield from of_reads()
    yield from of_prechecks()
    yield from of_interruptions()


# --- what holds for every row ---------------------------------------------------------------------


def test_every_decision_is_a_step_that_the_state_machine_has() -> None:
    for standing, happened, decision in everything():
        legal = LEGAL.get(standing.state, frozenset()) | {standing.state}
        assert decision.to in legal, (standing, happened, decision)


def test_what_is_not_at_its_end_is_due_again() -> None:
    for standing, happened, decision in everything():
        if decision.to in WORKING:
            assert decision.due_in is not None, (standing, happened)
            assert decision.due_in >= 0


def test_cancelled_has_evidence() -> None:
    for standing, happened, decision in everything():
        if decision.to is not State.CANCELLED or standing.state is State.CANCELLED:
            continue
        if decision.evidence == "answer":
            assert happened == "answer"
        else:
            assert decision.evidence == "read_back"
            told = isinstance(happened, Refused) and happened.code == "already_cancelled"
            assert told or happened == GONE, (standing, happened)


def test_already_cancelled_only_when_nothing_of_ours_was_ever_in_doubt() -> None:
    for standing, happened, decision in everything():
        if decision.to is State.ALREADY_CANCELLED:
            assert not standing.doubted, (standing, happened)


def test_what_is_in_doubt_goes_back_to_the_queue_only_by_a_settled_read_that_shows_it_open() -> (
    None
):
    for standing, happened, decision in of_reads():
        if decision.to is State.QUEUED:
            assert standing.state is State.UNKNOWN
            assert standing.settled is True
            assert isinstance(happened, Seen)
            assert happened.cancellable
            assert standing.sends < outcomes.MOST_SENDS


def test_failed_and_withdrawn_only_with_proof_that_nothing_was_done() -> None:
    for standing, happened, decision in everything():
        if decision.to not in (State.FAILED, State.WITHDRAWN):
            continue
        if standing.state is State.UNKNOWN:
            assert standing.settled is True, (standing, happened)
            assert isinstance(happened, Seen)
            assert happened.cancellable
        elif standing.state is State.SENDING:
            assert isinstance(happened, PROVES_UNDONE), (standing, happened)
        else:
            assert standing.state is State.CLAIMED


def test_a_send_of_which_nothing_is_known_is_unknown_and_in_doubt() -> None:
    for standing, happened, decision in everything():
        if standing.state is State.SENDING and (
            happened == "interrupted" or type(happened) in (OutcomeUnknown, ProviderError)
        ):
            assert (decision.to, decision.doubt) == (State.UNKNOWN, True)


def test_a_no_without_a_reason_to_several_is_no_no_to_any_one_of_them() -> None:
    for standing, happened, decision in of_errors():
        turned_down = isinstance(happened, ReadToDecide | OutcomeUnknown) and (
            400 <= (happened.status or 0) < 500
        )
        assert decision.alone is (standing.together and turned_down), (standing, happened)
        if decision.alone:
            # As after any call whose outcome is not known: a read, and not too early, comes first.
            assert (decision.to, decision.doubt) == (State.UNKNOWN, True)


def test_while_our_request_may_still_act_nothing_is_refused() -> None:
    for standing, happened, decision in of_reads():
        if standing.settled is False and standing.state is not State.REFUSED:
            assert decision.to is not State.REFUSED, (standing, happened)


def test_what_was_paid_by_crediting_the_rest_is_not_refused_if_we_may_have_done_it() -> None:
    for standing, happened, decision in of_reads():
        if happened == CREDITED and standing.settled is not None:
            if standing.state is State.REFUSED:
                continue
            to_a_person = standing.state is not State.CANCELLED
            assert decision.to is not State.REFUSED, (standing, decision)
            if standing.settled and to_a_person:
                assert decision.to is State.NEEDS_REVIEW


def test_a_no_holds_unless_the_provider_shows_it_cancelled_after_all() -> None:
    for standing, happened, decision in of_reads():
        if standing.state is State.REFUSED:
            contradicted = happened == GONE
            assert decision.to is (State.NEEDS_REVIEW if contradicted else State.REFUSED)
            assert contradicted or decision.code == standing.code


def test_who_cancelled_what_the_provider_said_no_to_is_told_by_no_read() -> None:
    for standing, happened, decision in of_reads():
        if standing.state is State.NEEDS_REVIEW and standing.code == "contradicted":
            assert (decision.to, decision.due_in) == (State.NEEDS_REVIEW, None), happened


def test_a_no_that_was_only_said_is_looked_at_again_after_anything_can_have_settled() -> None:
    assert all(
        one.settle + one.read_lag < outcomes.LOOKS_AFTER_A_NO[0] for one in ADAPTERS.values()
    )
    for standing, happened, decision in everything():
        said = standing.state is State.SENDING and isinstance(happened, Refused)
        looked = standing.state is State.UNKNOWN and standing.settled is None
        if decision.to is State.REFUSED and (said or looked):
            assert decision.due_in is not None, (standing, happened)


def test_looks_at_a_no_come_to_an_end() -> None:
    for read in READS:
        if read != GONE:
            due = [
                outcomes.after_read(Standing(State.REFUSED, "forbidden", reads=reads), read).due_in
                for reads in range(8)
            ]
            assert due[-1] is None
            assert due[0] == (5.0 if read == FAILED_READ else 300.0)


def test_nobody_sends_again_what_a_person_has_stopped() -> None:
    for standing, happened, decision in everything():
        if standing.stopping and decision.to is State.QUEUED:
            # Credentials, an interruption: sent back, and withdrawn with the rest of its batch.
            assert decision.code in ("credentials", "interrupted"), (standing, happened)


def test_a_cancellation_is_never_made_undone_only_looked_at_again_or_reviewed() -> None:
    for standing, _, decision in of_reads():
        if standing.state is State.CANCELLED:
            assert decision.to in (State.CANCELLED, State.NEEDS_REVIEW)
        if decision.to is State.NEEDS_REVIEW and standing.state is State.CANCELLED:
            assert standing.code == "disagrees"


def test_every_read_brings_an_attempt_nearer_to_its_end() -> None:
    for start, read in product((UNKNOWN, NO_REASON, ACCEPTED), READS):
        standing = replace(start, reads=0)
        for _ in range(len(outcomes.POLL_DELAYS) + 1):
            decision = outcomes.after_read(standing, read)
            if decision.to is not standing.state:
                break
            standing = replace(standing, code=decision.code, reads=standing.reads + 1)
        else:
            pytest.fail(f"{start} goes on for ever by {read}")


@given(
    sends=st.integers(0, 3),
    errors=st.lists(st.sampled_from(ERRORS), min_size=1, max_size=12),
    read=st.sampled_from(READS),
)
def test_no_sequence_of_ends_sends_more_than_three_times(
    sends: int, errors: list[ProviderError], read: Read
) -> None:
    standing = Standing(State.SENDING, sends=sends)
    for error in errors:
        if standing.state is not State.SENDING:
            return
        left = not isinstance(error, NotSent | CredentialsRejected)
        standing = replace(standing, sends=standing.sends + left)
        assert standing.sends <= max(sends + 1, outcomes.MOST_SENDS)
        decision = outcomes.after_error(standing, error, backoff=1.0)
        if decision.to is State.UNKNOWN:
            looked = replace(standing, state=State.UNKNOWN, doubted=True, settled=True)
            decision = outcomes.after_read(looked, read)
        if decision.to is State.QUEUED and isinstance(error, TryLater | OutcomeUnknown):
            assert standing.sends < outcomes.MOST_SENDS
        queued = decision.to is State.QUEUED
        standing = replace(standing, state=State.SENDING if queued else decision.to)


# --- row by row -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("confirmed", "proven", "expected"),
    [
        (True, True, Decision(State.CANCELLED, evidence="answer", verified=True, doubt=False)),
        (True, False, Decision(State.CANCELLED, due_in=SETTLE, evidence="answer", doubt=False)),
        (False, False, Decision(State.ACCEPTED, due_in=2.0, doubt=True)),
    ],
)
def test_an_answer(confirmed: bool, proven: bool, expected: Decision) -> None:
    assert (
        outcomes.after_answer(SENDING, confirmed=confirmed, proven=proven, settle=SETTLE)
        == expected
    )


@pytest.mark.parametrize(
    ("standing", "error", "expected"),
    [
        # Provably not sent: again, and failed after the third time.
        (SENDING, NotSent("dns", ""), (State.QUEUED, "dns", BACKOFF)),
        (replace(SENDING, unsent=1), NotSent("dns", ""), (State.QUEUED, "dns", BACKOFF)),
        (replace(SENDING, unsent=2), NotSent("dns", ""), (State.FAILED, "dns", None)),
        (replace(SENDING, stopping=True), NotSent("dns", ""), (State.WITHDRAWN, "stopped", None)),
        # For reasons of our own: again at once, and not counted.
        (
            replace(SENDING, unsent=2),
            NotSent("lease_lost", ""),
            (State.QUEUED, "lease_lost", 0.0),
        ),
        (SENDING, NotSent("bad_reference", ""), (State.REFUSED, "invalid", None)),
        # 429.
        (
            SENDING,
            TryLater("", retry_after=None, status=429),
            (State.QUEUED, "rate_limited", BACKOFF),
        ),
        (
            SENDING,
            TryLater("", retry_after=90.0, status=429),
            (State.QUEUED, "rate_limited", 90.0),
        ),
        (
            SENDING,
            TryLater("", retry_after=1.0, status=429),
            (State.QUEUED, "rate_limited", BACKOFF),
        ),
        (
            replace(SENDING, sends=3),
            TryLater("", retry_after=None, status=429),
            (State.FAILED, "rate_limited", None),
        ),
        # 401 twice.
        (SENDING, CredentialsRejected(""), (State.QUEUED, "credentials", BACKOFF)),
        # 403, 404, and the provider's own code.
        (SENDING, Refused("forbidden", ""), (State.REFUSED, "forbidden", 1.0)),
        (SENDING, Refused("not_found", ""), (State.REFUSED, "not_found", 1.0)),
        (SENDING, Refused("paid", ""), (State.REFUSED, "paid", 1.0)),
        (SENDING, Refused("already_cancelled", ""), (State.ALREADY_CANCELLED, "", None)),
        (
            replace(SENDING, doubted=True),
            Refused("already_cancelled", ""),
            (State.CANCELLED, "", None),
        ),
        # 400, 409, 422 without a code that can be relied on.
        (
            SENDING,
            ReadToDecide("decide_by_reading", ""),
            (State.UNKNOWN, "decide_by_reading", 1.0),
        ),
        (
            replace(SENDING, together=True),
            ReadToDecide("decide_by_reading", "", status=400),
            (State.UNKNOWN, "refused_together", 5.0),
        ),
        # 408, 5xx, 3xx, a timeout, a cut or strange answer.
        (SENDING, OutcomeUnknown("server_error", ""), (State.UNKNOWN, "server_error", 5.0)),
        (SENDING, OutcomeUnknown("redirect", ""), (State.UNKNOWN, "redirect", 5.0)),
        (SENDING, OutcomeUnknown("timeout", ""), (State.UNKNOWN, "timeout", 5.0)),
        (
            replace(SENDING, stopping=True),
            OutcomeUnknown("timeout", ""),
            (State.UNKNOWN, "timeout", 5.0),
        ),
        (
            SENDING,
            outcomes.no_answer(),
            (State.UNKNOWN, "unexpected_answer", 5.0),
        ),
    ],
)
def test_an_error(
    standing: Standing, error: ProviderError, expected: tuple[State, str, float | None]
) -> None:
    decision = outcomes.after_error(standing, error, backoff=BACKOFF)
    assert (decision.to, decision.code, decision.due_in) == expected


def test_an_interruption() -> None:
    back, doubt = outcomes.after_interruption(CLAIMED), outcomes.after_interruption(SENDING)
    assert (back.to, back.doubt) == (State.QUEUED, None)
    assert (doubt.to, doubt.doubt, doubt.due_in) == (State.UNKNOWN, True, 5.0)


UNSETTLED = replace(UNKNOWN, settled=False, settles_in=60.0)


@pytest.mark.parametrize(
    ("standing", "read", "to", "code", "due_in"),
    [
        # What was in doubt, once a read counts.
        (UNKNOWN, GONE, State.CANCELLED, "", None),
        (UNKNOWN, OPEN, State.QUEUED, "not_carried_out", 1.0),
        (replace(UNKNOWN, sends=3), OPEN, State.FAILED, "not_carried_out", None),
        (replace(UNKNOWN, stopping=True), OPEN, State.WITHDRAWN, "stopped", None),
        (replace(UNKNOWN, stopping=True), GONE, State.CANCELLED, "", None),
        (UNKNOWN, PAID, State.REFUSED, "paid", None),
        (UNKNOWN, PART_PAID, State.REFUSED, "partially_paid", None),
        (UNKNOWN, CREDITED, State.NEEDS_REVIEW, "credited", outcomes.DAY),
        (UNKNOWN, PENDING, State.REFUSED, "payment_pending", None),
        (UNKNOWN, MISSING, State.NEEDS_REVIEW, "vanished", outcomes.DAY),
        (UNKNOWN, STRANGE, State.UNKNOWN, "timeout", 5.0),
        (UNKNOWN, FAILED_READ, State.UNKNOWN, "timeout", 5.0),
        (replace(UNKNOWN, reads=3), FAILED_READ, State.UNKNOWN, "timeout", 600.0),
        (replace(UNKNOWN, reads=7), FAILED_READ, State.NEEDS_REVIEW, "undecided", outcomes.DAY),
        # Before that only what is never undone.
        (UNSETTLED, GONE, State.CANCELLED, "", None),
        (UNSETTLED, PAID, State.UNKNOWN, "timeout", 5.0),
        (UNSETTLED, PART_PAID, State.UNKNOWN, "timeout", 5.0),
        (UNSETTLED, CREDITED, State.UNKNOWN, "timeout", 5.0),
        (UNSETTLED, OPEN, State.UNKNOWN, "timeout", 5.0),
        (UNSETTLED, PENDING, State.UNKNOWN, "timeout", 5.0),
        (UNSETTLED, MISSING, State.UNKNOWN, "timeout", 5.0),
        (replace(UNSETTLED, reads=2), OPEN, State.UNKNOWN, "timeout", 60.0),
        (replace(UNSETTLED, reads=5), OPEN, State.UNKNOWN, "timeout", 60.0),
        (replace(UNSETTLED, stopping=True), OPEN, State.UNKNOWN, "timeout", 5.0),
        # A no without a reason: the invoice itself says why.
        (NO_REASON, GONE, State.ALREADY_CANCELLED, "", None),
        (replace(NO_REASON, doubted=True), GONE, State.CANCELLED, "", None),
        (NO_REASON, OPEN, State.REFUSED, "invalid", 300.0),
        (NO_REASON, PAID, State.REFUSED, "paid", 300.0),
        (NO_REASON, CREDITED, State.REFUSED, "paid", 300.0),
        (NO_REASON, MISSING, State.REFUSED, "not_found", 300.0),
        (NO_REASON, FAILED_READ, State.UNKNOWN, "decide_by_reading", 5.0),
        # Accepted: only the invoice decides.
        (ACCEPTED, GONE, State.CANCELLED, "", None),
        (ACCEPTED, PAID, State.REFUSED, "paid", None),
        (ACCEPTED, CREDITED, State.NEEDS_REVIEW, "credited", outcomes.DAY),
        (replace(ACCEPTED, settled=False), PAID, State.ACCEPTED, "", 2.0),
        (ACCEPTED, OPEN, State.ACCEPTED, "", 2.0),
        (ACCEPTED, MISSING, State.NEEDS_REVIEW, "vanished", outcomes.DAY),
        (replace(ACCEPTED, settled=False), MISSING, State.ACCEPTED, "", 2.0),
        (replace(ACCEPTED, reads=11), OPEN, State.NEEDS_REVIEW, "never_confirmed", outcomes.DAY),
        # Verification: twice, and two looks before raising the alarm.
        (CANCELLED, GONE, State.CANCELLED, "", outcomes.DAY),
        (replace(CANCELLED, verified=True), GONE, State.CANCELLED, "", None),
        (replace(CANCELLED, code="disagrees"), GONE, State.CANCELLED, "", outcomes.DAY),
        (CANCELLED, OPEN, State.CANCELLED, "disagrees", outcomes.SECOND_LOOK),
        (CANCELLED, MISSING, State.CANCELLED, "disagrees", outcomes.SECOND_LOOK),
        (
            replace(CANCELLED, code="disagrees"),
            OPEN,
            State.NEEDS_REVIEW,
            "disagrees",
            outcomes.DAY,
        ),
        (CANCELLED, FAILED_READ, State.CANCELLED, "", 5.0),
        (replace(CANCELLED, code="disagrees"), STRANGE, State.CANCELLED, "disagrees", 5.0),
        # Under review: daily for a week, and only proof ends it.
        (REVIEW, GONE, State.CANCELLED, "", None),
        (REVIEW, PAID, State.REFUSED, "paid", None),
        (REVIEW, CREDITED, State.NEEDS_REVIEW, "undecided", outcomes.DAY),
        (replace(REVIEW, settled=False), PAID, State.NEEDS_REVIEW, "undecided", outcomes.DAY),
        (replace(REVIEW, code="disagrees"), PAID, State.NEEDS_REVIEW, "disagrees", outcomes.DAY),
        (REVIEW, OPEN, State.NEEDS_REVIEW, "undecided", outcomes.DAY),
        (replace(REVIEW, reads=7), OPEN, State.NEEDS_REVIEW, "undecided", None),
    ],
)
def test_a_read(standing: Standing, read: Read, to: State, code: str, due_in: float | None) -> None:
    decision = outcomes.after_read(standing, read)
    assert (decision.to, decision.code, decision.due_in) == (to, code, due_in)
    if to in (State.CANCELLED, State.ALREADY_CANCELLED) and standing.state is not to:
        assert decision.evidence == ("read_back" if to is State.CANCELLED else "")


@pytest.mark.parametrize(
    ("standing", "read", "changed", "expected"),
    [
        (CLAIMED, OPEN, "", None),
        (CLAIMED, OPEN, "amount_changed", (State.SKIPPED, "amount_changed")),
        (CLAIMED, PAID, "paid", (State.SKIPPED, "paid")),
        (CLAIMED, PENDING, "", (State.SKIPPED, "payment_pending")),
        (CLAIMED, GONE, "cancelled", (State.ALREADY_CANCELLED, "")),
        (replace(CLAIMED, doubted=True), GONE, "cancelled", (State.CANCELLED, "")),
        (CLAIMED, MISSING, "", (State.REFUSED, "not_found")),
        (CLAIMED, FAILED_READ, "", (State.QUEUED, "unreadable")),
        (replace(CLAIMED, reads=6), FAILED_READ, "", (State.FAILED, "unreadable")),
        (replace(CLAIMED, stopping=True), FAILED_READ, "", (State.WITHDRAWN, "stopped")),
    ],
)
def test_a_read_before_the_cancel(
    standing: Standing, read: Read, changed: str, expected: tuple[State, str] | None
) -> None:
    decision = outcomes.before_cancel(standing, read, changed=changed)
    assert (decision and (decision.to, decision.code)) == expected
