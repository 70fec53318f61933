"""Does a batch need an approver, and why: the rules, applied to the figures of its frozen rows.

`decide` is pure. Amounts are compared within their currency and never converted: one in a currency
for which there is no limit needs an approver as soon as there is a limit for any other.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import BigIntegerField, Count, ExpressionWrapper, F, Max, Min, Q, Sum
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now

from invoices import access, frozen
from invoices.models.approval import ApprovalRule
from invoices.models.attempt import AttemptQuerySet, CancellationAttempt, State
from invoices.models.batch import CancellationBatch
from invoices.models.evidence import HistoryEvent
from providers.money import format_minor

Measure = ApprovalRule.Measure
BatchState = CancellationBatch.State
DAY = timedelta(hours=24)
HALF = 1_000_000_000
COUNTED = (
    BatchState.AWAITING_APPROVAL,
    BatchState.RUNNING,
    BatchState.PAUSED,
    BatchState.STOPPING,
    BatchState.FINISHED,
)
NOT_DONE = (
    State.INELIGIBLE,
    State.REFUSED,
    State.SKIPPED,
    State.FAILED,
    State.WITHDRAWN,
    State.ALREADY_CANCELLED,
)
"""What does not count towards a person's 24 hours: we cancelled nothing there."""


@dataclass(frozen=True, slots=True)
class Figure:
    """So many invoices of one account, currency and exponent. Amounts in minor units, unsigned."""

    account_id: int
    currency: str
    exponent: int
    count: int
    not_stated: int
    largest: int
    total: int


@dataclass(frozen=True, slots=True)
class Need:
    """Why a batch needs an approver, as sentences; none: it needs none. The delay is in minutes."""

    reasons: tuple[str, ...] = ()
    delay_minutes: int = 0

    def __bool__(self) -> bool:
        return bool(self.reasons)


def needed(batch: CancellationBatch) -> Need:
    """What the rules that are in force say of a batch that has not started."""
    rules = list(ApprovalRule.objects.filter(is_active=True).select_related("account"))
    if not rules:
        return Need()
    mine = figures(frozen.drafts(batch))
    day = [*mine, *figures(_asked_within_a_day(batch))]
    return decide(rules, mine, day)


def decide(rules: Sequence[ApprovalRule], mine: Sequence[Figure], day: Sequence[Figure]) -> Need:
    """By the figures of a batch, and of all that its requester asked for in a day with it."""
    reached = [
        (sentence, rule.delay_minutes)
        for rule in rules
        if (sentence := _reached(rule, _of(rule, mine), _of(rule, day)))
    ]
    reached += _without_a_limit(rules, mine)
    return Need(
        tuple(dict.fromkeys(sentence for sentence, _ in reached)),
        max((delay for _, delay in reached), default=0),
    )


def figures(attempts: AttemptQuerySet) -> list[Figure]:
    """What these attempts amount to, as their preview froze them."""
    minor = F("frozen_amount_minor")
    owed, credit = Q(frozen_amount_minor__gt=0), Q(frozen_amount_minor__lt=0)
    rows = (
        attempts.order_by()
        .values("account_id", "frozen_currency", "frozen_exponent")
        .annotate(
            count=Count("pk"),
            stated=Count("frozen_amount_minor"),
            most=Max("frozen_amount_minor"),
            least=Min("frozen_amount_minor"),
            # In two halves, so that no provider's figures can overflow the database.
            owed_high=Sum(_whole(minor / HALF), filter=owed),
            owed_low=Sum(_whole(minor % HALF), filter=owed),
            credit_high=Sum(_whole(minor / HALF), filter=credit),
            credit_low=Sum(_whole(minor % HALF), filter=credit),
        )
    )
    return [
        Figure(
            account_id=row["account_id"],
            currency=row["frozen_currency"],
            exponent=row["frozen_exponent"],
            count=row["count"],
            not_stated=row["count"] - row["stated"],
            largest=max(abs(row["most"] or 0), abs(row["least"] or 0)),
            # A credit does not make up for an amount owed: both are cancelled.
            total=_joined(row, "owed") - _joined(row, "credit"),
        )
        for row in rows
    ]


def store(rule: ApprovalRule, user: User) -> None:
    """Keep a new or changed rule, already validated, with before and after in the history."""
    permission = "change" if rule.pk else "add"
    if not (user.is_active and user.has_perm(f"invoices.{permission}_approvalrule")):
        raise PermissionDenied("This needs a permission that you do not have.")
    with transaction.atomic():
        kept = ApprovalRule.objects.select_for_update(of=("self",)).select_related("account")
        before = kept.filter(pk=rule.pk).first() if rule.pk else None
        for one in (before, rule):
            access.require_accounts(user, _reach(one))
        rule.save()
        if before is None:
            _record(rule, user, "added", "no such rule", rule.in_words())
        elif before.account_id in (None, rule.account_id):
            _record(rule, user, "changed", before.in_words(), rule.in_words())
        else:
            # Told apart, as whoever is limited to one of the accounts knows nothing of the other.
            _record(before, user, "changed", before.in_words(), "a rule for other accounts")
            _record(rule, user, "changed", "a rule for other accounts", rule.in_words())


