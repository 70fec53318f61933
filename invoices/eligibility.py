"""May this invoice be cancelled, and if not why: the one rule engine.

`decide` is pure and sees only `Facts`. The preview applies it to each distinct combination of
facts in a selection (a few dozen, whatever the number of invoices); the drain applies the same
rules to what the provider shows just before sending.
"""

from dataclasses import dataclass

from providers.adapters import ADAPTERS
from providers.adapters.base import RemoteInvoice, Status


@dataclass(frozen=True, slots=True)
class Rule:
    """Why an invoice is not eligible: a code to count by, and a sentence to read."""

    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Facts:
    """All that eligibility depends on. `spoken_for`: another attempt is under way."""

    provider: str
    status: str
    spoken_for: bool
    has_credentials: bool


@dataclass(frozen=True, slots=True)
class Frozen:
    """An invoice as the preview showed it."""

    status: str
    amount_minor: int | None
    currency: str
    exponent: int
    customer: str


RULES = {
    rule.code: rule
    for rule in (
        Rule("spoken_for", "Another batch is already cancelling it."),
        Rule("no_credentials", "Its provider account has no complete credentials."),
        Rule("cancelled", "It is already cancelled."),
        Rule("paid", "It is paid; a paid invoice is refunded, not cancelled."),
        Rule("partially_paid", "It is partly paid; its provider does not cancel such invoices."),
        Rule("payment_pending", "A payment is under way."),
        Rule("refunded", "It was refunded."),
        Rule("draft", "It is a draft that was never sent; delete it at the provider instead."),
        Rule("scheduled", "It is scheduled and not sent yet; delete it at the provider instead."),
        Rule("written_off", "It was written off."),
        Rule("expired", "It has expired."),
        Rule("unknown", "Its status at the provider is a word that is not known here."),
    )
}


def decide(facts: Facts) -> Rule | None:
    """The first rule that forbids the cancellation, or None when it may be cancelled."""
    if facts.spoken_for:
        return RULES["spoken_for"]
    if not is_cancellable(facts.provider, facts.status):
        return RULES.get(facts.status, RULES["unknown"])
    if not facts.has_credentials:
        return RULES["no_credentials"]
    return None


def is_cancellable(provider: str, status: str) -> bool:
    """Whether this provider cancels invoices of this status (in our words)."""
    adapter = ADAPTERS.get(provider)
    return adapter is not None and status in adapter.cancellable


def difference(frozen: Frozen, remote: RemoteInvoice) -> str:
    """What the provider now states differently from what was frozen, as a code; "" for nothing.

    A code is `amount_changed`, `currency_changed`, `customer_changed`, or the new status.
    """
    if str(remote.status) != frozen.status:
        return str(remote.status)
    if remote.currency != frozen.currency or remote.exponent != frozen.exponent:
        return "currency_changed"
    if remote.amount_minor != frozen.amount_minor:
        return "amount_changed"
    if remote.customer_name != frozen.customer:
        return "customer_changed"
    return ""


def status_sentence(status: Status | str) -> str:
    """Why an invoice of this status is not cancelled, for people."""
    rule = RULES.get(str(status))
    return rule.sentence if rule else ""
