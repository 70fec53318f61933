"""May this invoice be cancelled, and if not why."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from invoices.eligibility import RULES, Facts, Frozen, decide, difference, is_cancellable
from providers.adapters import ADAPTERS
from providers.adapters.base import RemoteInvoice, Status

CANCELLABLE = {
    "paypal": {"open"},
    "visa_acceptance": {"open", "draft"},
    "monite": {"open"},
    "kantata": {"open"},
    "teos": {"open"},
}
EVERY = [(provider, str(status)) for provider in ADAPTERS for status in Status]


def test_the_table_knows_every_provider() -> None:
    assert set(CANCELLABLE) == set(ADAPTERS)


@pytest.mark.parametrize(("provider", "status"), EVERY)
def test_each_status_at_each_provider(provider: str, status: str) -> None:
    rule = decide(Facts(provider, status, spoken_for=False, has_credentials=True))
    may = status in CANCELLABLE[provider]
    assert is_cancellable(provider, status) == may
    assert (rule is None) == may
    if rule is not None:
        assert rule.code == (status if status in RULES else "unknown")
        assert rule.sentence.endswith(".")


@pytest.mark.parametrize(("provider", "status"), EVERY)
def test_what_another_batch_has_in_hand_is_never_eligible(provider: str, status: str) -> None:
    for has_credentials in (True, False):
        rule = decide(Facts(provider, status, True, has_credentials))
        assert rule is RULES["spoken_for"]


def test_without_credentials_only_what_could_be_cancelled_is_ruled_out_for_that() -> None:
    assert decide(Facts("paypal", "open", False, False)) is RULES["no_credentials"]
    assert decide(Facts("paypal", "paid", False, False)) is RULES["paid"]


@pytest.mark.parametrize("status", ["", "OPEN", "something new"])
def test_an_unknown_word_or_provider_is_never_eligible(status: str) -> None:
    assert decide(Facts("paypal", status, False, True)) is RULES["unknown"]
    assert decide(Facts("nobody", "open", False, True)) is RULES["unknown"]


FROZEN = Frozen("open", 12_345, "EUR", 2, "Sample customer")
REMOTE = RemoteInvoice(
    reference="1",
    number="T-1",
    customer_name="Sample customer",
    customer_email="",
    currency="EUR",
    exponent=2,
    amount_minor=12_345,
    balance_minor=1,
    status=Status.OPEN,
    provider_status="SENT",
    issued_on=None,
    due_on=None,
    raw={},
)


@pytest.mark.parametrize(
    ("now", "code"),
    [
        ({}, ""),
        ({"balance_minor": 7, "number": "other", "due_on": date(2026, 1, 1)}, ""),
        ({"status": Status.PAID}, "paid"),
        ({"status": Status.PAID, "amount_minor": 1}, "paid"),
        ({"currency": "USD"}, "currency_changed"),
        ({"exponent": 3}, "currency_changed"),
        ({"amount_minor": 12_346}, "amount_changed"),
        ({"amount_minor": None}, "amount_changed"),
        ({"customer_name": "Somebody else"}, "customer_changed"),
    ],
)
def test_what_differs_from_what_was_shown(now: dict[str, Any], code: str) -> None:
    assert difference(FROZEN, replace(REMOTE, **now)) == code


def test_an_amount_that_was_never_known_is_no_change() -> None:
    frozen = replace(FROZEN, amount_minor=None)
    assert difference(frozen, replace(REMOTE, amount_minor=None)) == ""
