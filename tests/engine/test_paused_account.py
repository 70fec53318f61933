"""A paused account: what a dead drain left there is settled, and nothing is asked of anybody."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from pytest_django import Settings

from invoices import batches, drain, waking
from invoices.lease import Lease
from invoices.models import CancellationAttempt, CancellationBatch, HistoryEvent
from invoices.models.attempt import State, Step
from providers.models import ProviderAccount
from providers.sandbox.running import SandboxServer
from tests import invariants
from tests.engine.scene import PACE, Scene

pytestmark = pytest.mark.django_db

PAUSED = {"paused_at": Now(), "pause_code": "by_hand"}
RESTING = {"resting_until": Now() + timedelta(hours=1), "resting_reason": "breaker"}
UNREADABLE = {"sealed_credentials": b"nonsense"}


@pytest.fixture(autouse=True)
def _quick(settings: Settings) -> Iterator[None]:
    settings.PACE = PACE
    yield


def left_behind(batch: CancellationBatch, *steps: State) -> CancellationAttempt:
    """The first queued attempt, as a drain that is gone had it in hand."""
    attempt = batch.attempts.filter(state=State.QUEUED)[0]
    changes = {"lease_token": Lease(attempt.account_id, 60).token}
    at = State.QUEUED
    for to in steps:
        assert CancellationAttempt.objects.move([attempt], Step(at, to, changes=changes))
        at = to
    return attempt


def state_of(attempt: CancellationAttempt) -> tuple[str, str]:
    attempt.refresh_from_db()
    return attempt.state, attempt.code


@pytest.mark.parametrize("of_account", [PAUSED, RESTING], ids=["paused", "resting"])
def test_what_a_dead_drain_left_is_settled_without_a_call(
    of_account: dict[str, object], sandbox: SandboxServer
) -> None:
    scene = Scene(sandbox, invoices=3)
    batch = scene.started()
    claimed = left_behind(batch, State.CLAIMED)
    sending = left_behind(batch, State.CLAIMED, State.SENDING)
    ProviderAccount.objects.update(**of_account)
    since = scene.control.log()[-1]["seq"]

    assert waking.accounts_due() == [scene.account.pk]
    assert drain.run(scene.account.pk, 0.3) is False

    assert state_of(claimed) == ("queued", "interrupted")
    assert state_of(sending) == ("unknown", "interrupted")
    assert sending.due_at is not None
    assert sending.doubted
    assert sending.settled_at is not None
    assert not scene.control.log(since)
    scene.account.refresh_from_db()
    assert scene.account.lease_expires_at is None


@pytest.mark.parametrize("of_account", [PAUSED, RESTING], ids=["paused", "resting"])
def test_an_account_with_nothing_but_doubt_is_not_woken_again(
    of_account: dict[str, object], sandbox: SandboxServer
) -> None:
    scene = Scene(sandbox)
    attempt = left_behind(scene.started(), State.CLAIMED, State.SENDING)
    ProviderAccount.objects.update(**of_account)
    drain.run(scene.account.pk, 0.3)
    CancellationAttempt.objects.update(due_at=Now() - timedelta(hours=1))

    assert state_of(attempt)[0] == "unknown"
    assert waking.accounts_due() == []


def test_of_a_stopped_batch_the_unsent_ends_and_the_doubtful_waits(sandbox: SandboxServer) -> None:
    scene = Scene(sandbox, invoices=2)
    batch = scene.started()
    claimed = left_behind(batch, State.CLAIMED)
    sending = left_behind(batch, State.CLAIMED, State.SENDING)
    ProviderAccount.objects.update(**PAUSED)
    batches.stop(batch, scene.operator)

    drain.run(scene.account.pk, 0.3)

    batch.refresh_from_db()
    assert (state_of(claimed), state_of(sending)) == (
        ("withdrawn", "stopped"),
        ("unknown", "interrupted"),
    )
    assert batch.state == "stopping"
    ProviderAccount.objects.update(paused_at=None)
    assert {one.state for one in scene.drained(batch)} == {"withdrawn"}
    assert batch.state == "finished"
    assert not scene.cancels()
    invariants.check(scene.control)


@pytest.mark.parametrize("of_account", [PAUSED, RESTING, UNREADABLE])
def test_a_stopped_batch_of_which_nothing_left_is_finished(
    of_account: dict[str, object], sandbox: SandboxServer
) -> None:
    scene = Scene(sandbox, invoices=2)
    batch = scene.started()
    left_behind(batch, State.CLAIMED)
    ProviderAccount.objects.update(**of_account)
    batches.stop(batch, scene.operator)

    drain.run(scene.account.pk, 0.3)

    batch.refresh_from_db()
    assert batch.state == "finished"
    assert set(batch.attempts.values_list("state", flat=True)) == {"withdrawn"}
    assert not scene.cancels()


@pytest.mark.parametrize("of_account", [PAUSED, RESTING], ids=["paused", "resting"])
def test_what_came_back_unsent_after_the_stop_ends_although_nobody_finished_the_batch(
    of_account: dict[str, object], sandbox: SandboxServer
) -> None:
    scene = Scene(sandbox)
    batch = scene.started()
    attempt = left_behind(batch, State.CLAIMED)
    ProviderAccount.objects.update(**of_account)
    batches.stop(batch, scene.operator)
    # As by a drain that died between giving back and closing the batch.
    changes = {"due_at": Now(), "lease_token": None}
    CancellationAttempt.objects.move([attempt], Step(State.CLAIMED, State.QUEUED, changes=changes))

    drain.run(scene.account.pk, 0.3)

    batch.refresh_from_db()
    assert (batch.state, state_of(attempt)) == ("finished", ("withdrawn", "stopped"))


def test_the_attempts_of_a_live_drain_stay_in_its_hand(sandbox: SandboxServer) -> None:
    scene = Scene(sandbox)
    attempt = left_behind(scene.started(), State.CLAIMED, State.SENDING)
    holder = Lease(scene.account.pk, 60)
    assert holder.acquire()
    ProviderAccount.objects.update(**PAUSED)

    assert waking.accounts_due() == []
    drain.run(scene.account.pk, 0.3)

    assert state_of(attempt)[0] == "sending"
    holder.release()


def test_after_the_pause_the_doubt_is_cleared_by_reading(sandbox: SandboxServer) -> None:
    scene = Scene(sandbox)
    batch = scene.started()
    attempt = left_behind(batch, State.CLAIMED, State.SENDING)
    ProviderAccount.objects.update(**PAUSED)
    drain.run(scene.account.pk, 0.3)
    scene.control.cancel_elsewhere(scene.name, scene.references[0])
    ProviderAccount.objects.update(paused_at=None)

    scene.drained(batch)

    assert state_of(attempt) == ("cancelled", "")
    assert HistoryEvent.objects.filter(attempt=attempt, code="interrupted").count() == 1
    assert not scene.cancels()
