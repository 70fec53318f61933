"""One page of the list of invoices, and how a selection on it reads."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import F, OrderBy, QuerySet
from django.db.models.functions import Greatest
from django.http import HttpRequest

from invoices.admin.pills import PILLS, PastedFilter
from invoices.admin.readonly import RecordList
from invoices.hits import hits
from invoices.models import CancellationAttempt, Invoice
from invoices.models.attempt import State
from invoices.search import Found

LONG_PAGE = 100
FEW_DUE = ("7", "30", "none")
"""Choices of the filter by due date that few of the invoices meet."""


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
        # What was not found by counting need not be looked for once more.
        self.result_list = list(self.result_list) if self.result_count else []
        ids = [row.pk for row in self.result_list]
        last = last_attempts(ids)
        found: Found | None = getattr(request, "found", None)
        batches = _batches_of(ids, found.batches if found else ())
        for row in self.result_list:
            row.last_attempt = last.get(row.pk)
            row.hits = hits(found, row, batches.get(row.pk, ()))

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """As asked; what is due in some days is looked up by that and then sorted.

        Due dates follow the dates of issue. A database does not know that: it would go along an
        index of the latter from the end where none of these lie, through the whole table.
        """
        asked = super().get_ordering(request, queryset)
        if request.GET.get("due") in FEW_DUE:
            return [_by_no_index(one) for one in asked]
        return asked

    @property
    def page_lengths(self) -> list[tuple[int, bool, str]]:
        """(rows, whether chosen, query string)."""
        return [
            (50, not self.wants_long_page, self.get_query_string(remove=["rows"])),
            (LONG_PAGE, self.wants_long_page, self.get_query_string({"rows": LONG_PAGE})),
        ]


def _by_no_index(column: str) -> OrderBy:
    """The same order, written so that no index has it."""
    name = column.lstrip("-")
    return OrderBy(Greatest(F(name), F(name)), descending=column.startswith("-"))


def last_attempts(invoice_ids: list[int]) -> dict[int, CancellationAttempt]:
    """The last attempt of each of these invoices that got further than a preview."""
    made = CancellationAttempt.objects.filter(invoice__in=invoice_ids).exclude(
        state__in=(State.DRAFT, State.INELIGIBLE)
    )
    return {one.invoice_id: one for one in made.order_by("invoice", "pk")}


def _batches_of(ids: list[int], looked_for: tuple[int, ...]) -> dict[int, list[int]]:
    """By invoice, those of the batches looked for that it belongs to."""
    found: dict[int, list[int]] = {}
    if looked_for:
        rows = CancellationAttempt.objects.filter(invoice__in=ids, batch__in=looked_for)
        for invoice_id, batch_id in rows.values_list("invoice_id", "batch_id"):
            found.setdefault(invoice_id, []).append(batch_id)
    return found


def selection_in_words(request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> str:
    """How the invoices that an action is about were chosen, for the record."""
    if request.POST.get("select_across") not in ("1", "on"):
        ticked = len(set(request.POST.getlist(ACTION_CHECKBOX_NAME)))
        return "1 ticked invoice" if ticked == 1 else f"{ticked:,} ticked invoices"
    conditions = [f"matching “{query}”"] if (query := request.GET.get("q", "").strip()) else []
    for pill in PILLS:
        chosen = pill(request, dict(request.GET.lists()), Invoice, model_admin)
        if chosen.in_words:
            conditions.append(f"{chosen.title} {chosen.in_words}")
    listed = PastedFilter(request, dict(request.GET.lists()), Invoice, model_admin).pasted
    which = _numbers(listed.entries) if listed else "All invoices"
    return which + (f": {', '.join(conditions)}" if conditions else "")


def _numbers(count: int) -> str:
    return "1 pasted number" if count == 1 else f"{count:,} pasted numbers"
