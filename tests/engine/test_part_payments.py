"""Monite: a payment, or another change, while the outcome of our cancel is not known.

Cancelling credits what is left, and a partly paid invoice reads `paid` then instead of `canceled`.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db.models.functions import Now
from pytest_django import Settings

from invoices import drain
from invoices.models import CancellationAttempt, CancellationBatch, HistoryEvent
from providers.sandbox.running import SandboxServer
from tests import invariants
from tests.engine.scene import Scene

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _quick(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.PACE = 0.01  # Settled after 1.2 s; the first read comes after 0.05 s.
    monkeypatch.setattr("providers.http.READ_SECONDS", 0.4)
    yield


@pytest.fixture
def scene(sandbox: SandboxServer) -> Scene:
    made = Scene(sandbox, "monite-nord")
    made.control.switch(monite_partially_paid="paid")
    return made


def in_doubt(scene: Scene, **fault: Any) -> CancellationBatch:
    """A batch whose cancel has arrived and whose answer is lost."""
    batch = scene.started()
    scene.control.set_fault("rst_after_request", scene.name, **fault)
    while not scene.cancels():
        drain.run(scene.account.pk, 0.02)
    return batch


def end(scene: Scene, batch: CancellationBatch) -> tuple[str, str]:
    """How its only attempt ends, by one cancel; the provider's log agrees with it."""
    [attempt] = scene.drained(batch)
    assert len(scene.cancels()) == 1
    invariants.check(scene.control)
    return attempt.state, attempt.code


def states(batch: CancellationBatch) -> list[str]:
    """All states that the attempt has been in since it was in doubt."""
    events = HistoryEvent.objects.filter(batch=batch, kind="attempt_state").order_by("id")
    passed = list(events.values_list("to_state", flat=True))
    return passed[passed.index("unknown") :]


def test_paid_in_part_meanwhile_is_refused_once_our_request_can_act_no_more(scene: Scene) -> None:
    batch = in_doubt(scene)
    scene.control.pay_part(scene.name, scene.references[0])
    assert end(scene, batch) == ("refused", "partially_paid")
    attempt = batch.attempts.get()
    refused = HistoryEvent.objects.get(attempt=attempt, to_state="refused")
    doubted = HistoryEvent.objects.get(attempt=attempt, to_state="unknown")
    assert (refused.at - doubted.at).total_seconds() >= 1.2


def test_paid_in_part_and_then_cancelled_by_our_late_request_is_for_a_person(scene: Scene) -> None:
    batch = in_doubt(scene, applied="later", delay=0.7)
    scene.control.pay_part(scene.name, scene.references[0])
    assert end(scene, batch) == ("needs_review", "credited")
    assert states(batch) == ["unknown", "needs_review"]


@pytest.mark.parametrize("flow", ["compliant", "non_compliant"])
def test_paid_in_part_before_our_request_acted_is_for_a_person(flow: str, scene: Scene) -> None:
    scene.control.switch(monite_edit_flow=flow)
    batch = in_doubt(scene, applied="after", world="pay_part")
    assert end(scene, batch) == ("needs_review", "credited")


def test_paid_in_part_and_then_in_full_by_the_customer_is_refused_as_paid(scene: Scene) -> None:
    batch = in_doubt(scene)
    scene.control.pay_part(scene.name, scene.references[0])
    drain.run(scene.account.pk, 0.3)
    assert batch.attempts.get().state == "unknown"
    scene.control.pay(scene.name, scene.references[0])
    assert end(scene, batch) == ("refused", "paid")
    assert states(batch) == ["unknown", "refused"]


def test_under_review_a_rest_that_was_credited_stays_with_a_person(scene: Scene) -> None:
    batch = in_doubt(scene, applied="after", world="pay_part")
    assert end(scene, batch) == ("needs_review", "credited")
    CancellationAttempt.objects.update(due_at=Now())
    drain.run(scene.account.pk, 0.3)
    attempt = batch.attempts.get()
    assert (attempt.state, attempt.code, attempt.reads) == ("needs_review", "credited", 1)


@pytest.mark.parametrize(
    ("status", "code"),
    [("draft", "draft"), ("written_off", "written_off"), ("issuing", "scheduled")],
)
def test_another_status_counts_once_our_request_can_act_no_more(
    status: str, code: str, scene: Scene
) -> None:
    batch = in_doubt(scene)
    scene.control.set_status(scene.name, scene.references[0], status)
    drain.run(scene.account.pk, 0.3)
    assert batch.attempts.get().state == "unknown"
    assert end(scene, batch) == ("refused", code)


def test_open_again_and_then_paid_in_part_is_not_sent_a_second_time(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The read that proves it undone shows it open, the one before the next cancel does not."""
    batch = in_doubt(scene)
    real = drain.Drain._claim_queued

    def paid_before_the_claim(self: drain.Drain, most: int) -> list[CancellationAttempt]:
        if batch.attempts.filter(state="queued").exists():
            scene.control.pay_part(scene.name, scene.references[0])
        return real(self, most)

    monkeypatch.setattr(drain.Drain, "_claim_queued", paid_before_the_claim)
    assert end(scene, batch) == ("skipped", "partially_paid")
    assert states(batch) == ["unknown", "queued", "claimed", "skipped"]


def test_a_yes_to_what_was_paid_in_part_meanwhile_is_found_out_by_the_verification(
    scene: Scene,
) -> None:
    batch = scene.started()
    scene.control.set_fault("none", scene.name, world="pay_part")
    assert end(scene, batch) == ("needs_review", "disagrees")
    assert set(HistoryEvent.objects.values_list("to_state", flat=True)) >= {"cancelled"}
