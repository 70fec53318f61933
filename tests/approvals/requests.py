"""Rules, batches that wait for an approver, and the answers of approvers."""

from typing import Any

from django.contrib.auth.models import User

from invoices import batches
from invoices.approvals import Answer
from invoices.models import ApprovalRule, CancellationBatch, Invoice
from providers.models import ProviderAccount
from tests.factories import AccountFactory, InvoiceFactory


def rule(measure: str = "count", threshold: int = 1, **facts: Any) -> ApprovalRule:
    """A rule that is in force; amounts in minor units of EUR unless told otherwise."""
    if measure in ApprovalRule.AMOUNTS:
        facts = {"currency": "EUR", "exponent": 2, **facts}
    return ApprovalRule.objects.create(measure=measure, threshold=threshold, **facts)


def draft(user: User, *chosen: Invoice) -> CancellationBatch:
    """A preview of these invoices, or of three new ones."""
    account = ProviderAccount.objects.first() or AccountFactory.create()
    rows = chosen or InvoiceFactory.create_batch(3, account=account)
    mine = Invoice.objects.filter(pk__in=[one.pk for one in rows])
    return batches.freeze(user, mine, "some")


def form(batch: CancellationBatch, asks: bool = True, **changes: Any) -> batches.Confirmation:
    """What the preview's page posts."""
    given = {"reason": "duplicate", "note": "", "options": {}, **changes}
    return batches.Confirmation(batch.confirm_key, batch.digest, asks=asks, **given)


def awaiting(user: User, *chosen: Invoice) -> CancellationBatch:
    """A batch that waits; there must be a rule by which it does."""
    batch = draft(user, *chosen)
    return batches.confirm(batch, user, form(batch))


def answer(batch: CancellationBatch, note: str = "seen", **changes: Any) -> Answer:
    """What an approver's page posts."""
    key = batch.approval_key
    assert key is not None
    return Answer(**{"key": key, "digest": batch.approval_digest, "note": note, **changes})


def states(batch: CancellationBatch) -> dict[str, int]:
    """How many of a batch's attempts are in which state."""
    found: dict[str, int] = {}
    for state in batch.attempts.values_list("state", flat=True):
        found[state] = found.get(state, 0) + 1
    return found
