"""The services refuse whoever is limited to other accounts, whatever called them."""

from collections.abc import Callable
from functools import partial
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.core.management import CommandError, call_command

from backoffice import people, second_factor
from invoices import (
    access,
    accounts,
    approval_rules,
    approvals,
    batches,
    history,
    pasted,
    reviews,
    saved_views,
    sync,
)
from invoices.models import (
    AccountAccess,
    ApprovalRule,
    CancellationBatch,
    HistoryEvent,
    Invoice,
    SyncRun,
)
from invoices.models.attempt import State
from invoices.packs import asking, exporting, scope
from providers.models import ProviderAccount
from tests.factories import AccountFactory, InvoiceFactory, UserFactory, limit
from tests.pages.scenes import attempt, call, draft, running

pytestmark = pytest.mark.django_db


@pytest.fixture
def mine() -> ProviderAccount:
    made: ProviderAccount = AccountFactory.create(name="paypal-europe")
    return made


@pytest.fixture
def other() -> ProviderAccount:
    made: ProviderAccount = AccountFactory.create(name="monite-nord")
    return made


def a(role: str, *accounts: ProviderAccount, **facts: Any) -> User:
    return limit(UserFactory.create(role=role, **facts), *accounts)


def confirmation(batch: CancellationBatch, *, asks: bool = False) -> batches.Confirmation:
    return batches.Confirmation(batch.confirm_key, batch.digest, "duplicate", "", {}, asks=asks)


def refuses(*steps: Callable[[], object]) -> None:
    for step in steps:
        before = HistoryEvent.objects.count()
        with pytest.raises(PermissionDenied):
            step()
        assert HistoryEvent.objects.count() == before


def asked(user: User, account: ProviderAccount) -> CancellationBatch:
    """A batch that waits for an approver."""
    rule = ApprovalRule.objects.create(measure="count", threshold=1)
    batch = draft(user, InvoiceFactory.create(account=account))
    batches.confirm(batch, user, confirmation(batch, asks=True))
    rule.delete()
    batch.refresh_from_db()
    return batch


# --- Batches ------------------------------------------------------------------------------------


def test_nothing_of_a_selection_is_frozen_if_some_of_it_is_not_theirs(
    mine: ProviderAccount, other: ProviderAccount
) -> None:
    user = a("operator", mine)
    for account in (mine, other):
        InvoiceFactory.create(account=account)
    refuses(lambda: batches.freeze(user, Invoice.objects.all(), "all"))
    assert not CancellationBatch.objects.exists()
    batch = batches.freeze(user, Invoice.objects.filter(account=mine), "mine")
    assert list(batch.accounts.all()) == [mine]


def test_accounts_are_noted_when_a_selection_is_frozen_retried_or_has_changed(
    mine: ProviderAccount, other: ProviderAccount
) -> None:
    user: User = UserFactory.create(role="operator")
    both = [InvoiceFactory.create(account=one) for one in (mine, other)]
    batch = draft(user, *both)
    assert set(batch.accounts.all()) == {mine, other}
    Invoice.objects.filter(pk=both[0].pk).update(amount_minor=1)
    with pytest.raises(batches.SelectionChanged) as changed:
        batches.confirm(batch, user, confirmation(batch))
    assert set(changed.value.fresh.accounts.all()) == {mine, other}
    finished = running(user, state="finished")
    attempt(finished, both[0], "failed")
    attempt(finished, both[1], "cancelled")
    assert list(batches.retry(finished, user).accounts.all()) == [mine]


def test_a_batch_of_another_account_cannot_be_controlled(
    mine: ProviderAccount, other: ProviderAccount
) -> None:
    user: User = UserFactory.create(role="operator")
    invoice = InvoiceFactory.create(account=other)
    preview, going, held, over = (
        draft(user, invoice),
        running(user),
        running(user, state="paused"),
        running(user, state="finished"),
    )
    for one in (going, held, over):
        attempt(one, InvoiceFactory.create(account=other), "failed")
    now = limit(user, mine)
    for step in (
        lambda: batches.confirm(preview, now, confirmation(preview)),
        lambda: batches.discard(preview, now),
        lambda: batches.pause(going, now),
        lambda: batches.stop(going, now),
        lambda: batches.resume(held, now),
        lambda: batches.retry(over, now),
    ):
        refuses(step)
    assert set(preview.attempts.values_list("state", flat=True)) == {"draft"}


