"""What a draft batch would do: figures, reasons, consequences, duration and warnings.

Everything is counted over the frozen rows, so that what is shown is what runs. Amounts are summed
as integers by the database, in two halves so that no provider's figures can overflow it.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.conf import settings
from django.db.models import BigIntegerField, Count, ExpressionWrapper, F, Sum
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now

from invoices.drain import FRESH
from invoices.eligibility import RULES, Rule
from invoices.models import CancellationAttempt, CancellationBatch
from invoices.models.attempt import State
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
    """One option of a provider with what is chosen for it."""

    field: str
    option: Option
    chosen: bool


@dataclass(frozen=True, slots=True)
class Effect:
    """What cancelling means at one provider, for these accounts, and what can be chosen."""

    provider: str
    accounts: tuple[str, ...]
    sentences: tuple[str, ...]
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """All that the page before the confirmation states."""

    eligible: int
    ineligible: int
    sums: tuple[Total, ...]
    ruled_out: tuple[RuledOut, ...]
    effects: tuple[Effect, ...]
    seconds: float
    paused: tuple[ProviderAccount, ...]
    resting: tuple[ProviderAccount, ...]
    stale: int
    worker_alive: bool


def preview(batch: CancellationBatch, chosen: Choices) -> Preview:
    """The facts of a draft, with the providers' options as they are chosen so far."""
    sums = tuple(_sums(batch))
    per_account = _per_account(batch)
    accounts = list(ProviderAccount.objects.filter(pk__in=per_account))
    ruled_out = tuple(_ruled_out(batch))
    return Preview(
        eligible=sum(one.count for one in sums),
        ineligible=sum(one.count for one in ruled_out),
        sums=sums,
        ruled_out=ruled_out,
        effects=tuple(_effects(accounts, chosen)),
        seconds=_seconds(accounts, per_account),
        paused=tuple(one for one in accounts if one.is_paused),
        resting=tuple(one for one in accounts if one.is_resting),
        stale=sum(stale for _, stale in per_account.values()),
        worker_alive=worker_is_alive(),
    )


def option_field(provider: str, option: Option) -> str:
    """The name of an option's check box."""
    return f"option-{provider}-{option.name}"


def _whole(expression: CombinedExpression) -> "ExpressionWrapper[CombinedExpression]":
    return ExpressionWrapper(expression, output_field=BigIntegerField())


def _sums(batch: CancellationBatch) -> Iterable[Total]:
    rows = (
        batch.attempts.filter(state=State.DRAFT)
        .order_by()
        .values("account__name", "frozen_currency", "frozen_exponent")
        .annotate(
            count=Count("pk"),
            stated=Count("frozen_amount_minor"),
            high=Sum(_whole(F("frozen_amount_minor") / HALF)),
            low=Sum(_whole(F("frozen_amount_minor") % HALF)),
        )
        .order_by("account__name", "frozen_currency", "frozen_exponent")
    )
    for row in rows:
        stated = row["stated"]
        yield Total(
            account=row["account__name"],
            currency=row["frozen_currency"],
            exponent=row["frozen_exponent"],
            count=row["count"],
            minor=int(row["high"]) * HALF + int(row["low"]) if stated else None,
            not_stated=row["count"] - stated,
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
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for account in accounts:
        options = chosen.get(account.provider, {})
        sentences = account.adapter_class.consequences(account.facts, options)
        groups.setdefault((account.provider, sentences), []).append(account.name)
    shown: set[str] = set()
    for (provider, sentences), names in groups.items():
        adapter = next(one.adapter_class for one in accounts if one.provider == provider)
        choices = () if provider in shown else _choices(provider, adapter.options, chosen)
        shown.add(provider)
        yield Effect(adapter.label, tuple(names), sentences, choices)


def _choices(provider: str, options: Iterable[Option], chosen: Choices) -> tuple[Choice, ...]:
    held = chosen.get(provider, {})
    return tuple(
        Choice(option_field(provider, one), one, held.get(one.name, one.default)) for one in options
    )


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
