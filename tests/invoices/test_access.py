"""People who are limited to some provider accounts: what is theirs, and what that costs."""

from importlib import import_module

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import ProtectedError
from pytest_django import DjangoAssertNumQueries

from backoffice.sessions import Backend
from invoices import access, approvals
from invoices.models import (
    AccountAccess,
    ApprovalRule,
    CancellationBatch,
    HistoryEvent,
    Invoice,
)
from providers.models import ProviderAccount
from tests.factories import AccountFactory, InvoiceFactory, UserFactory, limit
from tests.pages.scenes import attempt, event, running

pytestmark = pytest.mark.django_db


@pytest.fixture
def mine() -> ProviderAccount:
    made: ProviderAccount = AccountFactory.create(name="paypal-europe")
    return made


@pytest.fixture
def other() -> ProviderAccount:
    made: ProviderAccount = AccountFactory.create(name="monite-nord")
    return made


def batch_of(*accounts: ProviderAccount) -> CancellationBatch:
    batch = running(UserFactory.create())
    for account in accounts:
        attempt(batch, InvoiceFactory.create(account=account), "failed")
    return batch


def seen(user: User) -> set[int]:
    return set(access.narrow(user, CancellationBatch.objects.all()).values_list("pk", flat=True))


def test_every_model_with_pages_says_of_which_account_a_row_is() -> None:
    for model in admin.site._registry:
        access.narrow(User(is_superuser=True), model._base_manager.all())


def test_a_model_of_which_nobody_said_so_is_refused_to_everybody() -> None:
    for user in (User(is_superuser=True), UserFactory.create()):
        for model in (Session, Permission, AccountAccess):
            with pytest.raises(LookupError, match="Say in invoices"):
                access.narrow(user, model._default_manager.all())


def test_every_condition_is_one_that_a_database_understands(mine: ProviderAccount) -> None:
    user = limit(UserFactory.create(), mine)
    for model in access.CONDITIONS:
        list(access.narrow(user, model._base_manager.all()))


def test_without_a_limit_all_is_theirs(mine: ProviderAccount, other: ProviderAccount) -> None:
    user: User = UserFactory.create()
    batch = batch_of(mine, other)
    assert access.limit(user) is None
    assert seen(user) == {batch.pk}
    access.require(user, batch)
    access.require_accounts(user, None)


def test_a_superuser_is_never_limited(mine: ProviderAccount, other: ProviderAccount) -> None:
    user = limit(UserFactory.create(is_superuser=True), mine)
    batch = batch_of(other)
    assert access.limit(user) is None
    assert seen(user) == {batch.pk}


def test_invoices_of_other_accounts_are_not_there(
    mine: ProviderAccount, other: ProviderAccount
) -> None:
    user = limit(UserFactory.create(), mine)
    invoice, foreign = (InvoiceFactory.create(account=one) for one in (mine, other))
    assert list(access.narrow(user, Invoice.objects.all())) == [invoice]
    assert (access.sees(user, invoice), access.sees(user, foreign)) == (True, False)
    access.require(user, invoice)
    with pytest.raises(PermissionDenied, match="Nothing was sent"):
        access.require(user, foreign)


def test_a_batch_is_theirs_only_as_a_whole(mine: ProviderAccount, other: ProviderAccount) -> None:
    one, mixed, foreign = batch_of(mine), batch_of(mine, other), batch_of(other)
    # Of one that was forgotten before accounts were noted, nobody knows.
    batch_of()
    assert seen(limit(UserFactory.create(), mine)) == {one.pk}
    assert seen(limit(UserFactory.create(), mine, other)) == {one.pk, mixed.pk, foreign.pk}


def test_events_are_theirs_by_account_then_by_batch_and_if_about_neither(
    mine: ProviderAccount, other: ProviderAccount
) -> None:
    user = limit(UserFactory.create(), mine)
    one, mixed = batch_of(mine), batch_of(mine, other)
    for batch in (one, mixed):
        batch.record(None, "draft", "running", f"of batch {batch.pk}")
        for row in batch.attempts.all():
            event(row, "failed", detail=f"at {row.account}")
    for kind in HistoryEvent.Kind.values:
        for actor in (user, None):
            HistoryEvent.objects.create(kind=kind, actor=actor, detail=f"by {actor or 'another'}")
    rows = access.narrow(user, HistoryEvent.objects.all())
    about = rows.exclude(account=None, batch=None).values_list("detail", flat=True)
    assert sorted(about) == ["at paypal-europe", "at paypal-europe", f"of batch {one.pk}"]
    general = set(rows.filter(account=None, batch=None).values_list("kind", "actor"))
    hidden = {(kind, None) for kind in ("evidence_exported", "view_changed", "user_limited")}
    assert (
        general
        == {(kind, actor) for kind in HistoryEvent.Kind.values for actor in (user.pk, None)}
        - hidden
    )


def test_rules_for_all_accounts_are_theirs_to_see(
    mine: ProviderAccount, other: ProviderAccount
) -> None:
    user = limit(UserFactory.create(), mine)
    for account in (None, mine, other):
        ApprovalRule.objects.create(measure="count", threshold=5, account=account)
    found = access.narrow(user, ApprovalRule.objects.all()).values_list("account", flat=True)
    assert set(found) == {None, mine.pk}


def test_only_people_to_whom_all_its_accounts_belong_may_approve_a_batch(
    mine: ProviderAccount, other: ProviderAccount
) -> None:
    free, both, one, none, root = (
        UserFactory.create(username=name, role="approver") for name in "abcde"
    )
    for user, accounts in (
        (both, (mine, other)),
        (one, (mine,)),
        (none, (other,)),
        (root, (mine,)),
    ):
        limit(user, *accounts)
    User.objects.filter(pk=root.pk).update(is_superuser=True)
    assert list(approvals.approvers(batch_of(mine))) == [free, both, one, root]
    assert list(approvals.approvers(batch_of(mine, other))) == [free, both, root]


def test_an_account_that_somebody_is_limited_to_cannot_be_deleted(mine: ProviderAccount) -> None:
    limit(UserFactory.create(), mine)
    with pytest.raises(ProtectedError):
        mine.delete()


def test_batches_of_before_get_their_accounts_by_a_migration(
    mine: ProviderAccount, other: ProviderAccount
) -> None:
    batches = [batch_of(mine), batch_of(mine, other), batch_of()]
    before = [set(one.accounts.all()) for one in batches]
    CancellationBatch.accounts.through._default_manager.all().delete()
    with connection.cursor() as cursor:
        cursor.execute(import_module("invoices.migrations.0017_accounts_of_batches").NOTE)
    assert [set(one.accounts.all()) for one in batches] == before == [{mine}, {mine, other}, set()]


def test_it_costs_nothing_for_the_unlimited_and_one_query_for_the_others(
    mine: ProviderAccount, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    free, limited = UserFactory.create(), limit(UserFactory.create(), mine)
    for person, extra in ((free, 0), (limited, 1)):
        with django_assert_num_queries(1 + extra):
            user = Backend().get_user(person.pk)
            assert user is not None
            assert (access.limit(user), access.limit(user)) == (
                (frozenset({mine.pk}) if extra else None),
            ) * 2
