"""Amounts as people type them: exact, one reading each, and refused where there is none."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.amounts import Amount, NotAnAmount, read_amount


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("1234", "1234"),
        ("1,234", "1234"),
        ("1.234", "1.234"),
        ("1,234.50", "1234.5"),
        ("1.234,50", "1234.5"),
        ("1234,5", "1234.5"),
        ("1'234.50", "1234.5"),
        ("1.234.567", "1234567"),
        ("1,234,567.8", "1234567.8"),
        (" 1 234.50 ", "1234.5"),
        ("0", "0"),
        ("5.", "5"),
    ],
)
def test_an_amount_is_read_as_it_is_meant(typed: str, meant: str) -> None:
    read = read_amount(typed)
    assert Decimal(read.digits).scaleb(-read.places) == Decimal(meant)


@pytest.mark.parametrize(
    "typed", ["", "abc", "-1", "1e5", "1,23,456", "1,234,56", "٣", "1" * 16, "1.2.3", "$5", "\n"]
)
def test_what_is_no_amount_is_refused(typed: str) -> None:
    with pytest.raises(NotAnAmount):
        read_amount(typed)


@given(st.integers(0, 10**15 - 1), st.integers(0, 12), st.integers(0, 8))
def test_bounds_are_exact(digits: int, places: int, exponent: int) -> None:
    amount, value = Amount(digits, places), Decimal(digits).scaleb(-places)
    least, greatest = amount.at_least(exponent), amount.at_most(exponent)
    assert Decimal(least - 1).scaleb(-exponent) < value <= Decimal(least).scaleb(-exponent)
    assert Decimal(greatest).scaleb(-exponent) <= value < Decimal(greatest + 1).scaleb(-exponent)


@given(st.text(max_size=30))
def test_nothing_that_is_typed_breaks_it(typed: str) -> None:
    try:
        read_amount(typed)
    except NotAnAmount:
        return
