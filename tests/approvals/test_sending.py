"""What is sent of a batch that needed approval, and when: real drains against the sandbox."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import Settings

from invoices import approvals, batches, drain, waking
from invoices.approval_record import unapproved
from invoices.models import CancellationAttempt, CancellationBatch, HistoryEvent
from providers.sandbox.running import SandboxServer
from tests import invariants
from tests.approvals.requests import answer, form, rule
from tests.engine.scene import PACE, Scene
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def scene(sandbox: SandboxServer, settings: Settings) -> Scene:
    settings.PACE = PACE
    return Scene(sandbox, invoices=3)


@pytest.fixture
def approver() -> User:
    user: User = UserFactory.create(role="approver")
    return user


def waiting(scene: Scene, delay: int = 0) -> CancellationBatch:
    rule("count", 1, delay_minutes=delay)
    batch = scene.frozen()
    return batches.confirm(batch, scene.operator, form(batch))


def the_delay_is_over(batch: CancellationBatch) -> None:
    past = timezone.now() - timedelta(seconds=1)
    CancellationBatch.objects.filter(pk=batch.pk).update(starts_at=past)
    batch.attempts.update(due_at=past)


def test_nothing_is_sent_until_it_is_approved_and_then_all(scene: Scene, approver: User) -> None:
    batch = waiting(scene)
    assert waking.accounts_due() == []
    drain.run(scene.account.pk, 0.5)
    assert scene.cancels() == []
    approvals.approve(batch, approver, answer(batch))
    assert waking.accounts_due() == [scene.account.pk]
    assert {one.state for one in scene.drained(batch)} == {"cancelled"}
    assert len(scene.cancels()) == 3
    assert list(unapproved()) == []
    invariants.check(scene.control)


def test_nothing_is_sent_before_the_end_of_the_delay(scene: Scene, approver: User) -> None:
    batch = waiting(scene, delay=10)
    approvals.approve(batch, approver, answer(batch))
    assert waking.accounts_due() == []
    drain.run(scene.account.pk, 0.5)
    assert scene.cancels() == []
    the_delay_is_over(batch)
    scene.drained(batch)
    assert len(scene.cancels()) == 3
    assert list(unapproved()) == []


def test_work_that_falls_due_too_early_is_held_back_at_the_last_step(
    scene: Scene, approver: User
) -> None:
    batch = waiting(scene, delay=10)
    approvals.approve(batch, approver, answer(batch))
    CancellationAttempt.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    drain.run(scene.account.pk, 0.5)
    assert scene.cancels() == []
    assert not HistoryEvent.objects.filter(to_state="sending").exists()


def test_what_was_recalled_within_the_delay_is_never_sent(scene: Scene, approver: User) -> None:
    batch = waiting(scene, delay=10)
    approvals.approve(batch, approver, answer(batch))
    approvals.recall(batch, scene.operator)
    the_delay_is_over(batch)
    drain.run(scene.account.pk, 0.5)
    assert scene.cancels() == []
    invariants.check(scene.control)


def test_the_worker_ends_what_nobody_answered(scene: Scene) -> None:
    batch = waiting(scene)
    CancellationBatch.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    waking.tidy_up()
    batch.refresh_from_db()
    assert batch.state == "expired"


def _nobody_said_yes(batch: CancellationBatch, other: User) -> None:
    said = HistoryEvent.objects.filter(from_state="awaiting_approval")
    values = {**said.values().get(), "id": None, "from_state": "draft"}
    HistoryEvent.objects.create(**values)
    CancellationBatch.objects.create(
        **{
            **CancellationBatch.objects.values().get(),
            "id": batch.pk + 1,
            "confirm_key": batch.approval_key,
            "approval_key": None,
        }
    )
    batch.attempts.update(batch=batch.pk + 1)


def _flag_taken_away(batch: CancellationBatch, other: User) -> None:
    _nobody_said_yes(batch, other)
    CancellationBatch.objects.update(needs_approval=False)
    HistoryEvent.objects.create(
        kind="batch_state", batch_id=batch.pk + 1, to_state="awaiting_approval"
    )


def _by_somebody_else(batch: CancellationBatch, other: User) -> None:
    CancellationBatch.objects.update(approved_by=other)


def _too_early(batch: CancellationBatch, other: User) -> None:
    CancellationBatch.objects.update(starts_at=timezone.now() + timedelta(minutes=1))


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        (_nobody_said_yes, "was sent without another person's approval"),
        (_flag_taken_away, "was sent without another person's approval"),
        (_by_somebody_else, "was approved by somebody else than it says"),
        (_too_early, "was sent before it was let go"),
    ],
)
def test_what_was_sent_without_approval_is_found_out(
    scene: Scene,
    approver: User,
    lie: Callable[[CancellationBatch, User], None],
    said: str,
) -> None:
    batch = waiting(scene)
    approvals.approve(batch, approver, answer(batch))
    scene.drained(batch)
    lie(batch, UserFactory.create())
    assert [said in one for one in unapproved()] == [True]