def test_a_limit_that_was_set_since_the_page_was_opened_holds_for_its_confirmation(
    mine: ProviderAccount, other: ProviderAccount
) -> None:
    user: User = UserFactory.create(role="operator")
    batch = draft(user, InvoiceFactory.create(account=other))
    assert access.limit(user) is None
    limit(user, mine)
    refuses(lambda: batches.confirm(batch, user, confirmation(batch)))
    batch.refresh_from_db()
    assert batch.state == "draft"


def test_an_approver_answers_only_what_is_wholly_theirs(
    mine: ProviderAccount, other: ProviderAccount
) -> None:
    batch = asked(UserFactory.create(role="operator"), other)
    answer = approvals.Answer(batch.approval_key or uuid4(), batch.approval_digest, "no")
    stranger, approver = a("approver", mine), a("approver", other)
    refuses(
        lambda: approvals.approve(batch, stranger, answer),
        lambda: approvals.reject(batch, stranger, answer),
        lambda: approvals.recall(batch, stranger),
    )
    assert list(approvals.waiting_for(stranger)) == []
    assert [one.pk for one in approvals.answerable_by(approver)] == [batch.pk]
    assert approvals.approve(batch, approver, answer).state == "running"


def test_what_a_person_asked_for_is_not_approved_once_it_is_not_theirs_any_more(
    mine: ProviderAccount, other: ProviderAccount
) -> None:
    user: User = UserFactory.create(role="operator", username="olga")
    batch = asked(user, other)
    limit(user, mine)
    answer = approvals.Answer(batch.approval_key or uuid4(), batch.approval_digest, "")
    with pytest.raises(batches.BatchRefused, match=r"olga, who asked .* may no longer cancel"):
        approvals.approve(batch, UserFactory.create(role="approver"), answer)


def test_the_command_knows_no_account_that_is_not_its_users(
    mine: ProviderAccount, other: ProviderAccount
) -> None:
    a("operator", mine, username="olga")
    InvoiceFactory.create(account=other, number="R-1")
    said = []
    for name in (other.name, "none-such"):
        with pytest.raises(CommandError) as refused:
            call_command("cancel_invoices", "R-1", account=name, reason="duplicate", user="olga")
        said.append(str(refused.value).replace(name, "NAME"))
    assert said[0] == said[1] == "There is no account named 'NAME'. Nothing was sent."
    InvoiceFactory.create(account=mine, number="R-2")
    out = StringIO()
    given = {"account": mine.name, "reason": "duplicate", "user": "olga", "dry_run": True}
    call_command("cancel_invoices", "R-2", **given, stdout=out)
    assert "1 will be cancelled" in out.getvalue()


# --- The rest -----------------------------------------------------------------------------------


def test_reviews_of_another_account_are_not_theirs(
    mine: ProviderAccount, other: ProviderAccount
) -> None:
    parked = attempt(
        running(UserFactory.create()), InvoiceFactory.create(account=other), "needs_review"
    )
    stranger = a("operator", mine)
    decision = reviews.propose(parked, UserFactory.create(role="operator"), "failed", "Because")
    refuses(
        lambda: reviews.propose(parked, stranger, "failed", "Because"),
        lambda: reviews.confirm(decision, stranger),
        lambda: reviews.decline(decision, stranger),
    )
    parked.refresh_from_db()
    assert parked.state == State.NEEDS_REVIEW
    assert not reviews.waiting_for(stranger).exists()
    reviews.confirm(decision, a("operator", other))


def test_an_account_that_is_not_theirs_is_not_touched(
    mine: ProviderAccount, other: ProviderAccount
) -> None:
    user = a("administrator", mine)
    refuses(
        lambda: accounts.pause(other, user, "test"),
        lambda: accounts.resume(other, user),
        lambda: accounts.check(other, user),
        lambda: accounts.change(other, user, ["name"], {}),
        lambda: accounts.add(ProviderAccount(name="new", provider="paypal"), user, {}),
        lambda: sync.request(other, user),
        lambda: sync.request(other, a("operator", mine), external_ids=["1"]),
    )
    assert accounts.pause(mine, user, "test")
    assert not SyncRun.objects.exists()


