"""A batch that needs an approver: who may say yes or no, to what, until when, and what follows."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from invoices import approvals, batches, frozen
from invoices.models import CancellationAttempt, CancellationBatch, HistoryEvent, Invoice
from tests.approvals.requests import answer, awaiting, draft, form, rule, states
from tests.factories import InvoiceFactory, UserFactory

pytestmark = pytest.mark.django_db

NOTHING = "Nothing was sent."


@pytest.fixture
def operator() -> User:
    user: User = UserFactory.create(role="operator", username="olga")
    return user


@pytest.fixture
def approver() -> User:
    user: User = UserFactory.create(role="approver", username="anna")
    return user


@pytest.fixture
def batch(operator: User) -> CancellationBatch:
    rule("count", 1)
    return awaiting(operator)


def refused(batch: CancellationBatch, user: User, **changes: Any) -> str:
    """Why an approval is refused; it must leave everything as it is."""
    before = CancellationBatch.objects.values().get(pk=batch.pk), states(batch)
    with pytest.raises(batches.BatchRefused) as why:
        approvals.approve(batch, user, answer(batch, **changes))
    assert (CancellationBatch.objects.values().get(pk=batch.pk), states(batch)) == before
    return str(why.value)


def test_asking_starts_nothing_and_holds_nobodys_invoices(
    batch: CancellationBatch, operator: User
) -> None:
    assert (batch.state, batch.needs_approval, states(batch)) == (
        "awaiting_approval",
        True,
        {"draft": 3},
    )
    assert batch.approval_reasons == [
        "It has 3 invoices; from 1 invoice on a batch needs an approver."
    ]
    again = draft(operator, *Invoice.objects.all())
    assert states(again) == {"draft": 3}
    assert approvals.awaited_elsewhere(again, again.requested_by) == [(batch.pk, 3)]


def test_the_same_confirmation_twice_asks_once(operator: User) -> None:
    rule("count", 1)
    first = draft(operator)
    key = batches.confirm(first, operator, form(first)).approval_key
    assert batches.confirm(first, operator, form(first)).approval_key == key
    assert HistoryEvent.objects.filter(to_state="awaiting_approval").count() == 1


def test_another_persons_yes_starts_it(batch: CancellationBatch, approver: User) -> None:
    run = approvals.approve(batch, approver, answer(batch, "as discussed"))
    batch.refresh_from_db()
    assert (run.state, batch.state, batch.approved_by) == ("running", "running", approver)
    assert states(batch) == {"queued": 3}
    due = batch.attempts.filter(due_at__lte=timezone.now() + timedelta(seconds=5))
    assert due.count() == 3
    event = HistoryEvent.objects.filter(batch=batch, to_state="running").get()
    assert (event.actor, event.from_state, event.detail) == (
        approver,
        "awaiting_approval",
        "as discussed",
    )


@pytest.mark.parametrize("is_superuser", [False, True])
def test_nobody_answers_an_own_batch(is_superuser: bool) -> None:
    rule("count", 1)
    both = UserFactory.create(role="operator", is_superuser=is_superuser)
    both.groups.add(*UserFactory.create(role="approver").groups.all())
    mine = awaiting(both)
    assert "another person has to answer it" in refused(mine, both)
    with pytest.raises(batches.BatchRefused, match=NOTHING):
        approvals.reject(mine, both, answer(mine))


@pytest.mark.parametrize("role", ["operator", "auditor", "support", "administrator", None])
def test_an_answer_takes_the_permission(batch: CancellationBatch, role: str | None) -> None:
    other = UserFactory.create(role=role)
    for step in (approvals.approve, approvals.reject):
        with pytest.raises(PermissionDenied, match=NOTHING):
            step(batch, other, answer(batch))


def test_the_permission_is_looked_up_again_when_it_counts(
    batch: CancellationBatch, approver: User
) -> None:
    assert approver.has_perm(approvals.APPROVE)
    User.objects.get(pk=approver.pk).groups.clear()
    with pytest.raises(PermissionDenied):
        approvals.approve(batch, approver, answer(batch))
    other = UserFactory.create(role="approver")
    User.objects.filter(pk=other.pk).update(is_active=False)
    with pytest.raises(PermissionDenied):
        approvals.approve(batch, other, answer(batch))


def test_who_asked_must_still_be_permitted_to_ask(
    batch: CancellationBatch, approver: User, operator: User
) -> None:
    operator.groups.clear()
    assert refused(batch, approver) == (
        f"olga, who asked for batch {batch.pk}, may no longer cancel invoices. Nothing was sent."
    )


@pytest.mark.parametrize("changes", [{"digest": "0" * 64}, {"digest": ""}, {"key": uuid4()}])
def test_another_request_than_was_shown_is_not_approved(
    batch: CancellationBatch, approver: User, changes: dict[str, Any]
) -> None:
    assert "as it was shown. Nothing was sent." in refused(batch, approver, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"note": "another"},
        {"reason": "fraud"},
        {"options": {"paypal": {"notify_payer": True, "notify_merchant": False}}},
        {"delay_minutes": 5},
        {"approval_reasons": []},
    ],
)
def test_what_was_slipped_in_since_is_not_approved(
    batch: CancellationBatch, approver: User, changes: dict[str, Any]
) -> None:
    CancellationBatch.objects.filter(pk=batch.pk).update(**changes)
    assert "is not what was asked for. Nothing was sent." in refused(batch, approver)


@pytest.mark.parametrize(
    "changes",
    [
        {"frozen_amount_minor": 1},
        {"frozen_customer": "somebody else"},
        {"frozen_status": "paid"},
        {"state": "ineligible"},
    ],
)
def test_rows_that_were_altered_are_not_approved(
    batch: CancellationBatch, approver: User, changes: dict[str, Any]
) -> None:
    row = batch.attempts.order_by("pk")[0]
    CancellationAttempt.objects.filter(pk=row.pk).update(**changes)
    assert "is not what was asked for." in refused(batch, approver)


def test_a_row_that_was_added_is_not_approved(batch: CancellationBatch, approver: User) -> None:
    row = batch.attempts.all()[0]
    row.pk, row.invoice = None, InvoiceFactory.create(account=row.account)
    row.save(force_insert=True)
    assert "is not what was asked for." in refused(batch, approver)


def test_after_a_day_it_can_not_be_approved_and_the_worker_ends_it(
    batch: CancellationBatch, approver: User
) -> None:
    left = batch.expires_at - timezone.now() if batch.expires_at else timedelta()
    assert timedelta(hours=23) < left <= timedelta(hours=24)
    assert approvals.expire_overdue() == 0
    CancellationBatch.objects.update(expires_at=Now() - timedelta(seconds=1))
    assert "nobody approved it in time. Nothing was sent." in refused(batch, approver)
    assert not approvals.waiting().exists()
    assert approvals.expire_overdue() == 1
    batch.refresh_from_db()
    assert (batch.state, states(batch)) == ("expired", {"draft": 3})
    assert refused(batch, approver) == f"Batch {batch.pk} is expired. Nothing was sent."
    event = HistoryEvent.objects.filter(batch=batch, to_state="expired").get()
    assert (event.actor, event.detail) == (None, "Nobody approved it in time. Nothing was sent.")


def test_a_no_needs_its_reason_and_ends_it(batch: CancellationBatch, approver: User) -> None:
    with pytest.raises(batches.BatchRefused, match="why it is rejected"):
        approvals.reject(batch, approver, answer(batch, " \0 "))
    approvals.reject(batch, approver, answer(batch, "Not without a ticket."))
    batch.refresh_from_db()
    assert (batch.state, batch.ended_by, batch.answer_note) == (
        "rejected",
        approver,
        "Not without a ticket.",
    )
    assert batch.finished_at is not None
    assert refused(batch, UserFactory.create(role="approver")) == (
        f"Batch {batch.pk} is rejected by anna. Nothing was sent."
    )


def test_a_note_has_its_length(batch: CancellationBatch, approver: User) -> None:
    assert "longer than 2,000" in refused(batch, approver, note="x" * 2001)


def test_a_second_yes_starts_nothing_a_second_time(
    batch: CancellationBatch, approver: User
) -> None:
    approvals.approve(batch, approver, answer(batch))
    assert refused(batch, approver) == (
        f"Batch {batch.pk} was approved by anna already. Nothing was started a second time."
    )
    with pytest.raises(batches.BatchRefused, match="was approved by anna already"):
        approvals.reject(batch, approver, answer(batch))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"status": "paid"}, "paid"),
        ({"amount_minor": 1}, "amount_changed"),
        ({"amount_minor": None}, "amount_changed"),
        ({"currency": "USD"}, "currency_changed"),
        ({"exponent": 3}, "currency_changed"),
        ({"customer_name": "Other"}, "customer_changed"),
        ({"status": "paid", "amount_minor": 1}, "paid"),
    ],
)
def test_what_changed_since_is_left_out_and_the_rest_runs(
    batch: CancellationBatch, approver: User, changes: dict[str, Any], code: str
) -> None:
    row = batch.attempts.order_by("pk")[0]
    Invoice.objects.filter(pk=row.invoice_id).update(**changes)
    assert frozen.would_drop(batch) == {code: 1}
    approvals.approve(batch, approver, answer(batch))
    row.refresh_from_db()
    assert (row.state, row.code) == ("ineligible", code)
    assert states(batch) == {"ineligible": 1, "queued": 2}
    event = HistoryEvent.objects.filter(attempt=row).get()
    assert (event.to_state, event.code, event.actor) == ("ineligible", code, approver)


def test_what_another_batch_took_since_is_left_out(
    batch: CancellationBatch, approver: User, operator: User
) -> None:
    taken = awaiting(operator, *Invoice.objects.order_by("pk")[:2])
    approvals.approve(taken, approver, answer(taken))
    approvals.approve(batch, approver, answer(batch))
    assert states(batch) == {"ineligible": 2, "queued": 1}
    assert set(batch.attempts.filter(state="ineligible").values_list("code", flat=True)) == {
        "spoken_for"
    }


def test_when_nothing_is_left_it_goes_on_waiting(batch: CancellationBatch, approver: User) -> None:
    Invoice.objects.update(status="paid")
    assert "None of the selected invoices can be cancelled. Nothing was sent." in refused(
        batch, approver
    )


def test_with_a_delay_nothing_is_due_before_its_end(operator: User, approver: User) -> None:
    rule("count", 1, delay_minutes=10)
    batch = awaiting(operator)
    approvals.approve(batch, approver, answer(batch))
    batch.refresh_from_db()
    assert batch.is_delayed
    assert batch.starts_at is not None
    assert batch.approved_at is not None
    assert batch.starts_at - batch.approved_at == timedelta(minutes=10)
    assert set(batch.attempts.values_list("due_at", flat=True)) == {batch.starts_at}


@pytest.mark.parametrize("role", ["approver", "administrator"])
def test_others_who_may_recall_it(batch: CancellationBatch, role: str) -> None:
    other = UserFactory.create(role=role)
    assert approvals.may_recall(batch, other)
    approvals.recall(batch, other, "wrong month")
    batch.refresh_from_db()
    assert (batch.state, batch.ended_by) == ("recalled", other)
    event = HistoryEvent.objects.filter(batch=batch, to_state="recalled").get()
    assert (event.actor, event.detail) == (other, "wrong month")


@pytest.mark.parametrize("role", ["operator", "auditor", "support"])
def test_nobody_else_recalls_it(batch: CancellationBatch, role: str) -> None:
    other = UserFactory.create(role=role)
    assert not approvals.may_recall(batch, other)
    with pytest.raises(PermissionDenied):
        approvals.recall(batch, other)


def test_what_is_recalled_can_neither_be_approved_nor_recalled_again(
    batch: CancellationBatch, approver: User, operator: User
) -> None:
    approvals.recall(batch, operator)
    assert refused(batch, approver) == (f"Batch {batch.pk} is recalled by olga. Nothing was sent.")
    with pytest.raises(batches.BatchRefused, match="It cannot be recalled"):
        approvals.recall(batch, operator)


@pytest.mark.parametrize("paused", [False, True])
def test_within_the_delay_it_is_recalled_with_nothing_sent(
    operator: User, approver: User, paused: bool
) -> None:
    rule("count", 1, delay_minutes=10)
    batch = awaiting(operator)
    approvals.approve(batch, approver, answer(batch))
    if paused:
        batches.pause(batch, operator)
    approvals.recall(batch, approver)
    batch.refresh_from_db()
    assert (batch.state, batch.ended_by, states(batch)) == ("finished", approver, {"withdrawn": 3})


def test_after_the_delay_it_is_too_late_to_recall_it(operator: User, approver: User) -> None:
    rule("count", 1, delay_minutes=10)
    batch = awaiting(operator)
    approvals.approve(batch, approver, answer(batch))
    CancellationBatch.objects.update(starts_at=timezone.now() - timedelta(seconds=1))
    for user in (operator, approver):
        with pytest.raises(batches.BatchRefused, match="It cannot be recalled"):
            approvals.recall(batch, user)


def test_pausing_and_stopping_are_no_way_around(batch: CancellationBatch, operator: User) -> None:
    for step in (batches.pause, batches.resume, batches.stop):
        with pytest.raises(batches.BatchRefused):
            step(batch, operator)
    assert not batches.finish_if_done(batch.pk)
    batches.discard(batch, operator)
    batch.refresh_from_db()
    assert (batch.state, states(batch)) == ("awaiting_approval", {"draft": 3})


@pytest.mark.parametrize("end", ["rejected", "recalled", "expired"])
def test_what_never_started_is_prepared_anew_under_the_same_rules(
    batch: CancellationBatch, operator: User, approver: User, end: str
) -> None:
    if end == "rejected":
        approvals.reject(batch, approver, answer(batch))
    elif end == "recalled":
        approvals.recall(batch, operator)
    else:
        CancellationBatch.objects.update(expires_at=Now() - timedelta(seconds=1))
        approvals.expire_overdue()
    batch.refresh_from_db()
    assert batch.state == end
    again = batches.retry(batch, operator)
    assert (again.selected_count, states(again)) == (3, {"draft": 3})
    with pytest.raises(batches.BatchRefused, match="needs an approver now"):
        batches.confirm(again, operator, form(again, asks=False))


def test_those_who_may_approve_are_named(batch: CancellationBatch, approver: User) -> None:
    UserFactory.create(role="approver", is_active=False)
    UserFactory.create(role="auditor")
    head = UserFactory.create(is_superuser=True, username="zoe")
    assert list(approvals.approvers(batch)) == [approver, head]


RAW = "UPDATE invoices_cancellationbatch SET {} WHERE id = %s"


@pytest.mark.parametrize(
    "change",
    [
        "state = 'running'",
        "state = 'paused'",
        "state = 'stopping'",
        "state = 'finished'",
        "state = 'running', approved_by_id = requested_by_id, approved_at = confirmed_at",
        "approved_by_id = requested_by_id",
        "state = 'rejected'",
        "state = 'rejected', ended_by_id = requested_by_id, answer_note = 'no'",
        "approval_digest = ''",
        "approval_key = NULL",
        "expires_at = NULL",
        "needs_approval = {false}",
        "state = 'released'",
    ],
)
def test_the_database_itself_lets_none_run_without_another_person(
    batch: CancellationBatch, change: str
) -> None:
    false = "0" if connection.vendor == "sqlite" else "false"
    statement = RAW.format(change.replace("{false}", false))
    with (
        pytest.raises(IntegrityError),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement, [batch.pk])
