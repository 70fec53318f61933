"""What a pack is about, as queries: an invoice, a batch, a span of time, a sample."""

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from invoices.models import (
    CallSubject,
    CancellationAttempt,
    CancellationBatch,
    HistoryEvent,
    Invoice,
    ProviderRequest,
    ProviderResponse,
)
from invoices.models.attempt import State
from providers.models import ProviderAccount

PAGE = 1000
LARGEST_SAMPLE = 10_000
LONGEST_SEED = 40
LONGEST_NUMBERS = 60
Accounts = tuple[ProviderAccount, ...]


@dataclass(frozen=True, slots=True)
class Scope:
    """Everything on record about something. `words` say what, `name` is part of a file's name.

    `invoice` and `batch` are set where it is about one; `accounts` are those that a span or a
    sample is drawn from, None for all. `about_all`: events and calls about no invoice belong to it
    as well, as they do to a span of time.
    """

    name: str
    words: str
    events: "QuerySet[HistoryEvent]"
    subjects: "QuerySet[CallSubject]"
    requests: "QuerySet[ProviderRequest]"
    attempts: "QuerySet[CancellationAttempt]"
    invoices: "QuerySet[Invoice]"
    invoice: Invoice | None = None
    batch: CancellationBatch | None = None
    accounts: Accounts | None = None
    about_all: bool = False
    notes: tuple[str, ...] = ()

    @property
    def account(self) -> ProviderAccount | None:
        """The one that it is about, if it is one."""
        return self.accounts[0] if self.accounts and len(self.accounts) == 1 else None

    def invoice_keys(self) -> Iterator[int]:
        """The invoices, by number; a batch's, a sample's or a span's."""
        keys = self.invoices.order_by("pk").values_list("pk", flat=True)
        yield from keys.iterator(chunk_size=PAGE)

    def counted(self) -> str:
        """How much there is, in words."""
        counts = (
            (self.attempts.count(), "attempt"),
            (self.requests.count(), "call"),
            (self.events.count(), "event"),
        )
        return ", ".join(f"{count:,} {word}{'' if count == 1 else 's'}" for count, word in counts)


@dataclass(frozen=True, slots=True)
class Span:
    """From the first day to the last, both whole, in the site's time zone; None is open."""

    first: date | None = None
    last: date | None = None

    @property
    def since(self) -> datetime | None:
        """The first moment in it."""
        return midnight(self.first) if self.first else None

    @property
    def until(self) -> datetime | None:
        """The first moment after it."""
        return midnight(self.last + timedelta(days=1)) if self.last else None

    def within(self, field: str) -> Q:
        """The condition that a time lies in it."""
        since, until = self.since, self.until
        later = Q(**{f"{field}__gte": since}) if since else Q()
        return later & (Q(**{f"{field}__lt": until}) if until else Q())

    def __str__(self) -> str:
        days = [f"{word} {day:%Y-%m-%d}" for word, day in self._named() if day]
        return " ".join(days) or "at any time"

    def _named(self) -> tuple[tuple[str, date | None], ...]:
        return ("from", self.first), ("to", self.last)


def of_invoice(invoice: Invoice) -> Scope:
    """All there ever was about one invoice."""
    return _about(
        Invoice.objects.filter(pk=invoice.pk),
        f"invoice-{invoice.pk}",
        f"Invoice {invoice} of {invoice.account}",
        Q(invoice=invoice.pk),
        invoice=invoice,
        accounts=(invoice.account,),
    )


def of_batch(batch: CancellationBatch) -> Scope:
    """One batch: its own history and that of its attempts."""
    subjects = CallSubject.objects.filter(attempt__batch=batch.pk)
    return Scope(
        name=f"batch-{batch.pk}",
        words=str(batch),
        events=HistoryEvent.objects.filter(batch=batch.pk),
        subjects=subjects,
        requests=ProviderRequest.objects.filter(pk__in=subjects.values("request")),
        attempts=batch.attempts.all(),
        invoices=Invoice.objects.filter(pk__in=batch.attempts.order_by().values("invoice")),
        batch=batch,
    )