def test_rules_for_all_accounts_or_another_one_are_not_theirs_to_write(
    mine: ProviderAccount, other: ProviderAccount
) -> None:
    user = a("administrator", mine)
    general, foreign, own = (
        ApprovalRule.objects.create(measure="count", threshold=9, account=one)
        for one in (None, other, mine)
    )

    def moved(rule: ApprovalRule, account: ProviderAccount | None) -> Callable[[], None]:
        copy = ApprovalRule.objects.get(pk=rule.pk)
        copy.account = account
        return lambda: approval_rules.store(copy, user)

    refuses(
        moved(general, None),
        moved(general, mine),
        moved(foreign, mine),
        moved(own, other),
        moved(own, None),
        lambda: approval_rules.store(ApprovalRule(measure="count", threshold=1), user),
    )
    own.threshold = 3
    approval_rules.store(own, user)
    assert ApprovalRule.objects.get(pk=own.pk).threshold == 3


def test_a_rule_that_moves_is_told_of_at_each_account_without_the_others_name(
    mine: ProviderAccount, other: ProviderAccount
) -> None:
    rule = ApprovalRule.objects.create(measure="count", threshold=9, account=other)
    rule.account = mine
    approval_rules.store(rule, UserFactory.create(role="administrator"))
    told = HistoryEvent.objects.filter(kind="rule_changed").order_by("pk")
    assert list(told.values_list("account", "detail")) == [
        (
            other.pk,
            "Before: From 9 invoices in a batch at monite-nord. Now: a rule for other accounts.",
        ),
        (
            mine.pk,
            "Before: a rule for other accounts. Now: From 9 invoices in a batch at paypal-europe.",
        ),
    ]


def test_a_payload_of_another_account_is_not_opened(
    mine: ProviderAccount, other: ProviderAccount
) -> None:
    made = call(InvoiceFactory.create(account=other))
    refuses(lambda: history.payload_opened(a("auditor", mine), made, "answer opened"))


def test_a_pack_holds_only_what_is_theirs_and_says_so(
    mine: ProviderAccount, other: ProviderAccount
) -> None:
    user = a("auditor", mine)
    batch = running(UserFactory.create())
    made = attempt(batch, InvoiceFactory.create(account=other), "failed")
    refuses(
        lambda: exporting.export(scope.of_batch(batch), user),
        lambda: exporting.export(scope.of_invoice(made.invoice), user),
        lambda: exporting.export(scope.of_span(scope.Span()), user),
        lambda: exporting.export(scope.of_sample(1, "x"), user),
        lambda: exporting.export(scope.of_span(scope.Span(), (mine, other)), user),
    )
    for typed, why in (
        ({"what": "batch", "key": str(batch.pk)}, "no such batch"),
        ({"what": "invoice", "key": str(made.invoice_id)}, "no such invoice"),
        ({"what": "sample", "size": "1", "seed": "x", "account": str(other.pk)}, "no such account"),
    ):
        with pytest.raises(asking.NotUnderstood, match=why):
            asking.scope_of(typed, user)
    span = {"what": "span", "from": "2020-01-01", "to": "2999-01-01"}
    chosen = asking.scope_of(span, user)
    assert chosen.words == "Everything from 2020-01-01 to 2999-01-01, account paypal-europe"
    assert not chosen.attempts.exists()
    more = a(
        "auditor",
        mine,
        AccountFactory.create(
            name="teos-main", provider="teos", base_url="http://127.0.0.1:9/teos"
        ),
    )
    assert asking.scope_of(span, more).words.endswith(
        ", only the accounts paypal-europe, teos-main"
    )
    assert asking.scope_of(span, UserFactory.create(role="auditor")).accounts is None


