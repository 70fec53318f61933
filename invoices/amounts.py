"""Amounts as people write them, compared with invoices in whole minor units: no floats.

What "1,234" means depends on who asks: the search box takes both readings, a range the one that
the pages write themselves, with commas between thousands.
"""

import re
from dataclasses import dataclass

from django.db import connection
from django.db.models import BigIntegerField, Case, Q, Value, When
from django.db.models.expressions import RawSQL

from invoices.models import Invoice
from invoices.search import EXPONENTS, MANY_HITS
from providers.money import LARGEST

MOST_DIGITS = 15

_GROUPED = re.compile(r"\d{1,3}(?:([,.'])\d{3})(?:\1\d{3})*")
_PLAIN = re.compile(r"(\d+)(?:[.,](\d*))?")


class NotAnAmount(ValueError):
    """The text is no amount."""


@dataclass(frozen=True, slots=True)
class Amount:
    """A decimal number: `digits` with the last `places` of them behind the point."""

    digits: int
    places: int

    def at_least(self, exponent: int) -> int:
        """The least number of minor units that is not below it."""
        return -int(-self.digits * 10**exponent // 10**self.places)

    def at_most(self, exponent: int) -> int:
        """The greatest number of minor units that is not above it."""
        return int(self.digits * 10**exponent // 10**self.places)

    def exceeds(self, other: "Amount") -> bool:
        """Whether it is the larger one."""
        return bool(self.digits * 10**other.places > other.digits * 10**self.places)


def read_amount(text: str) -> Amount:
    """What was typed, e.g. "1,234.50", "1.234,50", "1234,5" or "1234". Raises `NotAnAmount`."""
    bare = re.sub(r"[\s\u00a0\u202f]", "", text)
    # A last separator that differs from those before it begins the decimal places.
    head, point, places = re.fullmatch(r"(.*?)(?:([.,])(\d*))?", bare, re.DOTALL).groups("")  # type: ignore[union-attr]
    grouped = _GROUPED.fullmatch(head)
    if point and grouped and grouped[1] != point:
        return _amount(re.sub(r"\D", "", head), places)
    whole = _GROUPED.fullmatch(bare)
    if whole and (whole[1] != "." or bare.count(".") > 1):
        return _amount(re.sub(r"\D", "", bare), "")
    plain = _PLAIN.fullmatch(bare)
    if plain is None:
        raise NotAnAmount(text)
    return _amount(plain[1], plain[2] or "")


def between(low: Amount | None, high: Amount | None) -> Q:
    """Invoices over amounts from one to the other, both included, whatever their currency.

    Few are found along the index of amounts. Of many, the list's own order finds the first page
    sooner. SQLite has to be told: left to itself it goes to all rows for each of the exponents.
    """
    ranges = {exponent: _minor(low, high, exponent) for exponent in EXPONENTS}
    if _are_few(list(ranges.values())):
        return Q(pk__in=_along_the_index(ranges))
    return Q(
        exponent__in=ranges,
        amount_minor__gte=_by_exponent(
            {exponent: least for exponent, (least, _) in ranges.items()}
        ),
        amount_minor__lte=_by_exponent({exponent: most for exponent, (_, most) in ranges.items()}),
    )


def _minor(low: Amount | None, high: Amount | None, exponent: int) -> tuple[int, int]:
    least = low.at_least(exponent) if low else 0
    greatest = high.at_most(exponent) if high else LARGEST
    return min(least, LARGEST), min(greatest, LARGEST)


def _are_few(ranges: list[tuple[int, int]]) -> bool:
    """Counted in the index alone, and no further than needed."""
    table = connection.ops.quote_name(Invoice._meta.db_table)
    within = f"SELECT 1 FROM {table} WHERE amount_minor BETWEEN %s AND %s LIMIT {MANY_HITS + 1}"  # noqa: S608
    counts = " + ".join([f"(SELECT count(*) FROM ({within}) AS hits)"] * len(ranges))  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {counts}", [bound for bounds in ranges for bound in bounds])
        return bool(cursor.fetchone()[0] <= MANY_HITS)


def _along_the_index(ranges: dict[int, tuple[int, int]]) -> RawSQL:
    """The ids, by one search in the index for each number of decimal places."""
    table = connection.ops.quote_name(Invoice._meta.db_table)
    within = f"SELECT id FROM {table} WHERE exponent = %s AND amount_minor BETWEEN %s AND %s"  # noqa: S608
    params = [one for exponent, bounds in ranges.items() for one in (exponent, *bounds)]
    return RawSQL(" UNION ALL ".join([within] * len(ranges)), params)  # noqa: S611 - ours


def _by_exponent(bounds: dict[int, int]) -> Case:
    return Case(
        *(When(exponent=exponent, then=Value(bound)) for exponent, bound in bounds.items()),
        output_field=BigIntegerField(),
    )


def _amount(whole: str, places: str) -> Amount:
    digits = whole + places
    if not digits.isascii() or len(digits) > MOST_DIGITS:
        raise NotAnAmount(digits)
    return Amount(int(digits), len(places))