def of_span(span: Span, accounts: Accounts | None = None) -> Scope:
    """All that happened in a span of time, at some accounts or at all of them.

    A call belongs to it if it was made or answered then.
    """
    of_account = _at(accounts)
    made = ProviderRequest.objects.filter(span.within("created_at")).values("pk")
    answered = ProviderResponse.objects.filter(span.within("received_at")).values("pk")
    requests = ProviderRequest.objects.filter(of_account, Q(pk__in=made) | Q(pk__in=answered))
    events = HistoryEvent.objects.filter(of_account, span.within("at"))
    subjects = CallSubject.objects.filter(request__in=requests.values("pk"))
    named = Q(pk__in=events.filter(invoice__isnull=False).values("invoice"))
    tried = events.filter(attempt__isnull=False).values("attempt")
    return Scope(
        name=_dashed(str(span), accounts),
        words=f"Everything {span}{_of(accounts)}",
        events=events,
        subjects=subjects,
        requests=requests,
        attempts=CancellationAttempt.objects.filter(
            Q(pk__in=tried) | Q(pk__in=subjects.filter(attempt__isnull=False).values("attempt"))
        ),
        invoices=Invoice.objects.filter(named | Q(pk__in=subjects.values("invoice"))),
        accounts=accounts,
        about_all=True,
    )


def of_sample(
    size: int, seed: str, span: Span | None = None, accounts: Accounts | None = None
) -> Scope:
    """So many invoices, drawn by lot among those of which a cancellation was ever asked for.

    An invoice's lot is SHA-256("SEED:ID"), ID being its number in the database; the lowest win. So
    the same seed draws the same invoices, and anybody can draw them again.
    """
    span = span or Span()
    asked = CancellationAttempt.objects.exclude(state__in=(State.DRAFT, State.INELIGIBLE)).filter(
        _at(accounts), span.within("batch__confirmed_at")
    )
    keys = asked.order_by().values_list("invoice", flat=True).distinct()
    population = keys.count()
    drawn = heapq.nsmallest(size, keys.iterator(chunk_size=PAGE), key=lambda key: lot(seed, key))
    return _about(
        Invoice.objects.filter(pk__in=drawn),
        f"sample-{size}",
        f"Sample of {len(drawn):,} invoices, seed “{seed}”, among {population:,} for which a"
        f" cancellation was asked {span}{_of(accounts)}",
        Q(invoice__in=drawn),
        accounts=accounts,
        notes=(
            f"An invoice's lot is SHA-256 of “{seed}:” and its number in the database; of"
            f" {population:,} the {len(drawn):,} lowest were drawn.",
        ),
    )


def lot(seed: str, key: int) -> str:
    """By which an invoice is drawn: the lowest win."""
    return hashlib.sha256(f"{seed}:{key}".encode()).hexdigest()


def _about(invoices: "QuerySet[Invoice]", name: str, words: str, about: Q, **more: Any) -> Scope:
    subjects = CallSubject.objects.filter(about)
    return Scope(
        name=name,
        words=words,
        events=HistoryEvent.objects.filter(about),
        subjects=subjects,
        requests=ProviderRequest.objects.filter(pk__in=subjects.values("request")),
        attempts=CancellationAttempt.objects.filter(about),
        invoices=invoices,
        **more,
    )


def midnight(day: date) -> datetime:
    """The first moment of a day, in the site's time zone."""
    return timezone.make_aware(datetime.combine(day, time()))


def _at(accounts: Accounts | None) -> Q:
    return Q() if accounts is None else Q(account__in=[one.pk for one in accounts])


def _of(accounts: Accounts | None) -> str:
    if accounts is None:
        return ""
    word = "account" if len(accounts) == 1 else "only the accounts"
    return f", {word} {', '.join(map(str, accounts))}"


def _dashed(words: str, accounts: Accounts | None) -> str:
    name = words.replace(" ", "-")
    numbers = "-".join(str(one.pk) for one in accounts or ())
    return f"{name}-account-{numbers[:LONGEST_NUMBERS]}" if numbers else name
