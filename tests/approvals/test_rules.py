"""Which batch needs an approver, and why; and that every change of a rule is on record."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.utils import timezone

from invoices import approval_rules, batches
from invoices.approval_rules import Figure, decide
from invoices.models import ApprovalRule, CancellationAttempt, CancellationBatch, HistoryEvent
from providers.models import ProviderAccount
from tests.approvals.requests import draft, form, rule
from tests.factories import AccountFactory, InvoiceFactory, UserFactory

pytestmark = pytest.mark.django_db


def figure(**facts: Any) -> Figure:
    given = {"account_id": 1, "currency": "EUR", "exponent": 2, "count": 1, "not_stated": 0}
    return Figure(**{**given, "largest": 0, "total": 0, **facts})


def made(measure: str, threshold: int, **facts: Any) -> ApprovalRule:
    """Not stored: deciding needs no database."""
    if measure in ApprovalRule.AMOUNTS:
        facts = {"currency": "EUR", "exponent": 2, **facts}
    account = facts.pop("account_id", None)
    where = ProviderAccount(pk=account, name=f"account-{account}") if account else None
    return ApprovalRule(measure=measure, threshold=threshold, account=where, **facts)


@pytest.fixture
def operator() -> User:
    user: User = UserFactory.create(role="operator")
    return user


@pytest.mark.parametrize(
    ("limit", "found", "asks"),
    [
        (made("count", 3), figure(count=2), False),
        (made("count", 3), figure(count=3), True),
        (made("count", 3, account_id=1), figure(count=3), True),
        (made("count", 3, account_id=2), figure(count=3), False),
        (made("single", 10_000), figure(largest=9_999, total=90_000), False),
        (made("single", 10_000), figure(largest=10_000), True),
        (made("single", 10_000, account_id=2), figure(largest=10_000), False),
        (made("total", 10_000), figure(total=9_999), False),
        (made("total", 10_000), figure(total=10_000), True),
        # A limit of 100 whole units, and of 0.01 in three places.
        (made("total", 100, exponent=0), figure(total=9_999), False),
        (made("total", 100, exponent=0), figure(total=10_000), True),
        (made("total", 10, exponent=3), figure(total=1), True),
        (made("total", 10_000, currency="eur"), figure(total=10_000), True),
        # No rate of exchange: what has no limit of its own needs an approver.
        (made("total", 10_000, currency="USD"), figure(total=1), True),
        (made("day_total", 10_000, currency="USD"), figure(total=1), True),
        (made("total", 10_000, currency="USD", account_id=2), figure(total=1), False),
        (made("total", 10_000), figure(total=1, not_stated=1), True),
        (made("count", 3), figure(currency="", not_stated=1), False),
    ],
)
def test_a_batch_needs_an_approver_from_the_limit_on(
    limit: ApprovalRule, found: Figure, asks: bool
) -> None:
    assert bool(decide([limit], [found], [found])) is asks


def test_a_currency_is_covered_by_any_limit_that_applies_to_its_account() -> None:
    rules = [made("single", 10**6), made("total", 10**6, currency="USD", account_id=1)]
    mine = [figure(), figure(currency="USD")]
    assert not decide(rules, mine, mine)
    elsewhere = [figure(currency="USD", account_id=2)]
    need = decide(rules, elsewhere, elsewhere)
    assert "amounts in USD, for which there is no limit" in need.reasons[0]


def test_what_lies_in_several_accounts_and_exponents_is_summed_exactly() -> None:
    mine = [figure(total=5_000), figure(account_id=2, total=50, exponent=0)]
    need = decide([made("total", 10_000)], mine, mine)
    assert need.reasons == (
        "Its invoices come to 100.00 EUR; from 100.00 EUR on a batch needs an approver.",
    )


def test_the_longest_delay_of_the_rules_that_apply_counts() -> None:
    rules = [
        made("count", 1, delay_minutes=5),
        made("total", 1, delay_minutes=10),
        made("count", 900, delay_minutes=60),
    ]
    need = decide(rules, [figure(total=1)], [figure(total=1)])
    assert (len(need.reasons), need.delay_minutes) == (2, 10)


def test_without_a_rule_nothing_needs_an_approver(operator: User) -> None:
    rule("count", 1, is_active=False)
    batch = draft(operator)
    assert not approval_rules.needed(batch)
    assert batches.confirm(batch, operator, form(batch, asks=False)).state == "running"


def test_only_what_can_be_cancelled_counts(operator: User) -> None:
    rule("count", 3)
    account = AccountFactory.create()
    rows = [InvoiceFactory.create(account=account, status=s) for s in ("open", "open", "paid")]
    assert not approval_rules.needed(draft(operator, *rows))


def test_credits_do_not_make_up_for_what_is_owed(operator: User) -> None:
    rule("total", 10_000)
    account = AccountFactory.create()
    rows = [InvoiceFactory.create(account=account, amount_minor=m) for m in (6_000, -6_000)]
    assert "come to 120.00 EUR" in approval_rules.needed(draft(operator, *rows)).reasons[0]


def test_sums_beyond_what_a_database_holds_are_compared(operator: User) -> None:
    rule("total", 2**63 - 1)
    account, largest = AccountFactory.create(), 2**63 - 1
    rows = [InvoiceFactory.create(account=account, amount_minor=m) for m in (largest, 1 - largest)]
    (found,) = approval_rules.figures(draft(operator, *rows).attempts.all())
    assert (found.total, found.largest) == (2 * largest - 1, largest)


@pytest.mark.parametrize(("measure", "limit"), [("day_count", 4), ("day_total", 40_000)])
def test_many_small_batches_of_one_person_within_a_day_need_an_approver(
    operator: User, measure: str, limit: int
) -> None:
    """Each of two invoices of 123.45 EUR."""
    rule(measure, limit)
    account = AccountFactory.create()
    for expected in (False, True):
        batch = draft(operator, *InvoiceFactory.create_batch(2, account=account))
        assert bool(approval_rules.needed(batch)) is expected
        batches.confirm(batch, operator, form(batch, asks=expected))
    other = UserFactory.create(role="operator")
    rows = InvoiceFactory.create_batch(2, account=account)
    assert not approval_rules.needed(draft(other, *rows))
    long_ago = timezone.now() - timedelta(hours=25)
    CancellationBatch.objects.update(confirmed_at=long_ago)
    assert not approval_rules.needed(draft(operator, *rows))


def test_what_was_not_carried_out_does_not_count_towards_the_day(operator: User) -> None:
    rule("day_count", 4)
    account = AccountFactory.create()
    first = draft(operator, *InvoiceFactory.create_batch(3, account=account))
    batches.confirm(first, operator, form(first, asks=False))
    second = draft(operator, *InvoiceFactory.create_batch(3, account=account))
    assert approval_rules.needed(second)
    batches.stop(first, operator)
    assert set(CancellationAttempt.objects.filter(batch=first).values_list("state")) == {
        ("withdrawn",)
    }
    assert not approval_rules.needed(second)


def test_a_preview_that_said_otherwise_starts_nothing_and_asks_nobody(operator: User) -> None:
    batch = draft(operator)
    limit = rule("count", 1)
    with pytest.raises(batches.BatchRefused, match="it needs an approver now"):
        batches.confirm(batch, operator, form(batch, asks=False))
    ApprovalRule.objects.filter(pk=limit.pk).update(is_active=False)
    with pytest.raises(batches.BatchRefused, match="needs no approver any more"):
        batches.confirm(batch, operator, form(batch, asks=True))
    batch.refresh_from_db()
    assert batch.state == "draft"


def test_every_change_of_a_rule_is_on_record_with_before_and_after() -> None:
    admin = UserFactory.create(role="administrator")
    account = AccountFactory.create(name="monite-nord")
    made = ApprovalRule(measure="total", threshold=1_000_000, currency="EUR", exponent=2)
    approval_rules.store(made, admin)
    made.account, made.delay_minutes, made.is_active = account, 10, False
    approval_rules.store(made, admin)
    told = HistoryEvent.objects.filter(kind="rule_changed").order_by("pk")
    assert [(one.actor_id, one.code, one.detail) for one in told] == [
        (admin.pk, "added", "Before: no such rule. Now: From 10,000.00 EUR for a batch."),
        (
            admin.pk,
            "changed",
            "Before: From 10,000.00 EUR for a batch. Now: From 10,000.00 EUR for a batch at"
            " monite-nord, then 10 min to recall (off).",
        ),
    ]


@pytest.mark.parametrize("role", ["operator", "approver", "auditor", "support"])
def test_nobody_else_writes_rules(role: str) -> None:
    with pytest.raises(PermissionDenied):
        approval_rules.store(
            ApprovalRule(measure="count", threshold=5), UserFactory.create(role=role)
        )
    assert not ApprovalRule.objects.exists()


@pytest.mark.parametrize(
    "facts",
    [
        {"measure": "count", "threshold": -1},
        {"measure": "count", "threshold": 1, "currency": "EUR"},
        {"measure": "total", "threshold": 1, "currency": ""},
        {"measure": "other", "threshold": 1},
    ],
)
def test_the_database_takes_no_rule_that_means_nothing(facts: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        ApprovalRule.objects.create(**facts)
