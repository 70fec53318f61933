"""The form for approval rules: limits as people write them, and who may read and write them."""

import pytest
from django.test import Client

from invoices.models import ApprovalRule, HistoryEvent
from tests.approvals.requests import rule
from tests.factories import AccountFactory
from tests.pages.scenes import login, text

pytestmark = pytest.mark.django_db

RULES = "/admin/invoices/approvalrule/"


def post(client: Client, url: str = f"{RULES}add/", **changes: str) -> str:
    given = {"measure": "count", "account": "", "limit": "100", "currency": ""}
    form = {**given, "delay_minutes": "0", "is_active": "on", **changes}
    return client.post(url, form, follow=True).content.decode()


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({}, "From 100 invoices in a batch"),
        ({"limit": "1,000", "measure": "day_count"}, "From 1,000 invoices that one person"),
        (
            {"measure": "total", "limit": "10,000.00", "currency": "eur"},
            "From 10,000.00 EUR for a batch",
        ),
        ({"measure": "single", "limit": "5000", "currency": "JPY"}, "From 5,000 JPY for one"),
        ({"measure": "single", "limit": "0", "currency": "KWD"}, "From 0.000 KWD for one invoice"),
    ],
)
def test_a_limit_is_entered_as_it_is_said(
    client: Client, typed: dict[str, str], words: str
) -> None:
    login(client, "administrator")
    post(client, **typed)
    assert str(ApprovalRule.objects.get()).startswith(words)
    assert words in text(client, RULES)
    event = HistoryEvent.objects.get(kind="rule_changed")
    assert words in event.detail


def test_a_rule_at_one_account_with_a_delay_is_changed_and_switched_off(client: Client) -> None:
    admin = login(client, "administrator")
    account = AccountFactory.create()
    made = rule("total", 1_000_000)
    url = f"{RULES}{made.pk}/change/"
    assert 'value="10000.00"' in text(client, url)
    post(
        client,
        url,
        measure="total",
        limit="10000.00",
        currency="EUR",
        account=str(account.pk),
        delay_minutes="15",
        is_active="",
    )
    event = HistoryEvent.objects.get(kind="rule_changed")
    assert (event.actor, event.account, event.detail) == (
        admin,
        account,
        "Before: From 10,000.00 EUR for a batch. Now: From 10,000.00 EUR for a batch at"
        " paypal-europe, then 15 min to recall (off).",
    )


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"limit": "0"}, "Write a whole number of at least 1."),
        ({"limit": "-5"}, "Write a whole number of at least 1."),
        ({"limit": "many"}, "Write a whole number of at least 1."),
        ({"limit": "9" * 30}, "Write a whole number of at least 1."),
        ({"limit": "1.5"}, "Write a whole number of at least 1."),
        ({"currency": "EUR"}, "A number of invoices has no currency."),
        ({"measure": "total", "limit": "5"}, "An amount needs its currency."),
        (
            {"measure": "total", "limit": "5.001", "currency": "EUR"},
            "This is no amount of this currency.",
        ),
        ({"measure": "burn"}, "Select a valid choice."),
        ({"delay_minutes": "-1"}, "greater than or equal to 0"),
        ({"delay_minutes": "1441"}, "less than or equal to 1440"),
        ({"limit": "\0"}, "Null characters are not allowed."),
    ],
)
def test_what_is_wrong_with_a_limit_is_said(
    client: Client, typed: dict[str, str], said: str
) -> None:
    login(client, "administrator")
    assert said in post(client, **typed)
    assert not ApprovalRule.objects.exists()
    assert not HistoryEvent.objects.filter(kind="rule_changed").exists()


def test_without_a_rule_the_list_says_that_nothing_needs_approval(client: Client) -> None:
    login(client, "administrator")
    assert "Without any rule nothing needs approval" in text(client, RULES)
    rule("count", 5, is_active=False)
    assert "No rule is in force:</strong> nothing needs approval." in text(client, RULES)


@pytest.mark.parametrize("role", ["auditor", "approver"])
def test_auditors_and_approvers_read_them(client: Client, role: str) -> None:
    made = rule("total", 1_000_000)
    login(client, role)
    assert "From 10,000.00 EUR for a batch" in text(client, RULES)
    assert "10,000.00 EUR" in text(client, f"{RULES}{made.pk}/change/")
    assert client.get(f"{RULES}add/").status_code == 403
    assert client.post(f"{RULES}{made.pk}/change/", {"limit": "1"}).status_code == 403


@pytest.mark.parametrize("role", ["operator", "support"])
def test_nobody_else_sees_them(client: Client, role: str) -> None:
    login(client, role)
    assert client.get(RULES).status_code == 403


def test_nobody_deletes_one(client: Client) -> None:
    made = rule("count", 5)
    login(client, "administrator", is_superuser=True)
    assert client.post(f"{RULES}{made.pk}/delete/", {"post": "yes"}).status_code == 403
