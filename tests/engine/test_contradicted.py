"""A provider that says no in its own words, and shows the invoice cancelled after all."""

import time
from collections.abc import Iterator

import pytest
from django.db.models.functions import Now
from django.utils import timezone
from pytest_django import Settings

from invoices import batches, drain
from invoices.absorb import apply_remote
from invoices.models import CancellationAttempt, HistoryEvent, Invoice
from invoices.models.attempt import WORKING, State, Step
from invoices.recorder import DirectRecorder
from providers.models import ProviderAccount
from providers.sandbox.running import SandboxServer
from tests import invariants
from tests.engine.scene import PACE, Scene

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _quick(settings: Settings) -> Iterator[None]:
    settings.PACE = PACE
    yield


def said_no(scene: Scene) -> CancellationAttempt:
    """The newest attempt, once the provider has said no to it."""
    attempt = CancellationAttempt.objects.latest("pk")
    while attempt.state in WORKING:
        drain.run(scene.account.pk, 0.05)
        attempt.refresh_from_db()
    return attempt


def looked_at_again(scene: Scene, times: int = 1) -> CancellationAttempt:
    """The attempt after so many further looks; a person has resumed the account if need be."""
    due = CancellationAttempt.objects.filter(due_at__isnull=False)
    for _ in range(times):
        ProviderAccount.objects.update(paused_at=None)
        due.update(due_at=Now())
        # However slow the machine: until nothing is due any more.
        while due.filter(due_at__lte=Now(), account__paused_at=None).exists():
            drain.run(scene.account.pk, 0.2)
    return CancellationAttempt.objects.get()


@pytest.mark.parametrize("name", ["paypal-europe", "kantata-studio", "teos-ledger"])
def test_a_no_that_was_carried_out_all_the_same_is_for_a_person(
    name: str, sandbox: SandboxServer
) -> None:
    scene = Scene(sandbox, name)
    batch = scene.started()
    scene.control.switch(teos_delay=0.0)
    scene.control.set_fault("403", name, applied="after")
    said_no(scene)

    attempt = looked_at_again(scene)

    assert (attempt.state, attempt.code) == ("needs_review", "contradicted")
    assert Invoice.objects.get().status == "cancelled"
    assert len(scene.cancels()) == 1
    batch.refresh_from_db()
    assert batch.state == "finished"
    invariants.check(scene.control)


def test_nobody_knows_who_did_it_so_no_further_read_ends_it(sandbox: SandboxServer) -> None:
    scene = Scene(sandbox)
    scene.started()
    scene.control.set_fault("404", scene.name, applied="after")
    said_no(scene)
    attempt = looked_at_again(scene, times=3)
    assert (attempt.state, attempt.code) == ("needs_review", "contradicted")
    assert attempt.due_at is None


@pytest.mark.parametrize("status", ["400", "409", "422"])
def test_a_no_without_a_reason_that_is_carried_out_later_is_found_out(
    status: str, sandbox: SandboxServer, settings: Settings
) -> None:
    settings.PACE = 0.02  # The first look after 0.02 s, the next after 6 s.
    scene = Scene(sandbox, "monite-nord")
    scene.started()
    scene.control.set_fault(status, scene.name, applied="later", delay=4.0)
    attempt = said_no(scene)
    assert (attempt.state, attempt.code) == ("refused", "invalid")
    while attempt.due_at is not None:
        drain.run(scene.account.pk, 1.0)
        time.sleep(0.1)
        attempt.refresh_from_db()
    assert (attempt.state, attempt.code) == ("needs_review", "contradicted")
    invariants.check(scene.control)


def test_a_no_that_holds_is_looked_at_three_times_and_then_left_alone(
    sandbox: SandboxServer,
) -> None:
    scene = Scene(sandbox)
    scene.started()
    scene.control.set_fault("404", scene.name)
    said_no(scene)
    attempt = looked_at_again(scene, times=4)
    assert (attempt.state, attempt.code, attempt.due_at) == ("refused", "not_found", None)
    assert len(scene.control.log(kind="fetch", account=scene.name)) <= 1 + 3


def test_a_look_that_fails_is_repeated(sandbox: SandboxServer) -> None:
    scene = Scene(sandbox)
    scene.started()
    scene.control.set_fault("404", scene.name, applied="after")
    scene.control.set_fault("500_json", scene.name, kind="fetch", times=3)
    said_no(scene)
    attempt = looked_at_again(scene, times=4)
    assert (attempt.state, attempt.code) == ("needs_review", "contradicted")


def test_a_newer_attempt_goes_before(sandbox: SandboxServer) -> None:
    scene = Scene(sandbox)
    scene.started()
    scene.control.set_fault("404", scene.name, applied="later", delay=0.5)
    refused = said_no(scene)
    newer = scene.started()
    batches.pause(newer, scene.operator)
    scene.control.cancel_elsewhere(scene.name, scene.references[0])
    CancellationAttempt.objects.filter(pk=refused.pk).update(due_at=Now())
    drain.run(scene.account.pk, 0.2)
    refused.refresh_from_db()
    assert refused.state == "refused"
    assert refused.due_at is not None


# --- the import -----------------------------------------------------------------------------------


def imported(scene: Scene) -> HistoryEvent:
    """An import finds the invoice cancelled; what it put on record of that."""
    adapter = scene.account.connect(DirectRecorder(scene.account))
    found = adapter.fetch(scene.references)
    adapter.client.close()
    apply_remote(scene.account.pk, list(found.invoices.values()), timezone.now())
    event: HistoryEvent = HistoryEvent.objects.get(kind="invoice_status", to_state="cancelled")
    return event


def test_an_import_that_finds_a_refused_one_cancelled_says_so(sandbox: SandboxServer) -> None:
    scene = Scene(sandbox)
    batch = scene.started()
    scene.control.set_fault("404", scene.name)
    said_no(scene)
    attempt = looked_at_again(scene, times=4)
    scene.control.cancel_elsewhere(scene.name, scene.references[0])

    event = imported(scene)

    assert (event.attempt_id, event.batch_id, event.code) == (attempt.pk, batch.pk, "contradicted")
    attempt.refresh_from_db()
    assert attempt.state == "refused"


@pytest.mark.parametrize("to", [State.SKIPPED, State.WITHDRAWN])
def test_an_import_says_nothing_of_an_attempt_that_was_never_sent(
    to: State, sandbox: SandboxServer
) -> None:
    scene = Scene(sandbox)
    batch = scene.started()
    batch.attempts.all().move_all(Step(State.QUEUED, to, changes={"due_at": None}))
    scene.control.cancel_elsewhere(scene.name, scene.references[0])
    event = imported(scene)
    assert (event.attempt_id, event.code) == (None, "")


def test_an_import_goes_by_the_last_attempt(sandbox: SandboxServer) -> None:
    """Refused at first; what is cancelled now, the second attempt may have done."""
    scene = Scene(sandbox)
    scene.started()
    scene.control.set_fault("404", scene.name)
    said_no(scene)
    scene.started()
    scene.control.set_fault("rst_after_request", scene.name, applied="after")
    while CancellationAttempt.objects.latest("pk").state != "unknown":
        drain.run(scene.account.pk, 0.02)
    assert CancellationAttempt.objects.earliest("pk").state == "refused"
    assert imported(scene).code == ""
