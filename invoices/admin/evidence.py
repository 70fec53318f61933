"""The record: calls to providers with their payloads, and what happened. For auditors."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar, cast
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from invoices import history
from invoices.admin import filters
from invoices.admin.readonly import CappedPaginator, ReadOnlyAdmin, cell, person, with_facts
from invoices.models import HistoryEvent, ProviderRequest, ProviderResponse
from invoices.models.evidence import unpack_headers

M = TypeVar("M", bound=Model)

PAYLOADS = (
    "headers",
    "body",
    "response__headers",
    "response__body",
)


class RecordAdmin(ReadOnlyAdmin[M]):
    """A list that grows for ever: the newest first, older ones by key."""

    change_list_template = "invoices/record_list.html"
    ordering = ("-pk",)

    def changelist_view(
        self, request: HttpRequest, extra_context: Mapping[str, Any] | None = None
    ) -> HttpResponse:
        """The list, with the way to what is older than is counted."""
        response = super().changelist_view(request, extra_context)
        with_facts(response, self._notes)
        return response

    def _notes(self, shown: ChangeList) -> dict[str, Any]:
        rows = list(shown.result_list)
        capped = cast("CappedPaginator[M]", shown.paginator).is_capped
        is_last = shown.page_num >= shown.paginator.num_pages
        older = shown.get_query_string({"before": rows[-1].pk}) if rows else ""
        return {
            "title": str(self.opts.verbose_name_plural).capitalize(),
            "older_url": older if capped and is_last else "",
        }


@admin.register(ProviderRequest)
class CallAdmin(RecordAdmin[ProviderRequest]):
    """Every request to a provider, with how it ended."""

    page_template = "invoices/call.html"
    list_display = ("at", "account", "reason", "call", "answer", "took", "correlation")
    list_filter = (
        filters.AccountFilter,
        filters.PurposeFilter,
        filters.AnswerFilter,
        filters.Before,
    )
    filter_parameters = ("account", "purpose", "answer", "before")
    search_fields = ("response__correlation_id",)
    search_help_text = "A whole correlation id, or the X-Request-Id that we sent"

    def get_queryset(self, request: HttpRequest) -> QuerySet[ProviderRequest]:
        """Without payloads, which may be long."""
        rows = super().get_queryset(request).select_related("account", "response")
        return filters.narrowed(rows.defer(*PAYLOADS), request, before="pk__lt")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Whole ids only: each is one probe of an index."""
        text = search_term.replace("\0", "").strip()[:100]
        if not text:
            return queryset, False
        named = Q(response__correlation_id=text)
        with suppress(ValueError):
            named |= Q(pk=UUID(text))
        return queryset.filter(named), False

    @admin.display(description="Time")
    def at(self, call: ProviderRequest) -> SafeString:
        """When it was put on record, just before it left."""
        return cell("moment", moment=call.created_at)

    @admin.display(description="Purpose")
    def reason(self, call: ProviderRequest) -> str:
        """What it was for."""
        return call.get_purpose_display()

    @admin.display(description="Request")
    def call(self, call: ProviderRequest) -> SafeString:
        """Method and address."""
        return cell("request", call=call)

    @admin.display(description="Answer")
    def answer(self, call: ProviderRequest) -> SafeString:
        """HTTP status or fault."""
        return cell("answer", response=answer_of(call))

    @admin.display(description="Took")
    def took(self, call: ProviderRequest) -> SafeString:
        """Milliseconds."""
        return cell("took", response=answer_of(call))

    @admin.display(description="Correlation id")
    def correlation(self, call: ProviderRequest) -> SafeString:
        """By which the provider's support desk finds it."""
        return cell("correlation", response=answer_of(call))

    def get_urls(self) -> list[URLPattern]:
        """Beside the admin's own: the payload as a fragment, and each side as exact bytes."""
        views: tuple[tuple[str, str, Callable[..., HttpResponse]], ...] = (
            ("<uuid:pk>/payload/", "payload", self.payload_view),
            ("<uuid:pk>/request.txt", "request", self.request_bytes_view),
            ("<uuid:pk>/response.txt", "response", self.response_bytes_view),
        )
        own = [
            path(
                route,
                self.admin_site.admin_view(view),
                name=f"invoices_providerrequest_{name}",
            )
            for route, name, view in views
        ]
        return own + super().get_urls()

    def page_facts(self, request: HttpRequest, row: ProviderRequest) -> dict[str, Any]:
        """One call; its payload only for those who may read it, and that they did is kept."""
        user = person(request)
        may_read = user.has_perm("invoices.view_payload")
        if may_read:
            history.payload_opened(user, row)
        subjects = row.subjects.select_related("invoice", "attempt").order_by("pk")[:100]
        return {
            "title": f"{row.get_purpose_display()} call",
            "call": row,
            "response": answer_of(row),
            "subjects": subjects,
            "payload": payload(row) if may_read else None,
        }

    def payload_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """The raw request and answer, as the inside of a page."""
        call = self._opened(request, pk)
        return TemplateResponse(request, "invoices/payload.html", {"payload": payload(call)})

    def request_bytes_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """The request's body, byte for byte as it was stored."""
        call = self._opened(request, pk)
        return _download(bytes(call.body), f"{call.account.provider}-{call.pk}-request.txt")

    def response_bytes_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """The answer's body, byte for byte as it was stored."""
        call = self._opened(request, pk)
        response = answer_of(call)
        if response is None:
            raise Http404("No answer is on record.")
        return _download(bytes(response.body), f"{call.account.provider}-{call.pk}-response.txt")

    def _opened(self, request: HttpRequest, pk: UUID) -> ProviderRequest:
        """A call whose payload is about to be read, which is put on record."""
        user = person(request)
        if not user.has_perm("invoices.view_payload") or request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        call = ProviderRequest.objects.select_related("account", "response").filter(pk=pk).first()
        if call is None:
            raise Http404("There is no such call.")
        history.payload_opened(user, call)
        return cast(ProviderRequest, call)


