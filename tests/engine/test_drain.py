"""The drain under bad luck: changes that come between, takeovers, storms, a database that fails."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import accumulate
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.db.models.functions import Now
from pytest_django import Settings

from invoices import batches, calls, drain, due, intents, resting, settling, sync, waking
from invoices.calls import Done, Job
from invoices.drain import Drain
from invoices.lease import Lease
from invoices.models import (
    CancellationAttempt,
    CancellationBatch,
    HistoryEvent,
    Invoice,
    ProviderRequest,
    ProviderResponse,
)
from invoices.models.attempt import IllegalMove, State, Step
from invoices.recorder import DirectRecorder
from invoices.settling import Settling
from providers.adapters.base import Adapter, Found
from providers.errors import NotSent, OutcomeUnknown, TryLater
from providers.exchange import Exchange
from providers.identity import uuid7
from providers.models import ProviderAccount
from providers.sandbox.running import SandboxServer
from tests import invariants
from tests.engine.scene import PACE, Scene
from tests.processes import until

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _quick(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.PACE = PACE
    monkeypatch.setattr("providers.http.READ_SECONDS", 0.4)


def read_anew(scene: Scene) -> None:
    """An import brings our copies up to date."""
    adapter = scene.account.connect(DirectRecorder(scene.account))
    for reference in scene.references:
        found = adapter.fetch([reference])
        sync.apply_remote(
            scene.account.pk, list(found.invoices.values()), Lease(scene.account.pk, 60).now()
        )
    adapter.client.close()


def settling_of(scene: Scene) -> tuple[Settling, Lease]:
    """The hands of a drain that holds the lease, without its loop."""
    lease = Lease(scene.account.pk, 60)
    assert lease.acquire()
    return Settling(scene.account, lease), lease


def adapter_of(scene: Scene) -> Adapter:
    """To ask the provider beside the drain."""
    return scene.account.connect(DirectRecorder(scene.account))


def expire(account: ProviderAccount) -> None:
    """As if the holder of the lease had been gone for long."""
    ProviderAccount.objects.filter(pk=account.pk).update(
        lease_expires_at=Now() - timedelta(seconds=1)
    )


def advance(attempt: CancellationAttempt, *states: State, **changes: Any) -> CancellationAttempt:
    """Take these steps one after the other."""
    for to in states:
        attempt.refresh_from_db()
        assert CancellationAttempt.objects.move(
            [attempt], Step(State(attempt.state), to, changes=changes)
        )
    attempt.refresh_from_db()
    return attempt


# --- what was shown is what runs ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["paypal-europe", "visa-harbour"])
def test_an_invoice_that_an_import_found_changed_after_the_confirmation_is_skipped(
    name: str, sandbox: SandboxServer
) -> None:
    scene = Scene(sandbox, name)
    batch = scene.started()
    scene.control.change(name, scene.references[0], "change_amount")
    read_anew(scene)

    [attempt] = scene.drained(batch)

    assert (attempt.state, attempt.code) == ("skipped", "amount_changed")
    assert not scene.cancels()
    invariants.check(scene.control)


# --- two drains -----------------------------------------------------------------------------------


def test_a_read_of_a_drain_that_lost_its_lease_decides_nothing(sandbox: SandboxServer) -> None:
    scene = Scene(sandbox)
    attempt = scene.started().attempts.get()
    advance(attempt, State.CLAIMED, State.SENDING, State.UNKNOWN)
    frozen, _ = settling_of(scene)
    found = adapter_of(scene).fetch(scene.references)
    frozen.take(Done(Job("read", [attempt], started=time.monotonic()), found))
    expire(scene.account)
    _, taken_over = settling_of(scene)

    frozen.flush()

    attempt.refresh_from_db()
    assert (attempt.state, attempt.code) == ("unknown", "")
    taken_over.release()


def test_a_late_look_again_does_not_undo_what_the_next_drain_wrote(sandbox: SandboxServer) -> None:
    scene = Scene(sandbox)
    attempt = scene.started().attempts.get()
    advance(attempt, State.CLAIMED, State.SENDING, State.UNKNOWN)
    frozen, _ = settling_of(scene)
    frozen.take(Done(Job("read", [attempt], started=time.monotonic()), OutcomeUnknown("x", "y")))
    expire(scene.account)
    _, next_lease = settling_of(scene)
    advance(attempt, State.QUEUED, State.CLAIMED, State.SENDING, lease_token=next_lease.token)
    CancellationAttempt.objects.filter(pk=attempt.pk).update(sends=2)

    frozen.flush()

    attempt.refresh_from_db()
    assert (attempt.lease_token, attempt.sends, attempt.reads) == (next_lease.token, 2, 0)


def test_a_late_answer_is_kept_and_sets_no_state(sandbox: SandboxServer) -> None:
    scene = Scene(sandbox)
    attempt = scene.started().attempts.get()
    frozen, lease = settling_of(scene)
    advance(attempt, State.CLAIMED, State.SENDING, lease_token=lease.token)
    request = ProviderRequest.objects.create(
        id=uuid7(),
        account=scene.account,
        purpose="cancel",
        method="POST",
        url="",
        headers=b"[]",
        body=b"",
    )
    attempt = CancellationAttempt.objects.select_related("batch", "invoice").get()
    frozen.answered(Exchange(request.pk, True, 204, (), b"", True, "", "", 1))
    answer = adapter_of(scene).cancel(scene.references, {})
    frozen.take(Done(Job("cancel", [attempt], left=1), answer))
    expire(scene.account)
    successor, _ = settling_of(scene)
    successor.settle_interrupted()

    frozen.flush()

    attempt.refresh_from_db()
    assert (attempt.state, attempt.code) == ("unknown", "interrupted")
    assert ProviderResponse.objects.get(request=request).status == 204


def test_a_late_answer_does_not_end_what_the_next_drain_is_sending(sandbox: SandboxServer) -> None:
    scene = Scene(sandbox)
    attempt = scene.started().attempts.get()
    frozen, lease = settling_of(scene)
    advance(attempt, State.CLAIMED, State.SENDING, lease_token=lease.token)
    held = CancellationAttempt.objects.select_related("batch", "invoice").get()
    error = TryLater("Fewer calls.", retry_after=None, status=429)
    frozen.take(Done(Job("cancel", [held], left=1), error))
    expire(scene.account)
    _, theirs = settling_of(scene)
    advance(attempt, State.UNKNOWN, State.QUEUED, State.CLAIMED, lease_token=theirs.token)
    advance(attempt, State.SENDING)

    frozen.flush()

    attempt.refresh_from_db()
    assert (attempt.state, attempt.lease_token) == ("sending", theirs.token)


def test_a_request_on_record_does_not_leave_once_the_lease_is_lost(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(sandbox, invoices=3)
    scene.started()
    since = scene.control.log()[-1]["seq"]
    monkeypatch.setattr(Lease, "is_good", lambda self: False)
    drain.run(scene.account.pk, 0.3)
    assert not scene.control.log(since)
    assert set(ProviderResponse.objects.filter(request__purpose="token").values_list("fault")) == {
        ("",),
        ("lease_lost",),
    }
    invariants.check(scene.control)


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_of_two_drains_at_once_one_works(sandbox: SandboxServer) -> None:
    scene = Scene(sandbox, invoices=12)
    batch = scene.started()
    both = [in_thread(lambda: drain.run(scene.account.pk, 5.0)) for _ in range(2)]
    for thread in both:
        thread.join(20)
    assert {one.state for one in scene.drained(batch)} == {"cancelled"}
    assert len(scene.cancels()) == 12
    invariants.check(scene.control)


def in_thread(work: Callable[[], object]) -> threading.Thread:
    """Run this beside the test, with a connection of its own."""

    def body() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=body)
    thread.start()
    return thread


# --- verification ---------------------------------------------------------------------------------


def disagreeing(scene: Scene) -> CancellationAttempt:
    """A cancellation on an answer, of an invoice that reads open again."""
    [attempt] = scene.drained(scene.started())
    assert attempt.state == "cancelled"
    scene.control.set_status(scene.name, scene.references[0], "open")
    return attempt


def test_a_verification_that_disagrees_twice_is_for_a_person_to_look_at(
    sandbox: SandboxServer,
) -> None:
    scene = Scene(sandbox, "monite-nord")
    attempt = disagreeing(scene)
    gives_up = time.monotonic() + 10
    while attempt.state == "cancelled" and time.monotonic() < gives_up:
        CancellationAttempt.objects.update(due_at=Now())
        drain.run(scene.account.pk, 1.0)
        attempt.refresh_from_db()
    assert (attempt.state, attempt.code) == ("needs_review", "disagrees")
    assert attempt.due_at is not None


def test_a_disagreeing_read_does_not_stand_in_the_way_of_a_newer_attempt(
    sandbox: SandboxServer,
) -> None:
    scene = Scene(sandbox)
    attempt = disagreeing(scene)
    read_anew(scene)
    newer = scene.started()
    batches.pause(newer, scene.operator)
    CancellationAttempt.objects.filter(pk=attempt.pk).update(code="disagrees", due_at=Now())

    drain.run(scene.account.pk, 1.0)

    attempt.refresh_from_db()
    assert attempt.state == "cancelled"
    assert attempt.due_at is not None
    assert attempt.due_at > Lease(scene.account.pk, 60).now()


def test_a_cancellation_is_verified_twice_and_then_left_alone(sandbox: SandboxServer) -> None:
    scene = Scene(sandbox)
    [attempt] = scene.drained(scene.started())
    for _ in range(2):
        CancellationAttempt.objects.filter(due_at__isnull=False).update(due_at=Now())
        drain.run(scene.account.pk, 1.0)
    attempt.refresh_from_db()
    assert (attempt.state, attempt.due_at) == ("cancelled", None)
    assert attempt.verified_at is not None
    verified = HistoryEvent.objects.filter(kind="attempt_verified", attempt=attempt)
    assert verified.count() == 1


# --- a database that fails ------------------------------------------------------------------------


def losing_the_news_of_commits(monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    """So many flushes are committed while the news of it is lost; returns how many are left."""
    left = [times]

    class Lossy:
        @staticmethod
        @contextmanager
        def atomic() -> Iterator[None]:
            with transaction.atomic():
                yield
            if left[0]:
                left[0] -= 1
                raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(settling, "transaction", Lossy)
    monkeypatch.setattr(drain, "close_old_connections", lambda: None)
    return left


def test_a_flush_whose_commit_was_not_heard_of_is_repeated_without_harm(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(sandbox, invoices=3)
    batch = scene.started()
    with monkeypatch.context() as patch:
        left = losing_the_news_of_commits(patch, 1)
        drain.run(scene.account.pk, 2.0)
        assert left == [0]
    assert [one.state for one in scene.drained(batch)] == ["cancelled"] * 3
    assert len(scene.cancels()) == 3
    invariants.check(scene.control)


def test_a_request_that_cannot_be_stored_costs_no_answer_that_is_in(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(sandbox, invoices=40)
    batch = scene.started()
    real, count = intents.write_requests, [0]

    def failing(waiting: Any, account_id: int) -> None:
        count[0] += 1
        if count[0] == 6:
            raise OperationalError("the database system is shutting down")
        real(waiting, account_id)

    monkeypatch.setattr(intents, "write_requests", failing)
    monkeypatch.setattr(drain, "close_old_connections", lambda: None)
    drain.run(scene.account.pk, 5.0)
    assert count[0] >= 6
    assert not CancellationAttempt.objects.filter(state__in=["claimed", "sending"]).exists()
    assert {one.state for one in scene.drained(batch)} == {"cancelled"}
    assert len(scene.cancels()) == 40
    assert ProviderResponse.objects.count() == ProviderRequest.objects.count()
    invariants.check(scene.control)


def test_a_mistake_in_what_follows_costs_no_answer(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(sandbox)
    batch = scene.started()

    def mistaken(*_: object) -> None:
        raise IllegalMove("claimed -> accepted")

    monkeypatch.setattr(drain, "close_old_connections", lambda: None)
    with monkeypatch.context() as patch:
        patch.setattr(Settling, "_write_verdicts", mistaken)
        with pytest.raises(IllegalMove):
            drain.run(scene.account.pk, 2.0)
    answered = ProviderResponse.objects.filter(request__purpose="cancel")
    assert [one.status for one in answered] == [204]
    [attempt] = scene.drained(batch)
    assert (attempt.state, attempt.evidence) == ("cancelled", "read_back")
    invariants.check(scene.control)


def test_with_the_database_gone_for_good_nothing_is_sent_twice(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(sandbox, invoices=4)
    batch = scene.started()

    real = Settling.flush

    def gone(self: Settling) -> set[int]:
        if self.waiting:
            raise OperationalError("no route to host")
        return real(self)

    with monkeypatch.context() as patch:
        patch.setattr(Settling, "flush", gone)
        patch.setattr(drain, "close_old_connections", lambda: None)
        patch.setattr(time, "sleep", lambda _: None)
        with pytest.raises(OperationalError):
            drain.run(scene.account.pk, 2.0)
    assert len(scene.cancels()) == 4
    ends = {(one.state, one.evidence) for one in scene.drained(batch)}
    assert ends == {("cancelled", "read_back")}
    assert len(scene.cancels()) == 4
    invariants.check(scene.control)


def test_a_drain_that_breaks_off_with_reads_under_way_ends_at_once(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(sandbox, "kantata-studio", invoices=3)
    batch = scene.started()
    scene.control.set_fault("slow", scene.name, kind="fetch", delay=0.3)
    since = scene.control.log()[-1]["seq"]
    real = Drain._look_around

    def failing(self: Drain) -> None:
        if scene.control.log(since):
            raise OperationalError("terminating connection")
        real(self)

    with monkeypatch.context() as patch:
        patch.setattr(Drain, "_look_around", failing)
        began = time.monotonic()
        with pytest.raises(OperationalError):
            drain.run(scene.account.pk, 2.0)
        assert time.monotonic() - began < 10
    assert set(batch.attempts.values_list("state", flat=True)) == {"queued"}
    assert {one.state for one in scene.drained(batch)} == {"cancelled"}


@pytest.mark.parametrize("message", ["half \ud800 a pair", "a \0 in it", "x" * 10_000])
def test_any_message_can_be_stored(message: str, sandbox: SandboxServer) -> None:
    scene = Scene(sandbox)
    attempt = scene.started().attempts.get()
    advance(attempt, State.CLAIMED, State.SENDING, State.UNKNOWN)
    made, _ = settling_of(scene)
    made.take(Done(Job("read", [attempt], started=time.monotonic()), OutcomeUnknown("x", message)))
    made.flush()
    attempt.refresh_from_db()
    assert len(attempt.message) <= 300
    exchange = Exchange(uuid7(), True, None, (), b"", False, "timeout", message, 1)
    ProviderRequest.objects.create(
        id=exchange.request_id,
        account=scene.account,
        purpose="fetch",
        method="GET",
        url="",
        headers=b"[]",
        body=b"",
    )
    made.answered(exchange)
    made.flush()
    resting.pause(scene.account, "forbidden", message)


# --- resting, pausing, probing --------------------------------------------------------------------


def test_an_account_paused_while_it_rests_sends_nothing_when_it_wakes(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(sandbox, invoices=3, concurrency=1)
    batch = scene.started()
    scene.control.set_fault("429_then_ok", scene.name, retry_after="1")
    monkeypatch.setattr(drain, "LOOK_SECONDS", 0.4)
    paused_at: list[int] = []
    real = Drain._look_around

    def watched(self: Drain) -> None:
        real(self)
        rests = self._health.rest.left
        if not paused_at and 0 < rests < 0.25:
            paused_at.append(scene.control.log()[-1]["seq"])
            resting.pause(scene.account, "person", "A person wants to look.")

    monkeypatch.setattr(Drain, "_look_around", watched)
    drain.run(scene.account.pk, 4.0)

    assert paused_at
    assert not scene.control.log(paused_at[0], kind="cancel")
    assert batch.attempts.filter(state="queued").exists()


def test_of_two_times_to_wait_the_longer_one_holds(sandbox: SandboxServer) -> None:
    scene = Scene(sandbox)
    lease = Lease(scene.account.pk, 60)
    assert lease.acquire()
    working = Drain(scene.account, lease)
    error = NotSent("x", "y")
    working._health.leave_alone(600, "rate_limited", error)
    working._health.leave_alone(1, "rate_limited", error)
    scene.account.refresh_from_db()
    assert scene.account.resting_until is not None
    assert scene.account.resting_until > lease.now() + timedelta(seconds=500)
    assert working._health.rest.left > 500


def test_a_provider_that_answers_nonsense_is_probed_now_and_then_only(
    sandbox: SandboxServer, settings: Settings
) -> None:
    settings.PACE = 1.0
    scene = Scene(sandbox, breaker_trips=1)
    batch = scene.started()
    scene.control.set_fault("html_200", scene.name, kind="list", times=None)
    before = len(scene.control.log())
    drain.run(scene.account.pk, 1.0)
    assert 1 <= len(scene.control.log()) - before <= 4
    scene.account.refresh_from_db()
    assert scene.account.resting_reason == "breaker"
    assert batch.attempts.get().state == "queued"


def test_a_failing_provider_is_left_alone_and_tried_again_by_a_read(
    sandbox: SandboxServer, settings: Settings
) -> None:
    scene = Scene(sandbox, invoices=20, concurrency=2)
    batch = scene.started()
    scene.control.set_fault("503", scene.name, kind="any", times=None)
    before = len(scene.control.log())
    settings.PACE = 1.0
    drain.run(scene.account.pk, 1.0)
    scene.account.refresh_from_db()
    assert (scene.account.resting_reason, scene.account.breaker_trips) == ("breaker", 1)
    assert len(scene.control.log()) - before <= 10

    settings.PACE = PACE
    scene.control.clear_faults()
    ProviderAccount.objects.update(resting_until=None)
    CancellationAttempt.objects.filter(due_at__isnull=False).update(due_at=Now())
    assert {one.state for one in scene.drained(batch)} == {"cancelled"}
    scene.account.refresh_from_db()
    assert scene.account.breaker_trips == 0


def test_a_storm_of_429_stops_the_account_and_costs_no_more_than_the_calls_under_way(
    sandbox: SandboxServer,
) -> None:
    scene = Scene(sandbox, invoices=60, concurrency=4)
    batch = scene.started()
    scene.control.set_fault("429_forever", scene.name, retry_after="600")
    drain.run(scene.account.pk, 3.0)
    assert 1 <= len(scene.cancels()) <= 8
    assert set(batch.attempts.values_list("state", flat=True)) == {"queued"}
    invariants.check(scene.control)


# --- stopping and pausing a batch -----------------------------------------------------------------


@pytest.mark.parametrize("then", ["stop", "pause"])
@pytest.mark.parametrize("name", ["paypal-europe", "teos-ledger"])
def test_a_batch_stopped_between_the_claim_and_the_send_sends_nothing(
    name: str, then: str, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(sandbox, name, invoices=3)
    batch = scene.started()
    real = Drain._claim_queued

    def claim(self: Drain, most: int) -> list[CancellationAttempt]:
        claimed = real(self, most)
        if claimed:
            batch.refresh_from_db()
            getattr(batches, then)(batch, scene.operator)
        return claimed

    monkeypatch.setattr(Drain, "_claim_queued", claim)
    drain.run(scene.account.pk, 2.0)

    batch.refresh_from_db()
    states = set(batch.attempts.values_list("state", flat=True))
    assert not scene.cancels()
    if then == "stop":
        assert (batch.state, states) == ("finished", {"withdrawn"})
    else:
        assert (batch.state, states) == ("paused", {"queued"})
    invariants.check(scene.control)


def test_what_was_turned_away_for_its_token_is_not_sent_again_once_the_batch_is_paused(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(sandbox)
    batch = scene.started()
    scene.control.set_fault("401_once", scene.name)
    real = Settling.answered

    def answered(self: Settling, exchange: Exchange) -> None:
        real(self, exchange)
        if exchange.status == 401:
            batches.pause(CancellationBatch.objects.get(), scene.operator)

    monkeypatch.setattr(Settling, "answered", answered)
    drain.run(scene.account.pk, 2.0)
    attempt = batch.attempts.get()
    assert (attempt.state, len(scene.cancels())) == ("queued", 1)
    invariants.check(scene.control)

    batch.refresh_from_db()
    batches.resume(batch, scene.operator)
    assert [one.state for one in scene.drained(batch)] == ["cancelled"]
    assert len(scene.cancels()) == 2


def test_what_another_drain_gave_back_is_not_claimed_while_it_is_in_hand(
    sandbox: SandboxServer,
) -> None:
    scene = Scene(sandbox, invoices=2)
    scene.started()
    first, second = CancellationAttempt.objects.order_by("pk")
    lease = Lease(scene.account.pk, 60)
    assert lease.acquire()
    assert [one.pk for one in due.claim(scene.account.pk, lease, {first.pk}, 10)] == [second.pk]


def test_an_attempt_that_is_named_twice_takes_a_step_once(sandbox: SandboxServer) -> None:
    scene = Scene(sandbox)
    attempt = scene.started().attempts.get()
    step = Step(State.QUEUED, State.CLAIMED)
    assert CancellationAttempt.objects.move([attempt, attempt], step) == {attempt.pk}
    assert HistoryEvent.objects.filter(to_state="claimed").count() == 1


@pytest.mark.parametrize("applied", ["before", "after"])
def test_a_stop_leaves_what_is_in_doubt_to_a_read(applied: str, sandbox: SandboxServer) -> None:
    scene = Scene(sandbox)
    batch = scene.started()
    scene.control.set_fault("fin_after_request", scene.name, applied=applied)
    while not scene.cancels():
        drain.run(scene.account.pk, 0.1)
    batch.refresh_from_db()
    if batch.state == "running":
        batches.stop(batch, scene.operator)
    [attempt] = scene.drained(batch)
    expected = "withdrawn" if applied == "before" else "cancelled"
    assert (attempt.state, batch.state) == (expected, "finished")
    assert len(scene.cancels()) == 1
    invariants.check(scene.control)


def test_a_stopped_batch_whose_drain_died_just_then_ends_too(sandbox: SandboxServer) -> None:
    scene = Scene(sandbox)
    batch = scene.started()
    attempt = advance(batch.attempts.get(), State.CLAIMED)
    batches.stop(batch, scene.operator)
    advance(attempt, State.QUEUED)
    waking.tidy_up()
    batch.refresh_from_db()
    attempt.refresh_from_db()
    assert (batch.state, attempt.state) == ("finished", "withdrawn")


# --- the calls ------------------------------------------------------------------------------------


def under_way(log: list[dict[str, Any]]) -> list[int]:
    """How many requests the provider was working on, each time that one arrived or left."""
    moments = sorted(
        [(one["started"], 1) for one in log] + [(one["finished"], -1) for one in log],
    )
    return list(accumulate(step for _, step in moments))


def test_no_more_calls_are_under_way_than_allowed_however_many_are_on_record(
    sandbox: SandboxServer,
) -> None:
    scene = Scene(sandbox, invoices=40, concurrency=3, rate_per_second=1000.0)
    batch = scene.started()
    scene.control.set_fault("slow", scene.name, times=None, delay=0.05)
    before = len(scene.control.log())
    assert {one.state for one in scene.drained(batch)} == {"cancelled"}
    assert max(under_way(scene.control.log()[before:])) == 3


def test_what_waits_on_record_for_its_turn_is_not_sent_once_the_drain_ends(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(sandbox, invoices=12, concurrency=2, rate_per_second=1000.0)
    batch = scene.started()
    scene.control.set_fault("slow", scene.name, times=None, delay=1.0)

    def ending(self: Drain) -> None:
        if len(scene.cancels()) == 2:
            self._ends = 0.0

    monkeypatch.setattr(Drain, "_look_around", ending)
    drain.run(scene.account.pk, 20.0)
    cancels = ProviderRequest.objects.filter(purpose="cancel")
    assert cancels.filter(response__sent=True).count() == len(scene.cancels()) == 2
    assert cancels.filter(response__sent=False).count() == 2
    assert batch.attempts.filter(state="queued").count() == 10

    monkeypatch.undo()
    scene.control.clear_faults()
    assert {one.state for one in scene.drained(batch)} == {"cancelled"}
    assert len(scene.cancels()) == 12
    invariants.check(scene.control)


def test_an_answer_of_401_that_was_cut_off_counts_as_sent() -> None:
    job = Job("cancel")
    calls._note(job, Exchange(uuid7(), True, 401, (), b"", False, "connection_lost", "", 1))
    assert (job.left, job.doubtful) == (1, True)


def test_a_cancel_that_failed_before_anything_was_stored_was_not_sent(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(sandbox)
    adapter = scene.account.connect(DirectRecorder(scene.account))

    def lost(*_: object) -> None:
        raise OutcomeUnknown("timeout", "A sign-in came to nothing.")

    monkeypatch.setattr(adapter, "cancel", lost)
    result = calls._result(adapter, Job("cancel", [scene.started().attempts.get()]))
    assert isinstance(result, NotSent)
    result = calls._result(adapter, Job("cancel", [CancellationAttempt.objects.get()], stored=1))
    assert isinstance(result, OutcomeUnknown)


def test_a_read_that_answers_for_others_decides_nothing(sandbox: SandboxServer) -> None:
    scene = Scene(sandbox, invoices=2)
    attempt = scene.started().attempts.get(invoice__external_id=scene.references[0])
    advance(attempt, State.CLAIMED, State.SENDING, State.UNKNOWN)
    made, _ = settling_of(scene)
    other = adapter_of(scene).fetch(scene.references[1:])
    made.take(Done(Job("read", [attempt], started=time.monotonic()), Found(other.invoices)))
    made.flush()
    attempt.refresh_from_db()
    assert (attempt.state, attempt.reads) == ("unknown", 1)


# --- the whole way --------------------------------------------------------------------------------


def test_a_group_of_fifty_with_every_kind_of_end(sandbox: SandboxServer) -> None:
    scene = Scene(sandbox, "teos-ledger", invoices=50)
    scene.control.switch(teos_delay=0.05)
    batch = scene.started()
    name, refs = scene.name, scene.references
    scene.control.pay(name, refs[0])
    scene.control.cancel_elsewhere(name, refs[1])
    scene.control.delete(name, refs[2])
    scene.control.change(name, refs[3], "change_amount")
    Invoice.objects.filter(external_id=refs[4]).update(external_id="no such form")
    attempts = {one.invoice.external_id: one for one in scene.drained(batch)}
    assert [(attempts[key].state, attempts[key].code) for key in [*refs[:4], "no such form"]] == [
        ("skipped", "paid"),
        ("already_cancelled", ""),
        ("refused", "not_found"),
        ("skipped", "amount_changed"),
        ("refused", "invalid"),
    ]
    assert {attempts[key].state for key in refs[5:]} == {"cancelled"}
    assert len(scene.cancels()) == 1
    assert batch.state == "finished"
    invariants.check(scene.control)


@pytest.mark.parametrize(
    ("world", "end"),
    [("pay", ("refused", "paid")), ("delete", ("needs_review", "vanished"))],
)
def test_a_doubtful_send_followed_by_another_change(
    world: str, end: tuple[str, str], sandbox: SandboxServer
) -> None:
    scene = Scene(sandbox)
    batch = scene.started()
    scene.control.set_fault(
        "fin_after_request", scene.name, scene.references[0], world=world, world_when="after"
    )
    [attempt] = scene.drained(batch)
    assert (attempt.state, attempt.code) == end
    assert len(scene.cancels()) == 1
    invariants.check(scene.control)


@pytest.mark.parametrize("name", ["paypal-europe", "monite-nord", "teos-ledger"])
def test_answers_lost_for_ever_end_after_three_sends_with_a_read_before_each(
    name: str, sandbox: SandboxServer
) -> None:
    scene = Scene(sandbox, name)
    batch = scene.started()
    scene.control.set_fault("rst_after_request", name, times=None)
    [attempt] = scene.drained(batch)
    assert (attempt.state, attempt.code) == ("failed", "not_carried_out")
    assert len(scene.cancels()) == 3
    invariants.check(scene.control)


def test_a_request_that_takes_effect_after_we_gave_up_is_not_sent_again(
    sandbox: SandboxServer, settings: Settings
) -> None:
    settings.PACE = 0.02
    scene = Scene(sandbox)
    batch = scene.started()
    # Settled after 120 s, which is 2.4 s here.
    scene.control.set_fault("fin_after_request", scene.name, applied="later", delay=1.5)
    [attempt] = scene.drained(batch)
    assert (attempt.state, attempt.evidence) == ("cancelled", "read_back")
    assert len(scene.cancels()) == 1
    invariants.check(scene.control)


@pytest.mark.parametrize("fault", ["500_json", "502", "503", "504", "408", "html_200", "302"])
def test_a_failing_answer_after_the_provider_had_acted_is_read_back(
    fault: str, sandbox: SandboxServer
) -> None:
    scene = Scene(sandbox, "monite-nord")
    batch = scene.started()
    scene.control.set_fault(fault, scene.name, applied="after")
    drain.run(scene.account.pk, 2.0)
    ProviderAccount.objects.update(paused_at=None)
    [attempt] = scene.drained(batch)
    assert (attempt.state, attempt.evidence) == ("cancelled", "read_back")
    assert len(scene.cancels()) == 1
    invariants.check(scene.control)


def test_when_no_read_succeeds_a_person_has_to_look(sandbox: SandboxServer) -> None:
    scene = Scene(sandbox)
    batch = scene.started()
    scene.control.set_fault("rst_after_request", scene.name)
    scene.control.set_fault("bad_gzip", scene.name, kind="fetch", times=None)
    gives_up = time.monotonic() + 20
    while batch.attempts.get().state != "needs_review" and time.monotonic() < gives_up:
        ProviderAccount.objects.update(resting_until=None, breaker_trips=0)
        CancellationAttempt.objects.filter(state="unknown").update(due_at=Now())
        drain.run(scene.account.pk, 0.5)
    attempt = batch.attempts.get()
    assert (attempt.state, attempt.code) == ("needs_review", "undecided")
    assert attempt.due_at is not None
    assert len(scene.cancels()) == 1
    invariants.check(scene.control)


def test_a_rate_is_kept_from_the_first_request_to_the_last(sandbox: SandboxServer) -> None:
    scene = Scene(sandbox, invoices=25, rate_per_second=20.0)
    since = scene.control.log()[-1]["seq"]
    scene.drained(scene.started())
    times = [one["started"] for one in scene.control.log(since)]
    for first in range(len(times)):
        within = sum(1 for at in times[first:] if at - times[first] <= 1.0)
        # A second's worth, the burst, and what a busy machine lets through late.
        assert within <= 20 + 10 + 8


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
@pytest.mark.parametrize("answers", [1, 9])
def test_a_connection_to_the_database_that_is_cut_costs_no_answer_and_no_lease(
    answers: int, sandbox: SandboxServer
) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("only a server can cut a connection")
    scene = Scene(sandbox, invoices=30, rate_per_second=60.0)
    batch = scene.started()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = cursor.fetchone()[0]

    def cut() -> None:
        until(lambda: len(scene.cancels()) >= answers)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [backend])

    cutting = in_thread(cut)
    with suppress(OperationalError):
        drain.run(scene.account.pk, 5.0)
    cutting.join(10)
    scene.account.refresh_from_db()
    assert scene.account.lease_expires_at is None
    sent = ProviderRequest.objects.filter(purpose="cancel", response=None)
    assert not sent.exists()
    assert {one.state for one in scene.drained(batch)} == {"cancelled"}
    assert len(scene.cancels()) == 30
    invariants.check(scene.control)
