"""Finding invoices, choosing those to cancel, and what happened to one of them."""

from collections.abc import Mapping
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.utils.safestring import SafeString

from invoices import access, batches, cells, history, sync, tasks
from invoices.admin import pills
from invoices.admin.compare import ComparePage
from invoices.admin.invoice_list import InvoiceList, selection_in_words
from invoices.admin.payloads import may_read_payloads
from invoices.admin.readonly import (
    CappedPaginator,
    ReadOnlyAdmin,
    person,
    with_facts,
)
from invoices.admin.selections import PastedPages
from invoices.admin.view_pages import ViewPages
from invoices.hits import Hits
from invoices.models import Invoice
from invoices.reviews import may_see_reviews
from invoices.search import MOST_CHARACTERS, MOST_WORDS, Found, find
from providers.models import ProviderAccount

MOST_REFRESHED = 500


@admin.register(Invoice)
class InvoiceAdmin(ViewPages, PastedPages, ComparePage, ReadOnlyAdmin[Invoice]):
    """All invoices of all accounts."""

    change_list_template = "invoices/invoice_list.html"
    page_template = "invoices/invoice.html"
    list_display = ("name", "account", "customer", "amount", "state", "issued", "due", "attempt")
    list_select_related = ("account",)
    list_filter = (
        pills.PastedFilter,
        *pills.PILLS,
        pills.SortMenu,
        pills.RowsPerPage,
        pills.Partly,
    )
    filter_parameters = (
        "account",
        "status",
        "currency",
        "amount_from",
        "amount_to",
        "due",
        "attempt",
        "rows",
        "partly",
        "selection",
    )
    ordering = ("-issued_on", "-id")
    sortable_by = ("name", "amount", "issued")
    indexed_columns = ("number", "amount_minor", "issued_on")
    search_fields = ("search_text",)
    search_help_text = "Number, provider id, customer, e-mail, amount, correlation id or “batch 12”"
    actions = ("cancel_selected", "refresh_selected")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Who may ask for cancellations."""
        return person(request).has_perm("invoices.cancel_invoice")

    def has_refresh_permission(self, request: HttpRequest) -> bool:
        """Who may have invoices read anew."""
        return person(request).has_perm("invoices.refresh_invoice")

    # --- The list ---------------------------------------------------------------------------

    @admin.display(description="Number", ordering="number")
    def name(self, invoice: Invoice) -> SafeString:
        """Its number, or the provider's id for want of one."""
        return cells.name(_hits(invoice))

    @admin.display(description="Customer")
    def customer(self, invoice: Invoice) -> SafeString:
        """Who is to pay, by name or else by e-mail."""
        shown = invoice.customer_name or invoice.customer_email
        return cells.customer(shown, _hits(invoice).customer)

    @admin.display(description="Amount", ordering="amount_minor")
    def amount(self, invoice: Invoice) -> SafeString:
        """Right-aligned by the style sheet."""
        return cells.amount(invoice, is_hit=_hits(invoice).amount)

    @admin.display(description="Status")
    def state(self, invoice: Invoice) -> SafeString:
        """Our word, with the provider's own beside it."""
        return cells.status(invoice)

    @admin.display(description="Issued", ordering="issued_on")
    def issued(self, invoice: Invoice) -> SafeString:
        """The list's order."""
        return cells.day(invoice.issued_on)

    @admin.display(description="Due")
    def due(self, invoice: Invoice) -> SafeString:
        """Marked when overdue."""
        return cells.day(invoice.due_on, overdue=invoice.is_overdue)

    @admin.display(description="Last attempt")
    def attempt(self, invoice: Invoice) -> SafeString:
        """How far the last attempt to cancel it came."""
        return cells.attempt(getattr(invoice, "last_attempt", None))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Our list."""
        return InvoiceList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By the search box; what the search came to is kept for the template."""
        partly = bool(search_term) and request.GET.get("partly") == search_term
        found = find(queryset, search_term, partly=partly)
        request.found = found  # type: ignore[attr-defined]
        return found.invoices, False

    def changelist_view(
        self, request: HttpRequest, extra_context: Mapping[str, Any] | None = None
    ) -> HttpResponse:
        """The list, or an action with what is selected on it."""
        if request.method == "POST":
            request.POST = _well_formed(request.POST)  # type: ignore[assignment]
        response = super().changelist_view(request, extra_context)
        with_facts(response, lambda shown: self._notes(request, shown))
        return response

    def _notes(self, request: HttpRequest, shown: ChangeList) -> dict[str, Any]:
        paginator = cast("CappedPaginator[Invoice]", shown.paginator)
        found: Found | None = getattr(request, "found", None)
        return {
            "title": "Invoices",
            **self.view_facts(request),
            "found": found,
            "pasted": next(
                (one for one in shown.filter_specs if isinstance(one, pills.PastedFilter)), None
            ),
            "amounts": next(
                one for one in shown.filter_specs if isinstance(one, pills.AmountFilter)
            ),
            "capped": paginator.is_capped,
            "cut_url": shown.get_query_string({"q": found.cut}) if found else "",
            "partly_url": shown.get_query_string({"q": shown.query, "partly": shown.query}),
            "most_characters": MOST_CHARACTERS,
            "most_words": MOST_WORDS,
        }

    # --- Actions ------------------------------------------------------------------------------

    @admin.action(description="Cancel selected invoices…", permissions=["cancel"])
    def cancel_selected(
        self, request: HttpRequest, queryset: QuerySet[Invoice]
    ) -> HttpResponse | None:
        """Freeze the selection and show what would happen; nothing is sent yet."""
        try:
            batch = batches.freeze(person(request), queryset, selection_in_words(request, self))
        except batches.BatchRefused as refused:
            self.message_user(request, str(refused), messages.ERROR)
            return None
        return HttpResponseRedirect(
            reverse("admin:invoices_cancellationbatch_preview", args=[batch.pk])
        )

    @admin.action(description="Refresh from provider", permissions=["refresh"])
    def refresh_selected(self, request: HttpRequest, queryset: QuerySet[Invoice]) -> None:
        """Have the selected invoices read anew, in the background."""
        rows = list(queryset.values_list("account", "external_id")[: MOST_REFRESHED + 1])
        if len(rows) > MOST_REFRESHED:
            text = f"At most {MOST_REFRESHED} invoices can be refreshed at once. Nothing was read."
            self.message_user(request, text, messages.ERROR)
            return
        by_account: dict[int, list[str]] = {}
        for account_id, reference in rows:
            by_account.setdefault(account_id, []).append(reference)
        self._request_refresh(request, by_account)

    def _request_refresh(self, request: HttpRequest, by_account: dict[int, list[str]]) -> None:
        asked = 0
        for account in ProviderAccount.objects.filter(pk__in=by_account):
            references = by_account[account.pk]
            try:
                run = sync.request(account, person(request), external_ids=references)
            except sync.SyncRefused as refused:
                self.message_user(request, f"{account}: {refused}", messages.ERROR)
            else:
                tasks.start_sync(run.pk)
                asked += len(references)
        if asked:
            words = "1 invoice is" if asked == 1 else f"{asked:,} invoices are"
            text = f"{words} being read from the provider; nothing is changed there."
            self.message_user(request, text, messages.INFO)

    # --- One invoice --------------------------------------------------------------------------

    def page_facts(self, request: HttpRequest, row: Invoice) -> dict[str, Any]:
        """The facts, the sentence and the timeline."""
        page = request.GET.get("p", "")
        number = int(page) if page.isdecimal() and len(page) < 6 else 1
        may_see_looks = person(request).has_perm("invoices.view_historyevent")
        told, timeline = history.told(row), history.timeline(row, max(1, number))
        return {
            "told": told,
            "timeline": timeline,
            "closed_batches": access.closed(person(request), history.batches_of(told, timeline)),
            "may_open_payloads": may_read_payloads(request),
            "looks": history.looks(row) if may_see_looks else [],
            "may_review": may_see_reviews(person(request)),
            "may_open_account": person(request).has_perm("providers.view_provideraccount"),
        }


def _hits(invoice: Invoice) -> Hits:
    return cast("Hits", invoice.hits)  # type: ignore[attr-defined]


def _well_formed(posted: QueryDict) -> QueryDict:
    """What was posted without ids that are none; "all matching" needs no ticked row."""
    cleaned = posted.copy()
    ticked = [one for one in posted.getlist(ACTION_CHECKBOX_NAME) if _is_id(one)]
    across = posted.getlist("select_across")[-1:] in (["1"], ["on"])
    cleaned.setlist(ACTION_CHECKBOX_NAME, ticked or (["0"] if across else []))
    return cleaned


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19
