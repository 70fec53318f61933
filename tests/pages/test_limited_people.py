"""Tick-boxes that limit a person to provider accounts: who has them, what they do, who is told."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from invoices.models import AccountAccess, HistoryEvent
from providers.models import ProviderAccount
from tests.factories import AccountFactory, InvoiceFactory, UserFactory, limit
from tests.pages.scenes import HISTORY, LIST, login, queries, text
from tests.pages.test_people import GOOD, USERS, form_of

pytestmark = pytest.mark.django_db

RULES = "/admin/invoices/approvalrule/"
ACCOUNTS = "/admin/providers/provideraccount/"


@pytest.fixture
def europe() -> ProviderAccount:
    made: ProviderAccount = AccountFactory.create(name="paypal-europe")
    return made


@pytest.fixture
def nord() -> ProviderAccount:
    made: ProviderAccount = AccountFactory.create(name="monite-nord")
    return made


def limits_of(user: User) -> set[str]:
    return set(AccountAccess.objects.filter(user=user).values_list("account__name", flat=True))


def post(client: Client, person: User, *accounts: ProviderAccount, **changes: Any) -> int:
    ticked = [str(one.pk) for one in accounts]
    posted = form_of(person, accounts=ticked, **changes)
    return client.post(f"{USERS}{person.pk}/change/", posted).status_code


def boxes(page: str) -> dict[str, bool]:
    """The accounts that can be ticked, and whether each is."""
    found = re.findall(r'<input type="checkbox" name="accounts"([^>]*)>\s*([\w-]+)', page)
    return {name: "checked" in attributes for attributes, name in found}


def test_an_administrator_limits_somebody_from_the_next_click_on(
    client: Client, europe: ProviderAccount, nord: ProviderAccount
) -> None:
    for account in (europe, nord):
        InvoiceFactory.create(account=account, number=f"of {account}")
    theirs = Client()
    dora = login(theirs, "operator", username="dora")
    administrator = login(client, "administrator")
    assert "of monite-nord" in text(theirs, LIST)
    page = text(client, f"{USERS}{dora.pk}/change/")
    assert boxes(page) == {"monite-nord": False, "paypal-europe": False}
    assert "None ticked means all." in page
    assert post(client, dora, europe) == 302
    page = text(theirs, LIST)
    assert ("of paypal-europe" in page, "of monite-nord" in page) == (True, False)
    assert boxes(text(client, f"{USERS}{dora.pk}/change/"))["paypal-europe"]
    assert post(client, dora) == 302
    assert "of monite-nord" in text(theirs, LIST)
    told = HistoryEvent.objects.filter(kind="user_limited").order_by("pk")
    assert [(one.actor, one.code, one.detail) for one in told] == [
        (administrator, f"person:{dora.pk}", "dora: limited to paypal-europe."),
        (administrator, f"person:{dora.pk}", "dora: limited to no account any more."),
    ]
    assert "User limited to accounts" in text(client, f"{HISTORY}?person={dora.pk}")


def test_somebody_new_is_limited_at_once(client: Client, europe: ProviderAccount) -> None:
    login(client, "administrator")
    posted = {"username": "dora", "password1": GOOD, "password2": GOOD, "accounts": [europe.pk]}
    assert client.post(f"{USERS}add/", posted).status_code == 302
    assert limits_of(User.objects.get(username="dora")) == {"paypal-europe"}


def test_an_account_that_is_not_there_is_refused(client: Client, europe: ProviderAccount) -> None:
    login(client, "administrator")
    dora: User = UserFactory.create()
    posted = form_of(dora, accounts=["999", "x"])
    assert client.post(f"{USERS}{dora.pk}/change/", posted).status_code == 200
    assert limits_of(dora) == set()


def test_the_list_says_who_is_limited_without_a_query_for_each(
    client: Client, europe: ProviderAccount, nord: ProviderAccount
) -> None:
    login(client, "auditor")
    limit(UserFactory.create(username="dora"), europe, nord)
    assert "monite-nord, paypal-europe" in text(client, USERS)
    before = queries(client, USERS)
    for _ in range(5):
        limit(UserFactory.create(), europe)
    assert queries(client, USERS) == before
    dora = User.objects.get(username="dora")
    page = text(client, f"{USERS}{dora.pk}/change/")
    assert "monite-nord, paypal-europe" in page
    assert boxes(page) == {}


def test_whoever_is_limited_reads_no_name_of_another_account(
    client: Client, europe: ProviderAccount, nord: ProviderAccount
) -> None:
    limit(login(client, "auditor"), europe)
    both = limit(UserFactory.create(), europe, nord)
    limit(UserFactory.create(), nord)
    page = text(client, USERS)
    assert ("paypal-europe, others" in page, "monite-nord" in page) == (True, False)
    page = text(client, f"{USERS}{both.pk}/change/")
    assert ("paypal-europe, others" in page, "monite-nord" in page) == (True, False)


def test_nobody_ticks_the_own_boxes(client: Client, europe: ProviderAccount) -> None:
    user = login(client, "administrator")
    assert boxes(text(client, f"{USERS}{user.pk}/change/")) == {}
    post(client, user, europe)
    assert limits_of(user) == set()


def test_a_limited_administrator_gives_the_own_accounts_and_no_more(
    client: Client, europe: ProviderAccount, nord: ProviderAccount
) -> None:
    limit(login(client, "administrator"), europe)
    free: User = UserFactory.create()
    page = text(client, f"{USERS}{free.pk}/change/")
    assert boxes(page) == {}
    assert 'name="roles"' not in page
    assert post(client, free, europe, roles=[str(Group.objects.get(name="operator").pk)]) == 302
    assert (limits_of(free), free.groups.count()) == (set(), 0)
    password = {"new_password1": GOOD, "new_password2": GOOD}
    assert client.post(f"{USERS}{free.pk}/password/", password).status_code == 403
    same = limit(UserFactory.create(), europe)
    page = text(client, f"{USERS}{same.pk}/change/")
    assert boxes(page) == {"paypal-europe": True}
    assert "None ticked means all of yours." in page
    assert post(client, same, nord) == 200
    assert post(client, same) == 302
    assert limits_of(same) == {"paypal-europe"}
    posted = {"username": "new", "password1": GOOD, "password2": GOOD}
    assert client.post(f"{USERS}add/", posted).status_code == 302
    assert limits_of(User.objects.get(username="new")) == {"paypal-europe"}


def test_a_limited_administrator_adds_no_account_and_writes_rules_for_the_own(
    client: Client, europe: ProviderAccount, nord: ProviderAccount
) -> None:
    limit(login(client, "administrator"), europe)
    assert client.get(f"{ACCOUNTS}add/?provider=paypal").status_code == 403
    assert "monite-nord" not in text(client, ACCOUNTS)
    page = text(client, f"{RULES}add/")
    assert ("All accounts" in page, "monite-nord" in page) == (False, False)
    rule = {"measure": "count", "limit": "5", "delay_minutes": "0", "is_active": "on"}
    for account, status in (("", 200), (nord.pk, 200), (europe.pk, 302)):
        answer = client.post(f"{RULES}add/", {**rule, "account": account})
        assert answer.status_code == status, account


def test_currencies_to_choose_from_are_not_looked_for_among_all_invoices(
    client: Client, europe: ProviderAccount, nord: ProviderAccount
) -> None:
    InvoiceFactory.create(account=europe, currency="SATS", number="odd")
    InvoiceFactory.create(account=europe, currency="EUR", number="even")
    InvoiceFactory.create(account=nord, currency="XAU", number="foreign")
    user = login(client, "operator")
    assert "currency=XAU" in text(client, LIST)
    limit(user, europe)
    assert "XAU" not in text(client, LIST)
    shown = client.get(f"{LIST}?currency=other").context["cl"].result_list
    assert [one.number for one in shown] == ["odd"]
