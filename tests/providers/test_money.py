"""Amounts are exact integers or nothing."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers import money


@pytest.mark.parametrize(
    ("amount", "exponent", "minor"),
    [
        ("12.50", 2, 1250),
        ("12.5", 2, 1250),
        ("12", 2, 1200),
        (12, 2, 1200),
        ("0.00", 2, 0),
        ("-3.07", 2, -307),
        ("1240.00", 0, 1240),
        ("1.234", 3, 1234),
        ("12.3400", 2, 1234),
        (" 5 ", 0, 5),
        ("92233720368547758.07", 2, money.LARGEST),
    ],
)
def test_a_plain_decimal_becomes_minor_units(amount: object, exponent: int, minor: int) -> None:
    assert money.to_minor(amount, exponent) == minor


@pytest.mark.parametrize(
    ("amount", "exponent"),
    [
        ("12.345", 2),
        ("0.5", 0),
        ("92233720368547758.08", 2),
        ("1e3", 2),
        ("1,200.00", 2),
        ("+5", 2),
        (".5", 2),
        ("5.", 2),
        ("", 2),
        ("NaN", 2),
        ("9" * 5000, 2),
        (10**400, 2),
        (12.5, 2),
        (Decimal("12.5"), 2),
        (True, 2),
        (None, 2),
        ([], 2),
        ({}, 2),
        ("12.50\n13", 2),
    ],
)
def test_what_cannot_be_represented_exactly_is_none(amount: object, exponent: int) -> None:
    assert money.to_minor(amount, exponent) is None


@pytest.mark.parametrize(
    ("currency", "exponent"), [("USD", 2), ("jpy", 0), ("KWD", 3), ("CLF", 4), ("", 2), ("???", 2)]
)
def test_a_currency_has_its_own_number_of_places(currency: str, exponent: int) -> None:
    assert money.exponent_of(currency) == exponent


@given(st.integers(-money.LARGEST, money.LARGEST), st.integers(0, 8))
def test_what_is_shown_reads_back_as_the_same_amount(minor: int, exponent: int) -> None:
    shown = money.format_minor(minor, exponent)
    assert money.to_minor(shown.replace(",", ""), exponent) == minor


@given(st.text() | st.integers() | st.floats() | st.booleans() | st.none(), st.integers(0, 18))
def test_no_amount_whatever_it_is_is_a_crash(amount: object, exponent: int) -> None:
    minor = money.to_minor(amount, exponent)
    assert minor is None or abs(minor) <= money.LARGEST


def test_an_amount_is_shown_with_separators_and_its_places() -> None:
    assert money.format_minor(123450, 2) == "1,234.50"
    assert money.format_minor(-5, 2) == "-0.05"
    assert money.format_minor(1240, 0) == "1,240"
