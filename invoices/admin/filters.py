"""The filter pills: fixed choices, none of which costs a scan of the table."""

from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from invoices.models import (
    CancellationAttempt,
    CancellationBatch,
    HistoryEvent,
    Invoice,
    ProviderRequest,
)
from invoices.models.attempt import WORKING, State
from providers.models import ProviderAccount

Choices = list[tuple[str, str]]
CURRENCIES = ("EUR", "USD", "GBP", "CHF", "SEK", "NOK", "DKK", "PLN", "CZK", "JPY", "CAD", "KWD")
DUE: Choices = [
    ("overdue", "Overdue"),
    ("7", "Next 7 days"),
    ("30", "Next 30 days"),
    ("none", "No due date"),
]


class ChoiceFilter(admin.SimpleListFilter):
    """A pill whose choices are `options`; a value that is none of them filters nothing out."""

    options: ClassVar[Choices] = []

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        """The choices."""
        return self.options

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of the chosen value; none for a value that cannot be chosen."""
        value = self.value()
        if value is None:
            return queryset
        if value not in {str(one) for one, _ in self.lookup_choices}:
            return queryset.none()
        return self.chosen(queryset, value)

    def chosen(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """The rows of one of the choices."""
        return rows.filter(**{str(self.parameter_name): value})

    @property
    def in_words(self) -> str:
        """The chosen value as it reads on the pill, "" for none."""
        return str(dict(self.lookup_choices).get(self.value() or "", ""))


class Hidden(admin.ListFilter):
    """A parameter that belongs to the list but has no pill."""

    title = "hidden"
    parameter_name: ClassVar[str] = ""

    def __init__(
        self,
        request: HttpRequest,
        params: dict[str, list[str]],
        model: type[Any],
        model_admin: admin.ModelAdmin[Any],
    ) -> None:
        super().__init__(request, params, model, model_admin)
        params.pop(self.parameter_name, None)

    def has_output(self) -> bool:
        """No pill."""
        return False


class RowsPerPage(Hidden):
    """`rows=100` for long pages."""

    parameter_name = "rows"


class Partly(Hidden):
    """`partly=<search>`: also what only contains the search."""

    parameter_name = "partly"


class AccountFilter(ChoiceFilter):
    """By provider account."""

    title = "account"
    parameter_name = "account"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        """All accounts: there are few."""
        accounts = ProviderAccount.objects.values_list("pk", "name")
        return [(str(pk), name) for pk, name in accounts]


class StatusFilter(ChoiceFilter):
    """By status in our words."""

    title = "status"
    parameter_name = "status"
    options = [(str(value), str(label)) for value, label in Invoice.Status.choices]


class CurrencyFilter(ChoiceFilter):
    """By currency; looking up which ones occur would cost a scan."""

    title = "currency"
    parameter_name = "currency"
    options = [*((code, code) for code in CURRENCIES), ("other", "Other")]

    def chosen(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """One currency, or all that have no choice of their own."""
        if value == "other":
            return rows.exclude(currency__in=CURRENCIES)
        return rows.filter(currency=value)


class DueFilter(ChoiceFilter):
    """By due date; overdue are only those still open."""

    title = "due"
    parameter_name = "due"
    options = DUE

    def chosen(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """Days count from today in the site's time zone."""
        today = timezone.localdate()
        if value == "none":
            return rows.filter(due_on=None)
        if value == "overdue":
            return rows.filter(status=Invoice.Status.OPEN, due_on__lt=today)
        return rows.filter(due_on__range=(today, today + timedelta(days=int(value))))


class LastAttemptFilter(ChoiceFilter):
    """By how far the last attempt to cancel an invoice came."""

    title = "last attempt"
    parameter_name = "attempt"
    options = [
        ("never", "Never asked"),
        ("working", "Under way"),
        *(
            (str(state), str(state.label))
            for state in State
            if state not in (*WORKING, State.DRAFT, State.INELIGIBLE)
        ),
    ]

    def chosen(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """From the attempts to the invoices, as far fewer invoices were ever attempted."""
        made = CancellationAttempt.objects.exclude(state__in=(State.DRAFT, State.INELIGIBLE))
        if value == "never":
            return rows.exclude(Exists(made.filter(invoice=OuterRef("pk"))))
        newer = made.filter(invoice=OuterRef("invoice"), pk__gt=OuterRef("pk"))
        states = WORKING if value == "working" else (State(value),)
        last = made.filter(~Exists(newer), state__in=states)
        return rows.filter(pk__in=last.values("invoice_id"))


class BatchStateFilter(ChoiceFilter):
    """By state; without a choice, previews that were not confirmed are left out."""

    title = "state"
    parameter_name = "state"
    options = [(str(value), str(label)) for value, label in CancellationBatch.State.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The default leaves out what was never confirmed."""
        if self.value() is None:
            return queryset.exclude(state__in=("draft", "discarded"))
        return super().queryset(request, queryset)


class PurposeFilter(ChoiceFilter):
    """By what a call was for."""

    title = "purpose"
    parameter_name = "purpose"
    options = [(str(value), str(label)) for value, label in ProviderRequest.Purpose.choices]


class AnswerFilter(ChoiceFilter):
    """By the class of the HTTP status, or that there was none."""

    title = "answer"
    parameter_name = "answer"
    options = [
        ("2", "2xx success"),
        ("3", "3xx redirect"),
        ("4", "4xx refused"),
        ("5", "5xx failed"),
        ("fault", "No complete answer"),
        ("open", "Not recorded"),
    ]

    def chosen(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """`open`: under way, or its worker died before the answer could be recorded."""
        if value == "open":
            return rows.filter(response=None)
        if value == "fault":
            return rows.exclude(Q(response=None) | Q(response__fault=""))
        low = int(value) * 100
        return rows.filter(response__status__range=(low, low + 99))


class KindFilter(ChoiceFilter):
    """By kind of event."""

    title = "kind"
    parameter_name = "kind"
    options = [(str(value), str(label)) for value, label in HistoryEvent.Kind.choices]


class Before(Hidden):
    """`before=<id>`: what is older than this row, to page by key where counting ends."""

    parameter_name = "before"


class OfInvoice(Hidden):
    """`invoice=<id>`: what is about one invoice."""

    parameter_name = "invoice"


class OfBatch(Hidden):
    """`batch=<id>`: what is about one batch."""

    parameter_name = "batch"


def _key(text: str) -> int | UUID:
    """A number that a database holds, or a UUID. Raises ValueError."""
    return int(text) if text.isdecimal() and len(text) < 19 else UUID(text)


def narrowed(rows: QuerySet[Any], request: HttpRequest, **lookups: str) -> QuerySet[Any]:
    """The rows by hidden parameters, e.g. `before="pk__lt"`; none for a value that is no key."""
    for parameter, lookup in lookups.items():
        value = request.GET.get(parameter)
        if value:
            try:
                rows = rows.filter(**{lookup: _key(value)})
            except (ValueError, ValidationError):
                return rows.none()
    return rows
