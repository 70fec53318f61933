"""Amounts as integer minor units: exact, and never a guess.

An amount that cannot be represented exactly is `None`; the provider's own text stays in the
snapshot of the invoice.
"""

import re

LARGEST = 2**63 - 1
"""What a database's bigint holds."""

_DECIMAL = re.compile(r"(-?)(\d{1,19})(?:\.(\d{1,30}))?")

_ZERO = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE = "BHD IQD JOD KWD LYD OMR TND"
_EXPONENTS = (
    dict.fromkeys(_ZERO.split(), 0) | dict.fromkeys(_THREE.split(), 3) | {"CLF": 4, "UYW": 4}
)


def exponent_of(currency: str) -> int:
    """The number of decimal places of a currency by its ISO 4217 code; two unless listed."""
    return _EXPONENTS.get(currency.upper(), 2)


def to_minor(amount: object, exponent: int) -> int | None:
    """Minor units of a decimal amount given as text or whole number, e.g. ("12.50", 2) -> 1250.

    `None` when it is no plain decimal, has more places than the currency, or would not fit.
    """
    if isinstance(amount, bool) or not isinstance(amount, str | int):
        return None
    match = _DECIMAL.fullmatch(str(amount).strip()) if _short(amount) else None
    if match is None:
        return None
    sign, whole, fraction = match[1], match[2], match[3] or ""
    if fraction[exponent:].strip("0"):
        return None
    minor = int(whole + fraction[:exponent].ljust(exponent, "0"))
    return None if minor > LARGEST else -minor if sign else minor


def whole(amount: object) -> int | None:
    """Minor units that the provider already states as such, as whole number or digits."""
    return to_minor(amount, 0)


def format_minor(minor: int, exponent: int) -> str:
    """A readable amount with separators, e.g. (123450, 2) -> "1,234.50"."""
    sign, digits = ("-" if minor < 0 else ""), str(abs(minor)).rjust(exponent + 1, "0")
    units, places = digits[: len(digits) - exponent], digits[len(digits) - exponent :]
    return f"{sign}{int(units):,}" + (f".{places}" if exponent else "")


def _short(amount: str | int) -> bool:
    return abs(amount) <= LARGEST if isinstance(amount, int) else len(amount) <= 60
