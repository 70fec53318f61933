"""What a draft batch would do: figures, reasons, consequences, duration and warnings.

Everything is counted over the frozen rows, so that what is shown is what runs. Amounts are summed
as integers by the database, in two halves so that no provider's figures can overflow it.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import BigIntegerField, Count, ExpressionWrapper, F, Sum
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now

from invoices import approval_rules, approvals, frozen
from invoices.approval_rules import Need
from invoices.drain import FRESH
from invoices.eligibility import RULES, Rule
from invoices.models import CancellationAttempt, CancellationBatch
from invoices.models.attempt import AttemptQuerySet, State
from invoices.progress import worker_is_alive
from providers.adapters.base import Option
from providers.models import ProviderAccount

SAMPLE = 5
HALF = 1_000_000_000
Choices = Mapping[str, Mapping[str, bool]]


@dataclass(frozen=True, slots=True)
class Total:
    """So many invoices of one account and currency, and what they add up to."""

    account: str
    currency: str
    exponent: int
    count: int
    minor: int | None
    not_stated: int


@dataclass(frozen=True, slots=True)
class RuledOut:
    """So many invoices that one rule leaves out, with the first few of them."""

    rule: Rule
    count: int
    sample: tuple[CancellationAttempt, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One option of a provider with what is chosen for it, and what it means either way."""

    field: str
    option: Option
    chosen: bool
    ticked: tuple[str, ...]
    unticked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Effect:
    """What cancelling means at one provider, for these accounts, and what can be chosen.

    `always` are those of the sentences that hold whatever is chosen.
    """

    provider: str
    accounts: tuple[str, ...]
    sentences: tuple[str, ...]
    always: tuple[str, ...]
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """All that the page before the confirmation states."""

    eligible: int
    ineligible: int
    sums: tuple[Total, ...]
    together: tuple[Total, ...]
    """By currency, over all accounts."""
    ruled_out: tuple[RuledOut, ...]
    effects: tuple[Effect, ...]
    seconds: float
    paused: tuple[ProviderAccount, ...]
    resting: tuple[ProviderAccount, ...]
    stale: int
    worker_alive: bool
    need: Need
    elsewhere: tuple[tuple[int, int], ...]
    """(batch, invoices): in which other batches, that wait for approval, some of these are."""


def preview(batch: CancellationBatch, chosen: Choices, user: User) -> Preview:
    """The facts of a draft for this person, with the providers' options as chosen so far."""
    sums = tuple(_sums(batch))
    per_account = _per_account(batch)
    accounts = list(ProviderAccount.objects.filter(pk__in=per_account))
    ruled_out = tuple(_ruled_out(batch))
    return Preview(
        eligible=sum(one.count for one in sums),
        ineligible=sum(one.count for one in ruled_out),
        sums=sums,
        together=tuple(_together(sums)),
        ruled_out=ruled_out,
        effects=tuple(_effects(accounts, chosen)),
        seconds=_seconds(accounts, per_account),
        paused=tuple(one for one in accounts if one.is_paused),
        resting=tuple(one for one in accounts if one.is_resting),
        stale=sum(stale for _, stale in per_account.values()),
        worker_alive=worker_is_alive(),
        need=approval_rules.needed(batch),
        elsewhere=tuple(approvals.awaited_elsewhere(batch, user)),
    )


def option_field(provider: str, option: Option) -> str:
    """The name of an option's check box."""
    return f"option-{provider}-{option.name}"


def _whole(expression: CombinedExpression) -> "ExpressionWrapper[CombinedExpression]":
    return ExpressionWrapper(expression, output_field=BigIntegerField())


def totals(batch_ids: Iterable[int]) -> dict[int, list[Total]]:
    """What each of these batches, none of which has started, would cancel, by currency."""
    rows = CancellationAttempt.objects.filter(batch__in=list(batch_ids), state=State.DRAFT)
    found: dict[int, list[Total]] = {}
    for row in _summed(rows, "batch_id", *_MONEY):
        found.setdefault(row["batch_id"], []).append(_total(row))
    return {pk: _together(some) for pk, some in found.items()}


def _together(some: Iterable[Total]) -> list[Total]:
    """One for each currency, in the finest exponent that occurs."""
    found: dict[str, list[Total]] = {}
    for one in some:
        found.setdefault(one.currency, []).append(one)
    return [_joined(currency, alike) for currency, alike in sorted(found.items())]


def _joined(currency: str, alike: Iterable[Total]) -> Total:
    alike = list(alike)
    exponent = max(one.exponent for one in alike)
    stated = [one for one in alike if one.minor is not None]
    minor = sum((one.minor or 0) * 10 ** (exponent - one.exponent) for one in stated)
    return Total(
        account="",
        currency=currency,
        exponent=exponent,
        count=sum(one.count for one in alike),
        minor=minor if stated else None,
        not_stated=sum(one.not_stated for one in alike),
    )


