"""The invariants of `invoices/verification.py`, held against a sandbox in this process."""

from invoices.verification import Provider, violations
from providers.sandbox.control import Control

__all__ = ["Provider", "check", "seen_by", "violations"]


def seen_by(control: Control) -> Provider:
    """What a sandbox saw."""
    accounts = list(control.stats()["invoices"])
    done = {
        (account, invoice["id"]): invoice["cancelled_by"]
        for account in accounts
        for invoice in control.invoices(account)
    }
    return Provider(control.log(), done, accounts)


def check(control: Control) -> None:
    """Fail with a list of what is wrong."""
    wrong = violations(seen_by(control))
    assert not wrong, "\n".join(wrong)
