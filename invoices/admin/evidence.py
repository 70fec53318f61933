"""The record: calls to providers with their payloads, and what happened. For auditors."""

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from invoices import access, cells, history
from invoices.admin import record_filters
from invoices.admin.filters import AccountFilter
from invoices.admin.keyed import KeyedAdmin, KeyList, with_key
from invoices.admin.payloads import SIDES, PayloadPages, answer_of, may_read_payloads, side_of
from invoices.admin.readonly import person
from invoices.models import (
    CallSubject,
    HistoryEvent,
    Invoice,
    ProviderRequest,
    ProviderResponse,
)
from invoices.search import MOST_CHARACTERS, find

MOST_NAMED = 1000
"""Of calls, invoices or people with one name, so many are looked for."""

PAYLOADS = (
    "headers",
    "body",
    "response__headers",
    "response__body",
)


@admin.register(ProviderRequest)
class CallAdmin(PayloadPages, KeyedAdmin[ProviderRequest]):
    """Every request to a provider, with how it ended."""

    page_template = "invoices/call.html"
    list_display = ("at", "made_for", "call", "answer", "took", "correlation")
    list_filter = (
        record_filters.CallTime,
        AccountFilter,
        record_filters.PurposeFilter,
        record_filters.AnswerFilter,
        record_filters.StatusFilter,
        record_filters.FaultFilter,
        record_filters.Before,
        record_filters.After,
    )
    filter_parameters = (
        *("since", "until", "account", "purpose", "answer", "status", "fault"),
        *("before", "after"),
    )
    search_fields = ("response__correlation_id",)
    search_help_text = "A whole correlation id, X-Request-Id or invoice number"

    def get_queryset(self, request: HttpRequest) -> QuerySet[ProviderRequest]:
        """Without payloads, which may be long."""
        return super().get_queryset(request).select_related("account", "response").defer(*PAYLOADS)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Whole ids only: each is one probe of an index, in order of how exact they are."""
        text = search_term.replace("\0", "").strip()[:MOST_CHARACTERS]
        if not text:
            return queryset, False
        if named := _calls_named(person(request), text):
            return queryset.filter(pk__in=named), False
        about = CallSubject.objects.filter(invoice__in=_invoices_called(person(request), text))
        return queryset.filter(pk__in=about.values("request")), False

    @admin.display(description="Time")
    def at(self, call: ProviderRequest) -> SafeString:
        """When it was put on record, just before it left."""
        return cells.moment(call.created_at)

    @admin.display(description="Account")
    def made_for(self, call: ProviderRequest) -> SafeString:
        """The account, and what it was for."""
        return cells.call_for(call)

    @admin.display(description="Request")
    def call(self, call: ProviderRequest) -> SafeString:
        """Method and address."""
        return cells.request(call)

    @admin.display(description="Answer")
    def answer(self, call: ProviderRequest) -> SafeString:
        """HTTP status or fault."""
        return cells.answer(answer_of(call))

    @admin.display(description="Took")
    def took(self, call: ProviderRequest) -> SafeString:
        """Milliseconds."""
        return cells.took(answer_of(call))

    @admin.display(description="Correlation id")
    def correlation(self, call: ProviderRequest) -> SafeString:
        """By which the provider's support desk finds it."""
        return cells.correlation(answer_of(call))

    def page_facts(self, request: HttpRequest, row: ProviderRequest) -> dict[str, Any]:
        """One call; its payload only for those who may read it, and that they did is kept."""
        may_read = may_read_payloads(request)
        if may_read:
            history.payload_opened(person(request), row, "request and answer opened")
        subjects = row.subjects.select_related("invoice", "attempt").order_by("pk")[:100]
        return {
            "title": f"{row.get_purpose_display()} call",
            "call": row,
            "response": answer_of(row),
            "subjects": subjects,
            "only_invoice": subjects[0].invoice if len(subjects) == 1 else None,
            "sides": [side_of(row, name) for name in SIDES] if may_read else [],
        }


class HistoryList(KeyList):
    """The list; of an event in a batch that is not this person's, it does not lead there."""

    def get_results(self, request: HttpRequest) -> None:
        """One page of events."""
        super().get_results(request)
        _close(request, self.result_list)


def _close(request: HttpRequest, events: Iterable[HistoryEvent]) -> None:
    closed = access.closed(person(request), [one.batch_id for one in events])
    for event in events:
        event.is_closed = event.batch_id in closed  # type: ignore[attr-defined]