def _sums(batch: CancellationBatch) -> Iterable[Total]:
    for row in _summed(frozen.drafts(batch), "account__name", *_MONEY):
        yield _total(row)


_MONEY = ("frozen_currency", "frozen_exponent")


def _summed(rows: AttemptQuerySet, *by: str) -> Iterable[Mapping[str, Any]]:
    grouped = rows.order_by().values(*by)
    summed = grouped.annotate(
        count=Count("pk"),
        stated=Count("frozen_amount_minor"),
        high=Sum(_whole(F("frozen_amount_minor") / HALF)),
        low=Sum(_whole(F("frozen_amount_minor") % HALF)),
    )
    return list(summed.order_by(*by))


def _total(row: Mapping[str, Any]) -> Total:
    return Total(
        account=row.get("account__name", ""),
        currency=row["frozen_currency"],
        exponent=row["frozen_exponent"],
        count=row["count"],
        minor=int(row["high"]) * HALF + int(row["low"]) if row["stated"] else None,
        not_stated=row["count"] - row["stated"],
    )


def _ruled_out(batch: CancellationBatch) -> Iterable[RuledOut]:
    turned_down = batch.attempts.filter(state=State.INELIGIBLE).order_by()
    counts = turned_down.values_list("code").annotate(count=Count("pk"))
    for code, count in sorted(counts, key=lambda row: (-row[1], row[0])):
        few = turned_down.filter(code=code).select_related("invoice").order_by("pk")[:SAMPLE]
        yield RuledOut(RULES.get(code, RULES["unknown"]), count, tuple(few))


def _per_account(batch: CancellationBatch) -> dict[int, tuple[int, int]]:
    """Account -> how many to cancel, and of how many our copy is not fresh."""
    drafts = batch.attempts.filter(state=State.DRAFT).order_by()
    stale = drafts.filter(invoice__synced_at__lt=Now() - FRESH)
    old = dict(stale.values_list("account").annotate(count=Count("pk")))
    counts = drafts.values_list("account").annotate(count=Count("pk"))
    return {account: (count, old.get(account, 0)) for account, count in counts}


def _effects(accounts: list[ProviderAccount], chosen: Choices) -> Iterable[Effect]:
    """One for each provider, or for those accounts of it for which it means something else."""
    groups: dict[tuple[str, tuple[str, ...]], list[ProviderAccount]] = {}
    for account in accounts:
        sentences = _sentences(account, chosen.get(account.provider, {}))
        groups.setdefault((account.provider, sentences), []).append(account)
    shown: set[str] = set()
    for (provider, sentences), alike in groups.items():
        choices = _choices(alike[0], chosen.get(provider, {}))
        depends = {one for choice in choices for one in (*choice.ticked, *choice.unticked)}
        yield Effect(
            provider=alike[0].adapter_class.label,
            accounts=tuple(one.name for one in alike),
            sentences=sentences,
            always=tuple(one for one in sentences if one not in depends),
            choices=() if provider in shown else choices,
        )
        shown.add(provider)


def _sentences(account: ProviderAccount, held: Mapping[str, bool]) -> tuple[str, ...]:
    return account.adapter_class.consequences(account.facts, held)


def _choices(account: ProviderAccount, held: Mapping[str, bool]) -> tuple[Choice, ...]:
    made = []
    for one in account.adapter_class.options:
        ticked = _sentences(account, {**held, one.name: True})
        unticked = _sentences(account, {**held, one.name: False})
        made.append(
            Choice(
                field=option_field(account.provider, one),
                option=one,
                chosen=held.get(one.name, one.default),
                ticked=tuple(said for said in ticked if said not in unticked),
                unticked=tuple(said for said in unticked if said not in ticked),
            )
        )
    return tuple(made)


def _seconds(accounts: list[ProviderAccount], per_account: Mapping[int, tuple[int, int]]) -> float:
    """How long sending takes at the accounts' rates; reading afterwards is not counted.

    Accounts run beside one another, as many as there are workers.
    """
    each = [_account_seconds(one, *per_account[one.pk]) for one in accounts]
    if not each:
        return 0.0
    return max(*each, sum(each) / settings.WORKER_ACCOUNTS_IN_PARALLEL)


def _account_seconds(account: ProviderAccount, count: int, stale: int) -> float:
    adapter = account.adapter_class
    cancels = math.ceil(count / adapter.cancel_limit)
    reads = stale if adapter.fetch_limit == 1 else math.ceil(count / adapter.fetch_limit)
    return (cancels + reads) / max(account.rate_per_second, 0.01)