def _reach(rule: ApprovalRule | None) -> list[int] | None:
    """The accounts for which a rule holds, None for all of them."""
    if rule is None:
        return []
    return None if rule.account_id is None else [rule.account_id]


def _record(rule: ApprovalRule, user: User, code: str, was: str, now: str) -> None:
    HistoryEvent.objects.create(
        kind=HistoryEvent.Kind.RULE_CHANGED,
        actor=user,
        account=rule.account,
        code=code,
        detail=f"Before: {was}. Now: {now}."[:500],
    )


def _asked_within_a_day(batch: CancellationBatch) -> AttemptQuerySet:
    """What the requester asked for in other batches and was or may still be carried out."""
    others = CancellationBatch.objects.filter(
        requested_by=batch.requested_by_id, state__in=COUNTED, confirmed_at__gte=Now() - DAY
    ).exclude(pk=batch.pk)
    rows = CancellationAttempt.objects.filter(batch__in=others.values("pk"))
    return rows.exclude(state__in=NOT_DONE)


def _of(rule: ApprovalRule, some: Sequence[Figure]) -> list[Figure]:
    """The figures that a rule looks at."""
    return [
        one
        for one in some
        if rule.account_id in (None, one.account_id)
        and (not rule.is_amount or one.currency.upper() == rule.currency.upper())
    ]


def _reached(rule: ApprovalRule, mine: Sequence[Figure], day: Sequence[Figure]) -> str:
    """Why a rule asks for an approver; "" when its limit is not reached."""
    if not mine:
        return ""
    if rule.measure in (Measure.COUNT, Measure.DAY_COUNT):
        found = Fraction(sum(one.count for one in (mine if rule.measure == Measure.COUNT else day)))
    elif rule.measure == Measure.SINGLE:
        found = max(Fraction(one.largest, 10**one.exponent) for one in mine)
    else:
        found = _together(mine if rule.measure == Measure.TOTAL else day)
    limit = rule.amount if rule.is_amount else Fraction(rule.threshold)
    return _sentence(rule, _shown(rule, found, mine)) if found >= limit else ""


def _sentence(rule: ApprovalRule, found: str) -> str:
    where, limit = rule.where, rule.limit
    return {
        Measure.COUNT: f"It has {found}{where}; from {limit} on a batch needs an approver.",
        Measure.SINGLE: f"One of its invoices{where} is of {found}; from {limit} on a batch needs"
        " an approver.",
        Measure.TOTAL: f"Its invoices{where} come to {found}; from {limit} on a batch needs an"
        " approver.",
        Measure.DAY_COUNT: f"With it the same person has asked for {found}{where} within 24 hours;"
        f" from {limit} on an approver is needed.",
        Measure.DAY_TOTAL: f"With it the same person has asked for {found}{where} within 24 hours;"
        f" from {limit} on an approver is needed.",
    }[Measure(rule.measure)]


def _shown(rule: ApprovalRule, found: Fraction, mine: Sequence[Figure]) -> str:
    if not rule.is_amount:
        return f"{int(found):,} invoice" + ("" if found == 1 else "s")
    exponent = max([rule.exponent, *(one.exponent for one in mine)])
    return f"{format_minor(int(found * 10**exponent), exponent)} {rule.currency}"


def _together(some: Sequence[Figure]) -> Fraction:
    return sum((Fraction(one.total, 10**one.exponent) for one in some), Fraction(0))


def _without_a_limit(
    rules: Sequence[ApprovalRule], mine: Sequence[Figure]
) -> Iterator[tuple[str, int]]:
    """Amounts that no limit speaks of, where others have one."""
    for one in mine:
        applying = [
            rule for rule in rules if rule.is_amount and rule.account_id in (None, one.account_id)
        ]
        delay = max((rule.delay_minutes for rule in applying), default=0)
        if applying and one.currency.upper() not in _currencies(applying):
            yield _NO_LIMIT.format(one.currency or "an unnamed currency"), delay
        elif applying and one.not_stated:
            yield _NOT_STATED, delay


_NO_LIMIT = (
    "It has amounts in {}, for which there is no limit; where there are limits in other"
    " currencies, such amounts need an approver."
)
_NOT_STATED = (
    "It has invoices whose amount is not stated; where there are limits for amounts, such invoices"
    " need an approver."
)


def _currencies(rules: Iterable[ApprovalRule]) -> set[str]:
    return {rule.currency.upper() for rule in rules}


def _whole(expression: CombinedExpression) -> "ExpressionWrapper[CombinedExpression]":
    return ExpressionWrapper(expression, output_field=BigIntegerField())


def _joined(row: Mapping[str, Any], name: str) -> int:
    return int(row[f"{name}_high"] or 0) * HALF + int(row[f"{name}_low"] or 0)
