"""What somebody typed to have a pack, as a scope; the same for the page and the command."""

from collections.abc import Mapping
from datetime import date
from typing import TypeVar

from django.contrib.auth.models import User
from django.db.models import Model, QuerySet

from invoices import access
from invoices.models import CancellationBatch, Invoice
from invoices.packs import scope
from invoices.packs.scope import LARGEST_SAMPLE, LONGEST_SEED, Accounts, Scope, Span
from providers.models import ProviderAccount

NOTHING = "Nothing was exported."
M = TypeVar("M", bound=Model)


class NotUnderstood(Exception):
    """What was wrong with it, in a sentence."""


def scope_of(typed: Mapping[str, str], user: User | None) -> Scope:
    """By `what`: batch or invoice (`key`), span (`from`, `to`) or sample (`size`, `seed`).

    The last two take an `account` by its number, too. What `user` may not see is not there; None is
    somebody at the machine itself. Raises `NotUnderstood`.
    """
    ways = {"batch": _batch, "invoice": _invoice, "span": _span, "sample": _sample}
    way = ways.get(typed.get("what", ""))
    if way is None:
        raise NotUnderstood(f"There is no such kind of pack. {NOTHING}")
    return way(typed, user)


def _batch(typed: Mapping[str, str], user: User | None) -> Scope:
    rows = CancellationBatch.objects.filter(pk=_number(typed, "key"))
    batch = _theirs(user, rows).first()
    if batch is None:
        raise NotUnderstood(f"There is no such batch. {NOTHING}")
    return scope.of_batch(batch)


def _invoice(typed: Mapping[str, str], user: User | None) -> Scope:
    rows = Invoice.objects.select_related("account").filter(pk=_number(typed, "key"))
    invoice = _theirs(user, rows).first()
    if invoice is None:
        raise NotUnderstood(f"There is no such invoice. {NOTHING}")
    return scope.of_invoice(invoice)


def _span(typed: Mapping[str, str], user: User | None) -> Scope:
    span = _days(typed)
    if span.first is None or span.last is None:
        raise NotUnderstood(f"Give the first and the last day. {NOTHING}")
    return scope.of_span(span, _accounts(typed, user))


def _sample(typed: Mapping[str, str], user: User | None) -> Scope:
    size, seed = _number(typed, "size"), typed.get("seed", "").strip()
    if not 1 <= size <= LARGEST_SAMPLE:
        raise NotUnderstood(f"A sample has 1 to {LARGEST_SAMPLE:,} invoices. {NOTHING}")
    if not seed or len(seed) > LONGEST_SEED or not seed.isprintable():
        raise NotUnderstood(
            f"A seed has 1 to {LONGEST_SEED} characters; any will do, and the same draws the same"
            f" sample again. {NOTHING}"
        )
    return scope.of_sample(size, seed, _days(typed), _accounts(typed, user))


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


def _accounts(typed: Mapping[str, str], user: User | None) -> Accounts | None:
    """The one that was chosen; without a choice all of this person, None for simply all."""
    theirs = _theirs(user, ProviderAccount.objects.order_by("name"))
    if not typed.get("account", ""):
        return tuple(theirs) if user is not None and access.is_limited(user) else None
    chosen = tuple(theirs.filter(pk=_number(typed, "account")))
    if not chosen:
        raise NotUnderstood(f"There is no such account. {NOTHING}")
    return chosen


def _theirs(user: User | None, rows: QuerySet[M]) -> QuerySet[M]:
    return rows if user is None else access.narrow(user, rows)


def _number(typed: Mapping[str, str], name: str) -> int:
    text = typed.get(name, "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0
