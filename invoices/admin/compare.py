"""Two answers about an invoice, line by line: what did the provider say differently?"""

from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path

from invoices import history
from invoices.admin.payloads import may_read_payloads, side_of
from invoices.admin.readonly import ReadOnlyAdmin, person
from invoices.models import Invoice, ProviderRequest
from invoices.payloads import difference


class ComparePage(ReadOnlyAdmin[Invoice]):
    """A page beside an invoice's own."""

    def get_urls(self) -> list[URLPattern]:
        """In front of the admin's own."""
        view = self.admin_site.admin_view(self.compare_view)
        own = path("<int:pk>/compare/", view, name="invoices_invoice_compare")
        return [own, *super().get_urls()]

    def compare_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """First the choice of two answers; then, which goes on record, how they differ."""
        if not (may_read_payloads(request) and self.has_view_permission(request)):
            raise PermissionDenied
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        invoice = self.get_object(request, str(pk))
        if invoice is None:
            raise Http404("There is no such invoice.")
        calls = history.answered(invoice)
        ids = {call.request.pk for call in calls}
        chosen = [_chosen(request.GET.get(name, ""), ids) for name in ("first", "second")]
        facts: dict[str, Any] = {"calls": calls, "problem": _problem(request, chosen)}
        if request.GET and not facts["problem"]:
            facts |= _compared(request, chosen)
        facts["first"], facts["second"] = chosen if any(chosen) else _newest(calls)
        return self.show(request, "invoices/compare.html", invoice, facts)


def _chosen(text: str, ids: set[UUID]) -> UUID | None:
    try:
        pk = UUID(text)
    except ValueError:
        return None
    return pk if pk in ids else None


def _problem(request: HttpRequest, chosen: list[UUID | None]) -> str:
    if not request.GET:
        return ""
    if None in chosen:
        return "Choose two answers about this invoice."
    return "Choose two different answers." if chosen[0] == chosen[1] else ""


def _newest(calls: list[history.Call]) -> tuple[UUID | None, UUID | None]:
    """The last two, the earlier one first."""
    last = [call.request.pk for call in calls[:2]]
    return (last[1], last[0]) if len(last) == 2 else (None, None)


def _compared(request: HttpRequest, chosen: list[UUID | None]) -> dict[str, Any]:
    found = ProviderRequest.objects.select_related("account", "response").in_bulk(chosen)
    one, two = (side_of(found[pk], "answer") for pk in chosen)
    for side, other in ((one, two), (two, one)):
        what = f"answer compared with that of {other.call.pk}"
        history.payload_opened(person(request), side.call, what)
    return {"one": one, "two": two, "difference": difference(one.body, two.body)}