def test_what_is_not_theirs_is_unmatched_in_a_pasted_list(
    mine: ProviderAccount, other: ProviderAccount
) -> None:
    for account, number in ((mine, "R-1"), (other, "R-2"), (other, "R-3"), (other, "R-3")):
        InvoiceFactory.create(account=account, number=number)
    user: User = UserFactory.create(role="operator")
    before = pasted.paste(user, Invoice.objects.all(), "R-1, R-2, R-3, R-4")
    assert (pasted.unmatched(before, user), pasted.ambiguous(before, user, 5)[0]) == (["R-4"], 1)
    user = limit(user, mine)
    since = pasted.paste(user, Invoice.objects.all(), "R-1, R-2, R-3, R-4")
    assert pasted.unmatched(since, user) == ["R-2", "R-3", "R-4"]
    assert pasted.unmatched(before, user) == ["R-4", "R-2", "R-3"]
    assert pasted.ambiguous(before, user, 5) == (0, [])


def test_views_of_another_account_are_not_offered(
    mine: ProviderAccount, other: ProviderAccount
) -> None:
    user: User = UserFactory.create(role="operator")
    for account in (mine, other):
        saved_views.save(user, account.name, f"q=x&account={account.pk}&status=open")
    saved_views.save(user, "general", "q=account%3D7")
    assert saved_views.open_to(user).count() == 3
    offered = saved_views.open_to(limit(user, mine))
    assert [one.name for one in offered] == ["general", "paypal-europe"]


# --- People -------------------------------------------------------------------------------------


def limits_of(user: User) -> set[str]:
    return set(AccountAccess.objects.filter(user=user).values_list("account__name", flat=True))


def told() -> list[str]:
    rows = HistoryEvent.objects.filter(kind="user_limited").order_by("pk")
    return list(rows.values_list("detail", flat=True))


def test_a_person_is_limited_and_unlimited_on_record(
    mine: ProviderAccount, other: ProviderAccount
) -> None:
    administrator: User = UserFactory.create(role="administrator")
    dora: User = UserFactory.create(username="dora", role="operator")
    assert people.change(administrator, dora, [], None, [mine, other]) == [
        "limited to monite-nord, paypal-europe"
    ]
    assert people.change(administrator, dora, [], None, [mine]) == ["limited to paypal-europe"]
    assert people.change(administrator, dora, [], None, [mine]) == []
    assert people.change(administrator, dora, ["email"]) == []
    assert limits_of(dora) == {"paypal-europe"}
    people.change(administrator, dora, [], None, [])
    assert limits_of(dora) == set()
    assert told() == [
        "dora: limited to monite-nord, paypal-europe.",
        "dora: limited to paypal-europe.",
        "dora: limited to no account any more.",
    ]


def test_the_record_names_every_account_however_many_and_long() -> None:
    names = [f"{number} {'x' * 77}" for number in range(10)]
    accounts = [AccountFactory.create(name=name, provider="paypal", base_url="") for name in names]
    dora: User = UserFactory.create(username="d" * 150)
    people.change(UserFactory.create(is_superuser=True), dora, [], None, accounts)
    said = " ".join(told())
    assert [name for name in names if f"{name}," not in said and f"{name}." not in said] == []
    assert (said.count("limited to"), said.count("and to")) == (1, 2)


def test_whoever_is_limited_gives_nobody_more_than_they_have(
    mine: ProviderAccount, other: ProviderAccount
) -> None:
    administrator = a("administrator", mine)
    free, wider, same = (a("support", *some) for some in ((), (mine, other), (mine,)))
    for person in (free, wider):
        refuses(
            partial(people.change, administrator, person, [], None, [mine]),
            partial(people.change, administrator, person, ["is_active"]),
            partial(people.set_password, administrator, person, "glacier-77-x"),
            partial(second_factor.remove, administrator, person),
        )
    refuses(lambda: people.change(administrator, same, [], None, [other]))
    people.change(administrator, same, [], None, [])
    assert limits_of(same) == {"paypal-europe"}
    new = User(username="new")
    people.add(administrator, new, [], [])
    assert limits_of(new) == {"paypal-europe"}


def test_nobody_decides_on_the_own_accounts(mine: ProviderAccount) -> None:
    for user in (UserFactory.create(role="administrator"), UserFactory.create(is_superuser=True)):
        refuses(partial(people.change, user, user, [], None, [mine]))
