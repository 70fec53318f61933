"""A state and an amount as HTML, for templates (`{% load annul %}`) and for cells.py."""

from django.utils.html import format_html
from django.utils.safestring import SafeString

from providers.money import format_minor


def badge(state: object, word: object = "") -> SafeString:
    """A state as colour, shape and word; the word is made from the state unless given."""
    return format_html(
        '<span class="badge" data-state="{}">{}</span>', state, word or word_of(str(state))
    )


def money(minor: int | None, currency: str, exponent: int | None = 2) -> SafeString:
    """An amount in minor units, e.g. (124000, "USD", 2) -> 1,240.00 USD; exact, no floats."""
    if minor is None or exponent is None:
        return format_html('<span class="money not-stated">{}</span>', "not stated")
    return format_html(
        '<span class="money">{} {}</span>', format_minor(int(minor), int(exponent)), currency
    )


def word_of(state: str) -> str:
    """How a state reads that has no word of its own: "partially_paid" -> "Partially paid"."""
    return state.replace("_", " ").capitalize() or "Unknown"
