"""What somebody typed to have a pack, as a scope; the same for the page and the command."""

from collections.abc import Mapping
from datetime import date

from invoices.models import CancellationBatch, Invoice
from invoices.packs import scope
from invoices.packs.scope import LARGEST_SAMPLE, LONGEST_SEED, Scope, Span
from providers.models import ProviderAccount

NOTHING = "Nothing was exported."


class NotUnderstood(Exception):
    """What was wrong with it, in a sentence."""


def scope_of(typed: Mapping[str, str]) -> Scope:
    """By `what`: batch or invoice (`key`), span (`from`, `to`) or sample (`size`, `seed`).

    The last two take an `account` by its number, too. Raises `NotUnderstood`.
    """
    ways = {"batch": _batch, "invoice": _invoice, "span": _span, "sample": _sample}
    way = ways.get(typed.get("what", ""))
    if way is None:
        raise NotUnderstood(f"There is no such kind of pack. {NOTHING}")
    return way(typed)


def _batch(typed: Mapping[str, str]) -> Scope:
    batch = CancellationBatch.objects.filter(pk=_number(typed, "key")).first()
    if batch is None:
        raise NotUnderstood(f"There is no such batch. {NOTHING}")
    return scope.of_batch(batch)


def _invoice(typed: Mapping[str, str]) -> Scope:
    rows = Invoice.objects.select_related("account")
    invoice = rows.filter(pk=_number(typed, "key")).first()
    if invoice is None:
        raise NotUnderstood(f"There is no such invoice. {NOTHING}")
    return scope.of_invoice(invoice)


def _span(typed: Mapping[str, str]) -> Scope:
    span = _days(typed)
    if span.first is None or span.last is None:
        raise NotUnderstood(f"Give the first and the last day. {NOTHING}")
    return scope.of_span(span, _account(typed))


def _sample(typed: Mapping[str, str]) -> Scope:
    size, seed = _number(typed, "size"), typed.get("seed", "").strip()
    if not 1 <= size <= LARGEST_SAMPLE:
        raise NotUnderstood(f"A sample has 1 to {LARGEST_SAMPLE:,} invoices. {NOTHING}")
    if not seed or len(seed) > LONGEST_SEED or not seed.isprintable():
        raise NotUnderstood(
            f"A seed has 1 to {LONGEST_SEED} characters; any will do, and the same draws the same"
            f" sample again. {NOTHING}"
        )
    return scope.of_sample(size, seed, _days(typed), _account(typed))


def _days(typed: Mapping[str, str]) -> Span:
    span = Span(_day(typed, "from"), _day(typed, "to"))
    if span.first and span.last and span.first > span.last:
        raise NotUnderstood(f"The last day lies before the first. {NOTHING}")
    return span


def _day(typed: Mapping[str, str], name: str) -> date | None:
    text = typed.get(name, "").strip()
    try:
        day = date.fromisoformat(text) if text else None
    except ValueError:
        day = date.min
    # Beyond these, a time zone can lead out of what a calendar knows.
    if day is not None and not 1970 <= day.year < 9999:
        raise NotUnderstood(f"“{text[:20]}” is no day; write 2026-01-31. {NOTHING}")
    return day


def _account(typed: Mapping[str, str]) -> ProviderAccount | None:
    if not typed.get("account", ""):
        return None
    account = ProviderAccount.objects.filter(pk=_number(typed, "account")).first()
    if account is None:
        raise NotUnderstood(f"There is no such account. {NOTHING}")
    return account


def _number(typed: Mapping[str, str], name: str) -> int:
    text = typed.get(name, "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0
