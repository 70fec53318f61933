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

from invoices import batches, history, sync, tasks
from invoices.admin import filters
from invoices.admin.readonly import (
    CappedPaginator,
    ReadOnlyAdmin,
    RecordList,
    cell,
    person,
    with_facts,
)
from invoices.models import CancellationAttempt, Invoice
from invoices.models.attempt import State
from invoices.reviews import may_see_reviews
from invoices.search import MOST_CHARACTERS, find
from providers.models import ProviderAccount

MOST_REFRESHED = 500
LONG_PAGE = 100
PILLS: tuple[type[filters.ChoiceFilter], ...] = (
    filters.AccountFilter,
    filters.StatusFilter,
    filters.CurrencyFilter,
    filters.DueFilter,
    filters.LastAttemptFilter,
)


class InvoiceList(RecordList):
    """The list with its length of page and, for the rows on it, their last attempts."""

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self.wants_long_page = request.GET.get("rows") == str(LONG_PAGE)
        super().__init__(request, *args, **kwargs)

    def get_results(self, request: HttpRequest) -> None:
        """One page of rows; one more query for what was last attempted with them."""
        if self.wants_long_page:
            self.list_per_page = LONG_PAGE
        super().get_results(request)
        self.result_list = list(self.result_list)
        last = last_attempts([row.pk for row in self.result_list])
        for row in self.result_list:
            row.last_attempt = last.get(row.pk)

    @property
    def page_lengths(self) -> list[tuple[int, bool, str]]:
        """(rows, whether chosen, query string)."""
        return [
            (50, not self.wants_long_page, self.get_query_string(remove=["rows"])),
            (LONG_PAGE, self.wants_long_page, self.get_query_string({"rows": LONG_PAGE})),
        ]


@admin.register(Invoice)
class InvoiceAdmin(ReadOnlyAdmin[Invoice]):
    """All invoices of all accounts."""

    change_list_template = "invoices/invoice_list.html"
    page_template = "invoices/invoice.html"
    list_display = ("name", "account", "customer", "amount", "state", "issued", "due", "attempt")
    list_select_related = ("account",)
    list_filter = (*PILLS, filters.RowsPerPage, filters.Partly)
    filter_parameters = (
        "account",
        "status",
        "currency",
        "due",
        "attempt",
        "rows",
        "partly",
    )
    ordering = ("-issued_on", "-id")
    sortable_by = ("name", "amount", "issued")
    indexed_columns = ("number", "amount_minor", "issued_on")
    search_fields = ("search_text",)
    search_help_text = "Number, provider id, customer, e-mail, amount or correlation id"
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
        return cell("name", name=str(invoice))

    @admin.display(description="Customer")
    def customer(self, invoice: Invoice) -> SafeString:
        """Who is to pay."""
        return cell("customer", invoice=invoice)

    @admin.display(description="Amount", ordering="amount_minor")
    def amount(self, invoice: Invoice) -> SafeString:
        """Right-aligned by the style sheet."""
        return cell("amount", invoice=invoice)

    @admin.display(description="Status")
    def state(self, invoice: Invoice) -> SafeString:
        """Our word, with the provider's own beside it."""
        return cell("status", invoice=invoice)

    @admin.display(description="Issued", ordering="issued_on")
    def issued(self, invoice: Invoice) -> SafeString:
        """The list's order."""
        return cell("day", day=invoice.issued_on)

    @admin.display(description="Due")
    def due(self, invoice: Invoice) -> SafeString:
        """Marked when overdue."""
        return cell("day", day=invoice.due_on, overdue=invoice.is_overdue)

    @admin.display(description="Last attempt")
    def attempt(self, invoice: Invoice) -> SafeString:
        """How far the last attempt to cancel it came."""
        return cell("attempt", attempt=getattr(invoice, "last_attempt", None))

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
        return {
            "title": "Invoices",
            "found": getattr(request, "found", None),
            "capped": paginator.is_capped,
            "partly_url": shown.get_query_string({"q": shown.query, "partly": shown.query}),
            "most_characters": MOST_CHARACTERS,
        }

    # --- Actions ------------------------------------------------------------------------------

    @admin.action(description="Cancel selected invoices…", permissions=["cancel"])
    def cancel_selected(
        self, request: HttpRequest, queryset: QuerySet[Invoice]
    ) -> HttpResponse | None:
        """Freeze the selection and show what would happen; nothing is sent yet."""
        try:
            batch = batches.freeze(person(request), queryset, self._in_words(request))
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

    def _in_words(self, request: HttpRequest) -> str:
        """How the invoices were chosen, for the record."""
        if request.POST.get("select_across") not in ("1", "on"):
            ticked = len(set(request.POST.getlist(ACTION_CHECKBOX_NAME)))
            return "1 ticked invoice" if ticked == 1 else f"{ticked:,} ticked invoices"
        conditions = [f"matching “{query}”"] if (query := request.GET.get("q", "").strip()) else []
        for pill in PILLS:
            chosen = pill(request, dict(request.GET.lists()), Invoice, self)
            if chosen.in_words:
                conditions.append(f"{chosen.title} {chosen.in_words}")
        return "All invoices" + (f": {', '.join(conditions)}" if conditions else "")

    # --- One invoice --------------------------------------------------------------------------

    def page_facts(self, request: HttpRequest, row: Invoice) -> dict[str, Any]:
        """The facts, the sentence and the timeline."""
        page = request.GET.get("p", "")
        number = int(page) if page.isdecimal() and len(page) < 6 else 1
        return {
            "told": history.told(row),
            "timeline": history.timeline(row, max(1, number)),
            "may_open_payloads": person(request).has_perms(
                ("invoices.view_payload", "invoices.view_providerrequest")
            ),
            "may_review": may_see_reviews(person(request)),
            "may_open_account": person(request).has_perm("providers.view_provideraccount"),
        }


def last_attempts(invoice_ids: list[int]) -> dict[int, CancellationAttempt]:
    """The last attempt of each of these invoices that got further than a preview."""
    made = CancellationAttempt.objects.filter(invoice__in=invoice_ids).exclude(
        state__in=(State.DRAFT, State.INELIGIBLE)
    )
    return {one.invoice_id: one for one in made.order_by("invoice", "pk")}


def _well_formed(posted: QueryDict) -> QueryDict:
    """What was posted without ids that are none; "all matching" needs no ticked row."""
    cleaned = posted.copy()
    ticked = [one for one in posted.getlist(ACTION_CHECKBOX_NAME) if _is_id(one)]
    across = posted.getlist("select_across")[-1:] in (["1"], ["on"])
    cleaned.setlist(ACTION_CHECKBOX_NAME, ticked or (["0"] if across else []))
    return cleaned


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19
