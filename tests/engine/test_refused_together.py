"""A no without a reason to one call about several: each is asked for again, by itself."""

from collections import Counter
from collections.abc import Iterator

import pytest
from pytest_django import Settings

from invoices import batches, drain
from invoices.models import CancellationAttempt, CancellationBatch
from invoices.models.attempt import State, Step
from providers.models import ProviderAccount
from providers.sandbox.running import SandboxServer
from tests import invariants
from tests.engine.scene import PACE, Scene

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _quick(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.PACE = PACE
    monkeypatch.setattr("providers.http.READ_SECONDS", 0.4)
    yield


@pytest.fixture
def scene(sandbox: SandboxServer) -> Scene:
    made = Scene(sandbox, "teos-ledger", invoices=5)
    made.control.switch(teos_delay=0.02)
    return made


def ends(scene: Scene, batch: CancellationBatch) -> dict[str, tuple[str, str]]:
    """How each ended, by its reference; what the provider saw agrees with it."""
    found = {
        one.invoice.external_id: (one.state, one.code or one.evidence)
        for one in scene.drained(batch)
    }
    invariants.check(scene.control)
    return found


def sizes(scene: Scene) -> Counter[int]:
    """How many calls were about how many invoices."""
    return Counter(len(entry["ids"]) for entry in scene.cancels())


@pytest.mark.parametrize("status", ["400", "409", "422"])
def test_only_the_one_that_is_refused_by_itself_is_refused(status: str, scene: Scene) -> None:
    bad = scene.references[2]
    scene.control.set_fault(status, scene.name, bad, times=None)

    found = ends(scene, scene.started())

    assert found.pop(bad) == ("refused", "invalid")
    assert set(found.values()) == {("cancelled", "read_back")}
    assert sizes(scene) == {5: 1, 1: 5}


def test_when_the_call_as_such_was_refused_all_of_them_are_cancelled(scene: Scene) -> None:
    scene.control.set_fault("400", scene.name)
    assert set(ends(scene, scene.started()).values()) == {("cancelled", "read_back")}
    assert sizes(scene) == {5: 1, 1: 5}


def test_what_is_refused_together_and_by_itself_costs_two_calls_each(scene: Scene) -> None:
    scene.control.set_fault("422", scene.name, times=None)
    assert set(ends(scene, scene.started()).values()) == {("refused", "invalid")}
    assert sizes(scene) == {5: 1, 1: 5}


def test_never_more_than_three_sends(scene: Scene) -> None:
    """Lost, lost, and refused together: that was the third."""
    scene.control.set_fault("rst_after_request", scene.name, times=2)
    scene.control.set_fault("400", scene.name, times=None)
    assert set(ends(scene, scene.started()).values()) == {("failed", "not_carried_out")}
    assert sizes(scene) == {5: 3}


def test_one_by_one_a_lost_answer_is_sent_by_itself_again(scene: Scene) -> None:
    lost = scene.references[0]
    scene.control.set_fault("400", scene.name)
    scene.control.set_fault("rst_after_request", scene.name, lost)
    assert set(ends(scene, scene.started()).values()) == {("cancelled", "read_back")}
    assert sizes(scene) == {5: 1, 1: 6}
    assert CancellationAttempt.objects.get(invoice__external_id=lost).sends == 3


def test_nothing_is_sent_again_before_a_read_could_show_what_the_refused_call_did(
    scene: Scene, settings: Settings
) -> None:
    settings.PACE = 0.01  # Settled after 0.8 s.
    scene.control.set_fault("400", scene.name, applied="later", delay=0.4)
    assert set(ends(scene, scene.started()).values()) == {("cancelled", "read_back")}
    assert sizes(scene) == {5: 1}


@pytest.mark.parametrize(
    ("change", "end"),
    [("pay", ("refused", "paid")), ("cancel_elsewhere", ("cancelled", "read_back"))],
)
def test_what_changed_meanwhile_is_not_sent_again(
    change: str, end: tuple[str, str], scene: Scene
) -> None:
    scene.control.set_fault("400", scene.name)
    batch = scene.started()
    while not scene.cancels():
        drain.run(scene.account.pk, 0.05)
    scene.control.change(scene.name, scene.references[0], change)
    found = ends(scene, batch)
    assert found[scene.references[0]] == end
    assert len(scene.cancels(scene.references[0])) == 1


def test_a_stop_between_withdraws_what_a_read_shows_undone(scene: Scene) -> None:
    batch = scene.started()
    scene.control.set_fault("400", scene.name)
    while not scene.cancels():
        drain.run(scene.account.pk, 0.05)
    batch.refresh_from_db()
    if batch.state == "running":
        batches.stop(batch, scene.operator)
    assert set(ends(scene, batch).values()) == {("withdrawn", "stopped")}


def test_an_address_that_is_not_known_ends_none_of_several(scene: Scene) -> None:
    """A 404 of TEOS is about the address; once a person has mended that, the batch goes on."""
    scene.control.set_fault("404", scene.name)
    batch = scene.started()
    scene.drained(batch)
    scene.account.refresh_from_db()
    assert scene.account.pause_code == "bad_address"
    ProviderAccount.objects.update(paused_at=None)
    assert set(ends(scene, batch).values()) == {("cancelled", "read_back")}


def test_that_it_is_sent_by_itself_outlasts_a_drain_that_dies_with_it_in_hand(
    scene: Scene,
) -> None:
    batch = scene.started()
    CancellationAttempt.objects.update(alone=True, sends=1, doubted=True)
    rows = batch.attempts.all()
    rows.move_all(Step(State.QUEUED, State.CLAIMED))
    assert set(ends(scene, batch).values()) == {("cancelled", "read_back")}
    assert sizes(scene) == {1: 5}
