"""Several people answer at the same moment: one answer counts."""

from functools import partial

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models.functions import Now

from invoices import approval_rules, approvals, batches
from invoices.batches import BatchRefused
from invoices.models import CancellationBatch, HistoryEvent
from tests.approvals.requests import answer, awaiting, draft, form, rule, states
from tests.engine.test_races import at_once
from tests.factories import AccountFactory, InvoiceFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

MANY = 50 if connection.vendor == "postgresql" else 20


@pytest.fixture
def operator() -> User:
    user: User = UserFactory.create(role="operator")
    return user


@pytest.fixture
def batch(operator: User) -> CancellationBatch:
    rule("count", 1)
    return awaiting(operator)


def approvers(count: int) -> list[User]:
    return [UserFactory.create(role="approver") for _ in range(count)]


def test_of_many_approvals_at_once_one_starts_it(batch: CancellationBatch) -> None:
    people = approvers(5)
    works = [
        partial(approvals.approve, batch, people[number % 5], answer(batch))
        for number in range(MANY)
    ]
    results = at_once(*works)
    started = [one for one in results if not isinstance(one, Exception)]
    assert len(started) == 1
    assert all("already" in str(one) for one in results if isinstance(one, BatchRefused))
    assert HistoryEvent.objects.filter(kind="batch_state", to_state="running").count() == 1
    assert HistoryEvent.objects.filter(kind="attempt_state", to_state="queued").count() == 3


def test_without_the_lock_each_would_see_it_waiting(batch: CancellationBatch) -> None:
    """The control."""
    seen = at_once(*[lambda: approvals.waiting().filter(pk=batch.pk).exists()] * 5)
    assert seen == [True] * 5


@pytest.mark.parametrize("other", ["reject", "recall", "expire"])
def test_of_a_yes_and_its_opposite_one_counts(
    batch: CancellationBatch, operator: User, other: str
) -> None:
    yes, no = approvers(2)

    def opposite() -> object:
        if other == "reject":
            return approvals.reject(batch, no, answer(batch))
        if other == "recall":
            return approvals.recall(batch, operator)
        CancellationBatch.objects.filter(pk=batch.pk, state="awaiting_approval").update(
            expires_at=Now()
        )
        return approvals.expire_overdue()

    at_once(partial(approvals.approve, batch, yes, answer(batch)), opposite)
    batch.refresh_from_db()
    steps = HistoryEvent.objects.filter(batch=batch, from_state="awaiting_approval")
    assert steps.count() == 1
    if batch.approved_by_id is None:
        assert (batch.state in batches.NEVER_STARTED, states(batch)) == (True, {"draft": 3})
    else:
        assert (batch.state, states(batch)) == ("running", {"queued": 3})


def test_two_batches_of_one_person_at_once_count_towards_one_day(operator: User) -> None:
    rule("day_count", 4)
    account = AccountFactory.create()
    drafts = [draft(operator, *InvoiceFactory.create_batch(2, account=account)) for _ in range(4)]
    assert not any(approval_rules.needed(one) for one in drafts)  # The control: each alone is free.
    results = at_once(
        *[partial(batches.confirm, one, operator, form(one, asks=False)) for one in drafts]
    )
    refused = [one for one in results if isinstance(one, BatchRefused)]
    assert len(refused) == 3
    assert all("needs an approver now" in str(one) for one in refused)


def test_approvals_of_overlapping_batches_at_once_cancel_each_invoice_once(
    operator: User,
) -> None:
    rule("count", 1)
    rows = InvoiceFactory.create_batch(12, account=AccountFactory.create())
    waiting = [awaiting(operator, *rows[:8]), awaiting(operator, *rows[4:])]
    people = approvers(2)
    results = at_once(
        *[
            partial(approvals.approve, one, user, answer(one))
            for one, user in zip(waiting, people, strict=True)
        ]
    )
    assert not [one for one in results if isinstance(one, Exception)]
    found = [states(one) for one in waiting]
    assert sum(one["queued"] for one in found) == 12
    assert sum(one.get("ineligible", 0) for one in found) == 4
