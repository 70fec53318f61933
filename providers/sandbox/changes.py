"""What happens to an invoice from outside, while a client is busy with it."""

from __future__ import annotations

from collections.abc import Callable

from providers.sandbox.dialects.base import Dialect
from providers.sandbox.world import OUTSIDE, Account, Invoice


class UnknownChangeError(ValueError):
    """A change that does not exist, or that the provider has no status for."""


def apply(name: str, dialect: Dialect, account: Account, external_id: str) -> None:
    """Makes the change ``name``; raises UnknownChangeError, KeyError for an unknown invoice."""
    invoice = account.invoices[external_id]
    if name == "delete":
        account.remove(external_id)
    elif name == "cancel_elsewhere":
        dialect.as_cancelled(invoice, by=OUTSIDE)
    elif name in _CHANGES:
        _CHANGES[name](dialect, invoice)
    else:
        raise UnknownChangeError(f"there is no change {name!r}")


def set_status(dialect: Dialect, invoice: Invoice, status: str) -> None:
    """Sets a status: a neutral name the dialect knows, or any word as it is."""
    invoice.remember()
    invoice.status = dialect.words.get(status, status)
    dialect.status_set(invoice, status)


def _pay(dialect: Dialect, invoice: Invoice) -> None:
    set_status(dialect, invoice, "paid")
    invoice.paid = invoice.amount


def _pay_part(dialect: Dialect, invoice: Invoice) -> None:
    if "partially_paid" not in dialect.words:
        raise UnknownChangeError(f"{dialect.code} has no partial payments")
    set_status(dialect, invoice, "partially_paid")
    invoice.paid = invoice.amount // 3


def _draft(dialect: Dialect, invoice: Invoice) -> None:
    if "draft" not in dialect.words:
        raise UnknownChangeError(f"{dialect.code} has no drafts")
    set_status(dialect, invoice, "draft")


def _change_amount(dialect: Dialect, invoice: Invoice) -> None:
    invoice.remember()
    invoice.amount += 100


_CHANGES: dict[str, Callable[[Dialect, Invoice], None]] = {
    "pay": _pay,
    "pay_part": _pay_part,
    "draft": _draft,
    "change_amount": _change_amount,
}
NAMES = (*_CHANGES, "cancel_elsewhere", "delete")