@admin.register(HistoryEvent)
class HistoryAdmin(RecordAdmin[HistoryEvent]):
    """What happened: who, what, from, to, why."""

    page_template = "invoices/event.html"
    list_display = ("when", "kind_word", "who", "change", "about", "detail_text")
    list_select_related = ("actor", "account", "batch", "invoice")
    list_filter = (
        filters.KindFilter,
        filters.AccountFilter,
        filters.Before,
        filters.OfInvoice,
        filters.OfBatch,
    )
    filter_parameters = ("kind", "account", "before", "invoice", "batch")

    def get_queryset(self, request: HttpRequest) -> QuerySet[HistoryEvent]:
        """All, or what is about one invoice or batch."""
        rows = super().get_queryset(request)
        return filters.narrowed(rows, request, before="pk__lt", invoice="invoice", batch="batch")

    @admin.display(description="Time")
    def when(self, event: HistoryEvent) -> SafeString:
        """When it happened."""
        return cell("moment", moment=event.at)

    @admin.display(description="What")
    def kind_word(self, event: HistoryEvent) -> str:
        """Its kind."""
        return event.get_kind_display()

    @admin.display(description="Who")
    def who(self, event: HistoryEvent) -> str:
        """No person means Annul itself."""
        return event.actor.get_username() if event.actor else "Annul"

    @admin.display(description="Change")
    def change(self, event: HistoryEvent) -> SafeString:
        """From and to."""
        return cell("change", event=event)

    @admin.display(description="About")
    def about(self, event: HistoryEvent) -> SafeString:
        """Invoice, batch and account."""
        return cell("about", event=event)

    @admin.display(description="Why")
    def detail_text(self, event: HistoryEvent) -> SafeString:
        """The code's sentence and the detail."""
        return cell("detail", event=event)

    def page_facts(self, request: HttpRequest, row: HistoryEvent) -> dict[str, Any]:
        """One event."""
        return {"title": row.get_kind_display(), "event": row}


def answer_of(call: ProviderRequest) -> ProviderResponse | None:
    """How a call ended; None while that is not on record."""
    return getattr(call, "response", None)


def payload(call: ProviderRequest) -> dict[str, Any]:
    """Both sides of a call with their headers as text."""
    response = answer_of(call)
    return {
        "call": call,
        "request_headers": _headers(call.headers),
        "response": response,
        "response_headers": _headers(response.headers) if response else "",
    }


def _headers(stored: bytes | memoryview) -> str:
    return "\n".join(f"{name}: {value}" for name, value in unpack_headers(bytes(stored)))


def _download(body: bytes, name: str) -> HttpResponse:
    return HttpResponse(
        body,
        content_type="text/plain; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        },
    )
