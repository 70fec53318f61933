"""The pills above the list of invoices, and what else its address may say."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from invoices import access, currencies
from invoices.admin.filters import AccountFilter, ChoiceFilter, Choices, Hidden
from invoices.admin.readonly import person
from invoices.amounts import Amount, NotAnAmount, between, read_amount
from invoices.batches import RETRYABLE
from invoices.models import CancellationAttempt, CancellationBatch, Invoice, PastedList
from invoices.models.attempt import WORKING, State
from invoices.pasted import kept_for

CURRENCIES = ("EUR", "USD", "GBP", "CHF", "SEK", "NOK", "DKK", "PLN", "CZK", "JPY", "CAD", "KWD")
OTHERS = ("other", "Other")
MOST_CURRENCIES = 15
"""Of so many each is a choice; of more only these common ones, and the rest together."""
DUE: Choices = [
    ("overdue", "Overdue"),
    ("7", "Next 7 days"),
    ("30", "Next 30 days"),
    ("none", "No due date"),
]
ORDERS = (
    ("-issued", "Newest first"),
    ("issued", "Oldest first"),
    ("-amount", "Largest amount first"),
    ("amount", "Smallest amount first"),
    ("name", "By number"),
)
"""Columns with an index, the first of them as always."""


class RowsPerPage(Hidden):
    """`rows=100` for long pages."""

    parameter_name = "rows"


class Partly(Hidden):
    """`partly=<search>`: also what only contains the search."""

    parameter_name = "partly"


class StatusFilter(ChoiceFilter):
    """By status in our words."""

    title = "status"
    parameter_name = "status"
    options = [(str(value), str(label)) for value, label in Invoice.Status.choices]


class CurrencyFilter(ChoiceFilter):
    """By currency, of those that occur; for people with some accounts, of those that are common.

    Which occur is looked for among all invoices, and so would tell of accounts that are not theirs.
    """

    title = "currency"
    parameter_name = "currency"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        """Each by its code, as long as they are few."""
        if access.is_limited(person(request)):
            self.listed = list(CURRENCIES)
            return [*((code, code) for code in CURRENCIES), OTHERS]
        self.occurring = currencies.occurring()
        listed = [code for code in self.occurring if code]
        if len(listed) > MOST_CURRENCIES:
            listed = [code for code in CURRENCIES if code in listed]
        self.listed = listed
        others = [OTHERS] if len(listed) < len(self.occurring) else []
        return [*((code, code) for code in listed), *others]

    def has_output(self) -> bool:
        """Also while there is no invoice, so that its parameter is always known."""
        return True

    def chosen(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """One currency, or all that have no choice of their own."""
        if value == "other" and access.is_limited(person(self.request)):
            return rows.exclude(currency__in=self.listed)
        if value == "other":
            return rows.filter(currency__in=set(self.occurring).difference(self.listed))
        return rows.filter(currency=value)


class AmountFilter(admin.ListFilter):
    """By a range of amounts, typed into a form in the pill."""

    title = "amount"
    template = "admin/amount_filter.html"
    LOW, HIGH = "amount_from", "amount_to"

    def __init__(
        self,
        request: HttpRequest,
        params: dict[str, list[str]],
        model: type[Any],
        model_admin: admin.ModelAdmin[Any],
    ) -> None:
        super().__init__(request, params, model, model_admin)
        self.low = params.pop(self.LOW, [""])[-1].strip()
        self.high = params.pop(self.HIGH, [""])[-1].strip()
        self.not_an_amount: list[str] = []
        self.least, self.greatest = self._read(self.low), self._read(self.high)
        self.is_reversed = bool(self.least and self.greatest and self.least.exceeds(self.greatest))

    def _read(self, typed: str) -> Amount | None:
        try:
            return read_amount(typed) if typed else None
        except NotAnAmount:
            self.not_an_amount.append(typed[:40])
            return None

    @property
    def is_wrong(self) -> bool:
        """Whether what was typed is no range; nothing is found then."""
        return bool(self.not_an_amount or self.is_reversed)

    @property
    def in_words(self) -> str:
        """The range as it reads on the pill, "" for none."""
        if self.low and self.high:
            return f"{self.low} to {self.high}"
        return f"from {self.low}" if self.low else f"up to {self.high}" if self.high else ""

    def has_output(self) -> bool:
        """Always there."""
        return True

    def expected_parameters(self) -> list[str | None]:
        """Both ends of the range."""
        return [self.LOW, self.HIGH]

    def choices(self, changelist: ChangeList) -> Iterator[dict[str, Any]]:
        """What the form hands on, and the way back."""
        yield {
            "kept": [
                (name, value)
                for name, values in changelist.filter_params.items()
                if name not in self.expected_parameters()
                for value in values
            ],
            "query_string": changelist.get_query_string(remove=[self.LOW, self.HIGH]),
        }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows within the range, both ends included."""
        if self.is_wrong:
            return queryset.none()
        if not self.least and not self.greatest:
            return queryset
        return queryset.filter(between(self.least, self.greatest))


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
        ("retryable", "Not carried out, can be retried"),
        ("this-month", "Cancelled this month"),
        *(
            (str(state), str(state.label))
            for state in State
            if state not in (*WORKING, State.DRAFT, State.INELIGIBLE) or state == State.UNKNOWN
        ),
    ]

    def chosen(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """From the attempts to the invoices, as far fewer invoices were ever attempted."""
        made = CancellationAttempt.objects.exclude(state__in=(State.DRAFT, State.INELIGIBLE))
        if value == "never":
            return rows.exclude(Exists(made.filter(invoice=OuterRef("pk"))))
        newer = made.filter(invoice=OuterRef("invoice"), pk__gt=OuterRef("pk"))
        last = made.filter(~Exists(newer), _at_stage(value))
        return rows.filter(pk__in=last.values("invoice_id"))


def _at_stage(value: str) -> Q:
    if value == "this-month":
        begin = timezone.localtime().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        # Over the batches that were not over yet when it began: an index range, not the table.
        not_over = Q(finished_at=None) | Q(finished_at__gte=begin)
        recent = CancellationBatch.objects.filter(not_over, confirmed_at__isnull=False)
        return Q(state=State.CANCELLED, finished_at__gte=begin, batch__in=recent.values("pk"))
    return Q(state__in={"working": WORKING, "retryable": RETRYABLE}.get(value) or (State(value),))


class SortMenu(admin.ListFilter):
    """The order as a menu: on narrow screens the rows are cards, without heads to click on."""

    title = "sort"
    kind = "sort"

    def has_output(self) -> bool:
        """Always there."""
        return True

    def expected_parameters(self) -> list[str | None]:
        """None that would filter."""
        return []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """All of them."""
        return queryset

    def choices(self, changelist: ChangeList) -> Iterator[dict[str, Any]]:
        """Each order as the link of its column's head."""
        asked = changelist.params.get(ORDER_VAR, "").partition(".")[0]
        for position, (order, label) in enumerate(ORDERS):
            column = str(list(changelist.list_display).index(order.lstrip("-")))
            value = "-" + column if order.startswith("-") else column
            yield {
                "selected": asked == value or (not position and not asked),
                "query_string": changelist.get_query_string(
                    {ORDER_VAR: value if position else None}
                ),
                "display": label,
            }


class PastedFilter(admin.ListFilter):
    """`selection=<id>`: the invoices of a list that this very person pasted."""

    title = "pasted list"
    template = "admin/pasted_filter.html"
    parameter_name = "selection"

    def __init__(
        self,
        request: HttpRequest,
        params: dict[str, list[str]],
        model: type[Any],
        model_admin: admin.ModelAdmin[Any],
    ) -> None:
        super().__init__(request, params, model, model_admin)
        self.asked = params.pop(self.parameter_name, [""])[-1]
        self.pasted = _pasted(request, self.asked) if self.asked else None

    @property
    def is_gone(self) -> bool:
        """Whether the list has expired, is somebody else's or never was; nothing is found then."""
        return bool(self.asked) and self.pasted is None

    def has_output(self) -> bool:
        """Only while there is something to take away."""
        return bool(self.asked)

    def expected_parameters(self) -> list[str | None]:
        """The id of the list."""
        return [self.parameter_name]

    def choices(self, changelist: ChangeList) -> Iterator[dict[str, Any]]:
        """The way back to all invoices."""
        yield {"query_string": changelist.get_query_string(remove=[self.parameter_name])}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Those of the rows that the list meant."""
        if not self.asked:
            return queryset
        if self.pasted is None:
            return queryset.none()
        return queryset.filter(pk__in=self.pasted.rows.values("invoice"))


def _pasted(request: HttpRequest, asked: str) -> PastedList | None:
    try:
        return kept_for(person(request)).filter(pk=UUID(asked)).first()
    except ValueError:
        return None


Pill = type[ChoiceFilter] | type[AmountFilter]
PARAMETERS: dict[Pill, tuple[str, ...]] = {
    AccountFilter: ("account",),
    StatusFilter: ("status",),
    CurrencyFilter: ("currency",),
    DueFilter: ("due",),
    AmountFilter: (AmountFilter.LOW, AmountFilter.HIGH),
    LastAttemptFilter: ("attempt",),
}
PILLS: tuple[Pill, ...] = tuple(PARAMETERS)


def narrowed(
    request: HttpRequest, model_admin: admin.ModelAdmin[Any], rows: QuerySet[Any]
) -> QuerySet[Any]:
    """The rows by those pills whose parameters the address has."""
    asked = dict(request.GET.lists())
    for pill, parameters in PARAMETERS.items():
        if not asked.keys().isdisjoint(parameters):
            rows = pill(request, dict(asked), Invoice, model_admin).queryset(request, rows)
    return rows