@admin.register(HistoryEvent)
class HistoryAdmin(KeyedAdmin[HistoryEvent]):
    """What happened: who, what, from, to, why."""

    page_template = "invoices/event.html"
    list_display = ("when", "kind_word", "who", "change", "about", "detail_text")
    list_select_related = ("actor", "account", "batch", "invoice")
    list_filter = (
        record_filters.TimeFilter,
        record_filters.KindFilter,
        record_filters.PersonFilter,
        AccountFilter,
        record_filters.Before,
        record_filters.After,
        record_filters.OfInvoice,
        record_filters.OfBatch,
    )
    filter_parameters = (
        *("since", "until", "kind", "person", "account"),
        *("before", "after", "invoice", "batch"),
    )
    empty_value_display = ""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Our list."""
        return HistoryList

    search_fields = ("detail",)
    search_help_text = "A batch number, an invoice number or a person’s name"

    def get_queryset(self, request: HttpRequest) -> QuerySet[HistoryEvent]:
        """All, or what is about one invoice or batch."""
        rows = super().get_queryset(request)
        for parameter in ("invoice", "batch"):
            if asked := request.GET.get(parameter):
                rows = with_key(rows, parameter, asked) if asked.isdecimal() else rows.none()
        return rows

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """What is about anything called so, or was done by somebody called so."""
        text = " ".join(search_term.replace("\0", " ").split())[:MOST_CHARACTERS]
        if not text:
            return queryset, False
        wanted = record_filters.concerning(_people_called(text))
        if invoices := _invoices_called(person(request), text):
            wanted |= Q(invoice__in=invoices)
        if number := _batch_number(text):
            wanted |= Q(batch=number)
        return queryset.filter(wanted), False

    @admin.display(description="Time")
    def when(self, event: HistoryEvent) -> SafeString:
        """When it happened."""
        return cells.moment(event.at)

    @admin.display(description="What")
    def kind_word(self, event: HistoryEvent) -> str:
        """Its kind."""
        return event.get_kind_display()

    @admin.display(description="Who")
    def who(self, event: HistoryEvent) -> SafeString:
        """No person means Annul itself, or somebody who could not sign in."""
        return cells.who(event)

    @admin.display(description="Change")
    def change(self, event: HistoryEvent) -> SafeString:
        """From and to."""
        return cells.change(event)

    @admin.display(description="About")
    def about(self, event: HistoryEvent) -> SafeString:
        """Invoice, batch and account."""
        return cells.about(event)

    @admin.display(description="Why")
    def detail_text(self, event: HistoryEvent) -> SafeString:
        """The code's sentence and the detail."""
        return cells.detail(event)

    def page_facts(self, request: HttpRequest, row: HistoryEvent) -> dict[str, Any]:
        """One event."""
        _close(request, [row])
        return {"title": row.get_kind_display(), "event": row}


def _calls_named(user: User, text: str) -> list[UUID]:
    """Calls with exactly this correlation id, or this X-Request-Id."""
    answered = access.narrow(user, ProviderResponse.objects.filter(correlation_id=text))
    found = list(answered.values_list("request", flat=True)[:MOST_NAMED])
    with suppress(ValueError):
        mine = access.narrow(user, ProviderRequest.objects.filter(pk=UUID(text)))
        found += mine.values_list("pk", flat=True)
    return found


def _invoices_called(user: User, text: str) -> list[int]:
    """Invoices with exactly this number or provider id."""
    found = find(access.narrow(user, Invoice.objects.all()), text)
    is_named = found.whole == "named"
    return list(found.invoices.values_list("pk", flat=True)[:MOST_NAMED]) if is_named else []


def _people_called(text: str) -> list[int]:
    """People each of whose names or user name has all the words."""
    people = User.objects.all()
    for word in text.split():
        people = people.filter(
            Q(username__icontains=word)
            | Q(first_name__icontains=word)
            | Q(last_name__icontains=word)
        )
    return list(people.values_list("pk", flat=True)[:MOST_NAMED])


def _batch_number(text: str) -> int:
    """118 of "118", "#118" or "Batch 118"; 0 for none."""
    found = re.fullmatch(r"(?:batch\s*)?#?\s*([0-9]{1,18})", text, re.IGNORECASE)
    return int(found[1]) if found else 0
