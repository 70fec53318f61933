"""Every failpoint is passed; a drain that dies or breaks there leaves what the next one settles."""

import ast
import signal
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.db.models.functions import Now
from pytest_django import Settings

from invoices import failpoints
from invoices.models import CancellationBatch
from providers.models import ProviderAccount
from providers.sandbox.running import SandboxServer
from tests import invariants
from tests.engine.scene import PACE, Scene
from tests.processes import MANAGE, ROOT, environment, running

AROUND_COMMITS = [
    "drain.before_claim_commits",
    "drain.before_intent_commits",
    "settling.before_flush_commits",
    "settling.after_flush",
]
ELSEWHERE = [
    "drain.after_lease",
    "drain.after_claim",
    "drain.after_precheck",
    "drain.after_intent",
    "calls.before_write",
    "calls.after_answer",
    "drain.before_record",
    "settling.after_answers",
    "drain.before_give_back",
    "drain.before_release",
]
BREAKABLE = ["drain.before_intent_commits", "settling.before_flush_commits"]
on_sqlite = pytest.mark.skipif(
    connection.vendor != "sqlite", reason="once is enough: no transaction is open there"
)


def in_the_code() -> set[str]:
    """The names that the engine passes."""
    found = set()
    for path in (ROOT / "invoices").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "failpoint":
                [name] = node.args
                assert isinstance(name, ast.Constant)
                assert isinstance(name.value, str)
                found.add(name.value)
    return found


def test_every_failpoint_is_tested_here() -> None:
    assert in_the_code() == {*AROUND_COMMITS, *ELSEWHERE}


def passed(scene: Scene, var: Path, point: str) -> int | None:
    """The exit status of a drain with this armed, which must be reached."""
    env = environment(var, scene.origin, PACE=str(PACE), DRAIN_SECONDS="2", ANNUL_FAILPOINTS=point)
    log = var / "drain.log"
    with running(*MANAGE, "drain", scene.name, "--seconds", "4", env=env, log=log) as child:
        assert child.wait(30)
        child.kill()
        name, action, *_ = point.split(":")
        assert f"failpoint {name}: {action}" in log.read_text()
        return child.status


def ends_well(scene: Scene, batch: CancellationBatch) -> None:
    """Further drains end every attempt; the invariants hold before and after."""
    invariants.check(scene.control)
    # As time does, by the database's clock.
    past = Now() - timedelta(seconds=1)
    ProviderAccount.objects.filter(lease_expires_at__isnull=False).update(lease_expires_at=past)
    attempts = scene.drained(batch)
    invariants.check(scene.control)
    assert batch.state == "finished"
    assert {one.state for one in attempts} == {"cancelled"}


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
@pytest.mark.parametrize(
    "name", [*AROUND_COMMITS, *(pytest.param(name, marks=on_sqlite) for name in ELSEWHERE)]
)
def test_a_drain_that_is_killed_there_is_carried_on(
    name: str, sandbox: SandboxServer, settings: Settings, tmp_path: Path
) -> None:
    settings.PACE = PACE
    # Monite is read before it is told to cancel, so that a drain passes all places.
    scene = Scene(sandbox, "monite-nord", invoices=4)
    batch = scene.started()
    assert passed(scene, tmp_path, f"{name}:kill") == -signal.SIGKILL
    ends_well(scene, batch)


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
@pytest.mark.parametrize("name", BREAKABLE)
def test_a_drain_that_breaks_there_is_carried_on(
    name: str, sandbox: SandboxServer, settings: Settings, tmp_path: Path
) -> None:
    settings.PACE = PACE
    scene = Scene(sandbox, "monite-nord", invoices=4)
    batch = scene.started()
    assert passed(scene, tmp_path, f"{name}:raise") != 0
    ends_well(scene, batch)


@pytest.mark.parametrize("given", ["drain.after_claim", "x:explode", "x:kill:0", "x:kill:soon"])
def test_what_cannot_be_meant_is_refused(given: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="NAME:kill"):
        failpoints.parse(given)


def test_it_strikes_once_and_at_the_time_of_passing_that_was_asked_for() -> None:
    armed = failpoints.Armed(failpoints.parse("one:raise:2, other:raise"))
    armed("one")
    armed("unknown")
    with pytest.raises(failpoints.FailpointReached):
        armed("one")
    armed("one")


def test_unarmed_it_is_nothing_and_in_production_it_refuses_to_start() -> None:
    assert failpoints.armed_by("", local=False) is None
    with pytest.raises(ImproperlyConfigured, match="leave it out"):
        failpoints.armed_by("one:kill", local=False)
    assert failpoints.armed_by("one:kill", local=True) is not None
