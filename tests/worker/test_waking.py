"""The worker finds what is due and nothing else, and does not fill the queue with it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from invoices import batches, sync, waking
from invoices.management.commands.worker import Ears
from invoices.models import CancellationAttempt, CancellationBatch, Heartbeat, Invoice, SyncRun
from invoices.models.attempt import State, Step
from providers.models import ProviderAccount
from tests.factories import AccountFactory, InvoiceFactory, UserFactory

NOW = 1_000.0


@pytest.fixture
def batch(db: None) -> CancellationBatch:
    """A running batch of one invoice, due now."""
    operator = UserFactory.create(role="operator")
    InvoiceFactory.create()
    draft = batches.freeze(operator, Invoice.objects.all(), "all")
    confirmation = batches.Confirmation(draft.confirm_key, draft.digest, "duplicate", "", {})
    return batches.confirm(draft, operator, confirmation)


def attempt_of(batch: CancellationBatch) -> CancellationAttempt:
    """Its only attempt."""
    return batch.attempts.get()


def test_an_account_with_due_work_is_found(batch: CancellationBatch) -> None:
    assert waking.accounts_due() == [attempt_of(batch).account_id]


@pytest.mark.parametrize(
    "of_account",
    [
        {"paused_at": timezone.now()},
        {"resting_until": timezone.now() + timedelta(hours=1)},
        {"lease_expires_at": timezone.now() + timedelta(hours=1)},
    ],
    ids=["paused", "resting", "in hand"],
)
def test_an_account_that_cannot_work_is_left_alone(
    batch: CancellationBatch, of_account: dict[str, object]
) -> None:
    ProviderAccount.objects.update(**of_account)
    assert waking.accounts_due() == []


def test_an_account_is_found_once_its_rest_and_a_dead_lease_are_over(
    batch: CancellationBatch,
) -> None:
    past = timezone.now() - timedelta(seconds=1)
    ProviderAccount.objects.update(resting_until=past, lease_expires_at=past)
    assert len(waking.accounts_due()) == 1


def test_what_is_due_later_or_belongs_to_a_paused_batch_waits(batch: CancellationBatch) -> None:
    batches.pause(batch, batch.requested_by)
    assert waking.accounts_due() == []
    batches.resume(batch, batch.requested_by)
    later = timezone.now() + timedelta(hours=1)
    CancellationAttempt.objects.all().reschedule([attempt_of(batch)], due_at=later)
    assert waking.accounts_due() == []


def test_a_read_is_due_whatever_became_of_its_batch(batch: CancellationBatch) -> None:
    for step in (
        Step(State.QUEUED, State.CLAIMED),
        Step(State.CLAIMED, State.SENDING),
        Step(State.SENDING, State.UNKNOWN),
    ):
        CancellationAttempt.objects.all().move([attempt_of(batch)], step)
    batches.pause(batch, batch.requested_by)
    assert len(waking.accounts_due()) == 1


def test_what_a_dead_drain_had_in_hand_is_found(batch: CancellationBatch) -> None:
    CancellationAttempt.objects.all().move_all(
        Step(State.QUEUED, State.CLAIMED, changes={"due_at": None})
    )
    assert len(waking.accounts_due()) == 1


def test_an_import_is_found_when_its_wake_up_was_lost(db: None) -> None:
    run = sync.request(AccountFactory.create(), None)
    assert waking.imports_due() == []
    SyncRun.objects.update(requested_at=timezone.now() - timedelta(minutes=1))
    assert waking.imports_due() == [run.pk]
    SyncRun.objects.update(state=SyncRun.State.RUNNING, seen_at=timezone.now())
    assert waking.imports_due() == []
    SyncRun.objects.update(seen_at=timezone.now() - timedelta(hours=1))
    assert waking.imports_due() == [run.pk]


def test_an_empty_queue_means_that_the_last_wake_up_was_taken() -> None:
    assert waking.worth_waking([1, 2], {1: NOW - 1}, NOW, queued=0) == [1, 2]


def test_a_wake_up_that_waits_for_its_turn_is_not_sent_again() -> None:
    woken = {1: NOW - 1, 2: NOW - waking.REPEAT_SECONDS}
    assert waking.worth_waking([1, 2, 3], woken, NOW, queued=1) == [2, 3]


def test_a_full_queue_gets_nothing_more() -> None:
    assert waking.worth_waking([1], {}, NOW, queued=waking.FULL) == []


def test_a_preview_that_nobody_confirmed_is_discarded_after_a_day(db: None) -> None:
    InvoiceFactory.create()
    draft = batches.freeze(UserFactory.create(role="operator"), Invoice.objects.all(), "all")
    waking.tidy_up()
    draft.refresh_from_db()
    assert draft.state == CancellationBatch.State.DRAFT
    CancellationBatch.objects.update(created_at=timezone.now() - timedelta(hours=25))
    waking.tidy_up()
    draft.refresh_from_db()
    assert (draft.state, draft.attempts.count()) == (CancellationBatch.State.DISCARDED, 0)


def test_a_batch_without_work_is_closed(batch: CancellationBatch) -> None:
    waking.tidy_up()
    batch.refresh_from_db()
    assert batch.state == CancellationBatch.State.RUNNING
    CancellationAttempt.objects.all().move_all(Step(State.QUEUED, State.SKIPPED))
    waking.tidy_up()
    batch.refresh_from_db()
    assert batch.state == CancellationBatch.State.FINISHED


def test_workers_of_long_ago_are_forgotten(db: None) -> None:
    now = timezone.now()
    Heartbeat.objects.create(pk=2, seen_at=now)
    Heartbeat.objects.create(pk=3, seen_at=now - timedelta(days=2))
    waking.tidy_up()
    assert [row.pk for row in Heartbeat.objects.all()] == [2]


def test_silence_is_a_wedge_only_after_the_time_that_the_settings_grant() -> None:
    ears = Ears(NOW)
    assert not ears.is_wedged(NOW + 60, somebody_works=False)
    assert ears.is_wedged(NOW + 61, somebody_works=False)


def test_more_patience_is_granted_while_an_account_is_in_hand() -> None:
    ears = Ears(NOW)
    assert not ears.is_wedged(NOW + 61, somebody_works=True)
    assert ears.is_wedged(NOW + 181, somebody_works=True)


def test_only_a_new_sign_of_life_counts() -> None:
    ears = Ears(NOW)
    assert ears.hear("first", NOW + 50)
    assert not ears.hear("first", NOW + 100)
    assert not ears.hear(None, NOW + 105)
    assert not ears.is_wedged(NOW + 110, somebody_works=False)
    assert ears.is_wedged(NOW + 111, somebody_works=False)


def test_time_in_which_the_database_was_away_is_no_silence() -> None:
    ears = Ears(NOW)
    ears.restart(NOW + 600)
    assert not ears.is_wedged(NOW + 650, somebody_works=False)
