"""The rows that a preview froze: which of them may not run, which changed since, their digest."""

import hashlib
import json
from collections.abc import Iterable

from django.contrib.auth.models import User
from django.db.models import Case, CharField, Count, Exists, F, OuterRef, Q, Value, When

from invoices import eligibility
from invoices.models.attempt import LIVE, AttemptQuerySet, CancellationAttempt, State, Step
from invoices.models.batch import CancellationBatch
from providers.credentials import UnreadableCredentials
from providers.models import ProviderAccount

SPOKEN_FOR = "spoken_for"
SAME_STATUS = Q(invoice__status=F("frozen_status"))
SAME_CURRENCY = Q(invoice__currency=F("frozen_currency"), invoice__exponent=F("frozen_exponent"))
SAME_AMOUNT = Q(invoice__amount_minor=F("frozen_amount_minor")) | Q(
    invoice__amount_minor=None, frozen_amount_minor=None
)
SAME_CUSTOMER = Q(invoice__customer_name=F("frozen_customer"))


def drafts(batch: CancellationBatch) -> AttemptQuerySet:
    """What is to be cancelled of a batch that has not started."""
    return batch.attempts.all().filter(state=State.DRAFT)


def note_accounts(batch: CancellationBatch) -> frozenset[int]:
    """Note with a batch that was just frozen at which accounts its invoices are; returns these."""
    found = batch.attempts.order_by().values_list("account", flat=True).distinct()
    ids = frozenset(found)
    batch.accounts.add(*ids)
    return ids


def rule_out(batch: CancellationBatch, accounts: Iterable[int]) -> None:
    """Mark what is not eligible: one decision for each combination of facts, not for each row."""
    rows = batch.attempts.all()
    rows.filter(spoken_for()).rule_out(SPOKEN_FOR)
    ready = {pk: _has_credentials(pk) for pk in accounts}
    combinations = (
        drafts(batch)
        .order_by()
        .values_list("account_id", "account__provider", "frozen_status")
        .distinct()
    )
    for account_id, provider, status in combinations:
        facts = eligibility.Facts(provider, status, False, ready[account_id])
        rule = eligibility.decide(facts)
        if rule is not None:
            rows.filter(account_id=account_id, frozen_status=status).rule_out(rule.code)


def spoken_for() -> Exists:
    """Whether another attempt for the same invoice is under way."""
    live = CancellationAttempt.objects.filter(invoice=OuterRef("invoice"), state__in=LIVE)
    return Exists(live)


def changed(batch: CancellationBatch) -> int:
    """How many of the rows to be cancelled are no longer as they were frozen."""
    same = SAME_STATUS & SAME_CURRENCY & SAME_AMOUNT & SAME_CUSTOMER
    return drafts(batch).exclude(same).count()


def would_drop(batch: CancellationBatch) -> dict[str, int]:
    """What `drop` would leave out at this moment: how many by code."""
    rows = drafts(batch).annotate(cause=_cause()).exclude(cause="").order_by()
    return dict(rows.values_list("cause").annotate(count=Count("pk")))


def drop(batch: CancellationBatch, actor: User) -> int:
    """Leave out what is spoken for or has changed since it was frozen; returns how many."""
    rows = batch.attempts.all().annotate(cause=_cause())
    return sum(
        rows.filter(cause=code).move_all(
            Step(State.DRAFT, State.INELIGIBLE, code=code), actor=actor
        )
        for code in would_drop(batch)
    )


def drop_spoken_for(batch: CancellationBatch, actor: User) -> int:
    """Leave out what another batch took meanwhile; returns how many."""
    step = Step(State.DRAFT, State.INELIGIBLE, code=SPOKEN_FOR)
    return batch.attempts.all().filter(spoken_for()).move_all(step, actor=actor)


def _cause() -> Case:
    """Why a row may not run as it was frozen, as a code; "" if it may."""
    return Case(
        When(spoken_for(), then=Value(SPOKEN_FOR)),
        When(SAME_STATUS & SAME_CURRENCY & SAME_AMOUNT & SAME_CUSTOMER, then=Value("")),
        When(SAME_STATUS & SAME_CURRENCY & SAME_AMOUNT, then=Value("customer_changed")),
        When(SAME_STATUS & SAME_CURRENCY, then=Value("amount_changed")),
        When(SAME_STATUS, then=Value("currency_changed")),
        default=F("invoice__status"),
        output_field=CharField(),
    )


def digest(batch: CancellationBatch) -> str:
    """SHA-256 over the frozen rows, in the order in which they were frozen."""
    seal = hashlib.sha256(f"batch {batch.pk}\n".encode())
    rows = batch.attempts.order_by("pk").values_list(
        "invoice_id",
        "state",
        "frozen_status",
        "frozen_amount_minor",
        "frozen_currency",
        "frozen_exponent",
        "frozen_customer",
    )
    for row in rows.iterator(chunk_size=5000):
        seal.update(json.dumps(row).encode() + b"\n")
    return seal.hexdigest()


def approval_digest(batch: CancellationBatch, rows_digest: str) -> str:
    """SHA-256 over what an approver says yes to: the rows, who asks, why, how, and the delay."""
    asked = {
        "batch": batch.pk,
        "rows": rows_digest,
        "by": batch.requested_by_id,
        "reason": batch.reason,
        "note": batch.note,
        "options": batch.options,
        "rules": batch.approval_reasons,
        "delay": batch.delay_minutes,
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _has_credentials(account_id: int) -> bool:
    try:
        return not ProviderAccount.objects.get(pk=account_id).missing_credentials()
    except UnreadableCredentials:
        return False
