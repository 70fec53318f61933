"""A drain that is killed, or stands still past its lease: as a process, on the test's database."""

import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models.functions import Now
from pytest_django import Settings

from invoices.models import CancellationAttempt, CancellationBatch
from invoices.supervision import Child
from providers.models import ProviderAccount
from providers.sandbox.running import SandboxServer
from tests import invariants
from tests.engine.scene import PACE, Scene
from tests.processes import MANAGE, environment, running, until

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


@pytest.fixture(autouse=True)
def _quick(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.PACE = PACE
    monkeypatch.setattr("providers.http.READ_SECONDS", 0.4)


@contextmanager
def drain_process(scene: Scene, var: Path, lease: int = 120) -> Iterator[Child]:
    """`manage.py drain` on the scene's account."""
    env = environment(
        var,
        scene.origin,
        PACE=str(PACE),
        DRAIN_SECONDS="2",
        DRAIN_LEASE_SECONDS=str(lease),
    )
    command = (*MANAGE, "drain", scene.name, "--seconds", "20")
    with running(*command, env=env, log=var / "drain.log") as child:
        yield child


def killed(scene: Scene, var: Path, cancels: int) -> None:
    """A drain that dies once so many more cancels have arrived."""
    before = len(scene.cancels())
    with drain_process(scene, var) as child:
        until(lambda: len(scene.cancels()) >= before + cancels)
        child.kill()
    # As time does, by the database's clock.
    past = Now() - timedelta(seconds=1)
    ProviderAccount.objects.filter(lease_expires_at__isnull=False).update(lease_expires_at=past)


def ends(scene: Scene, batch: CancellationBatch) -> set[tuple[str, str]]:
    """How the attempts end by further drains; the invariants hold before and after."""
    invariants.check(scene.control)
    attempts = scene.drained(batch)
    invariants.check(scene.control)
    assert batch.state == "finished"
    return {(one.state, one.evidence) for one in attempts}


@pytest.mark.parametrize("name", ["paypal-europe", "teos-ledger"])
@pytest.mark.parametrize(("applied", "sends"), [("before", 2), ("after", 1)])
def test_killed_while_it_waits_for_an_answer_that_never_comes(
    name: str, applied: str, sends: int, sandbox: SandboxServer, tmp_path: Path
) -> None:
    scene = Scene(sandbox, name)
    scene.control.switch(teos_delay=0.05)
    batch = scene.started()
    scene.control.set_fault("read_timeout", name, applied=applied)
    killed(scene, tmp_path, 1)
    assert CancellationAttempt.objects.get().state == "sending"
    [(state, evidence)] = ends(scene, batch)
    assert state == "cancelled"
    assert evidence == ("answer" if sends == 2 and name != "teos-ledger" else "read_back")
    assert len(scene.cancels()) == sends


def test_killed_between_the_first_byte_and_the_answer_that_is_on_its_way(
    sandbox: SandboxServer, tmp_path: Path
) -> None:
    scene = Scene(sandbox)
    batch = scene.started()
    scene.control.set_fault("slow", scene.name, delay=1.0)
    killed(scene, tmp_path, 1)
    assert ends(scene, batch) == {("cancelled", "read_back")}
    assert len(scene.cancels()) == 1


def test_killed_again_and_again_in_the_middle_of_a_batch(
    sandbox: SandboxServer, tmp_path: Path
) -> None:
    scene = Scene(sandbox, invoices=50, rate_per_second=100.0)
    batch = scene.started()
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    scene.control.switch(latency=0.02)
    try:
        for _ in range(3):
            killed(scene, tmp_path, dice.randint(1, 12))
            invariants.check(scene.control)
    finally:
        scene.control.switch(latency=0.0)
    assert {state for state, _ in ends(scene, batch)} == {"cancelled"}
    assert len(scene.cancels()) == 50


def test_one_that_stood_still_past_its_lease_sends_nothing_more(
    sandbox: SandboxServer, tmp_path: Path
) -> None:
    scene = Scene(sandbox, invoices=20, rate_per_second=4.0, concurrency=4)
    batch = scene.started()
    with drain_process(scene, tmp_path, lease=3) as child:
        until(lambda: len(scene.cancels()) >= 2)
        os.killpg(child.pid, signal.SIGSTOP)
        held = ProviderAccount.objects.filter(lease_expires_at__gt=Now())
        until(lambda: not held.exists(), 10)
        ProviderAccount.objects.update(rate_per_second=1000.0)
        assert ends(scene, batch) >= {("cancelled", "answer")}
        last = scene.control.log()[-1]["seq"]
        os.killpg(child.pid, signal.SIGCONT)
        assert child.wait(15)
    assert not scene.control.log(last)
    assert len(scene.cancels()) == 20
    invariants.check(scene.control)
