"""Evidence packs: the forms to ask for one, the download, and who asked for which before."""

import secrets
from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    QueryDict,
    StreamingHttpResponse,
)
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from invoices import access, cells
from invoices.admin.keyed import KeyedAdmin, KeyList
from invoices.admin.readonly import cell, person, with_facts
from invoices.models import EvidenceExport, HistoryEvent
from invoices.packs import asking, exporting
from invoices.packs.scope import LARGEST_SAMPLE, LONGEST_SEED
from providers.models import ProviderAccount

BAD_REQUEST = 400
SEED_BYTES = 4


class ExportList(KeyList):
    """The list with the manifest of each export on the page, by one further query."""

    def get_results(self, request: HttpRequest) -> None:
        """One page of exports."""
        super().get_results(request)
        self.result_list = list(self.result_list)
        found = exporting.manifests(self.result_list)
        for row in self.result_list:
            row.manifest = found.get(row.code, "")


@admin.register(EvidenceExport)
class EvidenceAdmin(KeyedAdmin[EvidenceExport]):
    """For auditors: a pack of a span of time or of a sample; and the list of all packs."""

    change_list_template = "invoices/evidence.html"
    list_display = ("when", "who", "what", "manifest")
    list_select_related = ("actor",)
    filter_parameters = ("before", "after")

    def has_view_permission(self, request: HttpRequest, obj: EvidenceExport | None = None) -> bool:
        """Those who may have a pack."""
        return may_export(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """As for the list."""
        return may_export(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[EvidenceExport]:
        """One line for each that was begun."""
        rows = super().get_queryset(request).filter(kind=HistoryEvent.Kind.EVIDENCE_EXPORTED)
        return rows.filter(to_state=exporting.BEGUN)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Our list."""
        return ExportList

    def get_urls(self) -> list[URLPattern]:
        """In front of the admin's own: where forms are posted to."""
        view = self.admin_site.admin_view(self.export_view)
        return [path("export/", view, name="invoices_evidenceexport_export"), *super().get_urls()]

    @admin.display(description="Time")
    def when(self, export: EvidenceExport) -> SafeString:
        """When it was asked for."""
        return cells.moment(export.at)

    @admin.display(description="Who")
    def who(self, export: EvidenceExport) -> SafeString:
        """And from which address."""
        return cells.who(export)

    @admin.display(description="What")
    def what(self, export: EvidenceExport) -> SafeString:
        """The filter, with counts."""
        return cells.detail(export)

    @admin.display(description="Came to")
    def manifest(self, export: EvidenceExport) -> SafeString:
        """The SHA-256 of its manifest, when it was read to its end."""
        return cell("manifest", text=getattr(export, "manifest", ""))

    def changelist_view(
        self, request: HttpRequest, extra_context: Mapping[str, Any] | None = None
    ) -> HttpResponse:
        """The forms above the list."""
        return self._page(request, QueryDict(), "")

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The event's own page in the history."""
        if not may_export(request) or request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        if self.get_object(request, object_id) is None:
            return self._nothing_there(request, object_id)
        return HttpResponseRedirect(f"../../../historyevent/{object_id}/change/")

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """A pack as a download, by POST."""
        if not may_export(request) or request.method != "POST":
            raise PermissionDenied
        try:
            made = exporting.export(asking.scope_of(request.POST, person(request)), person(request))
        except (asking.NotUnderstood, exporting.ExportRefused) as refused:
            return self._page(request, request.POST, str(refused))
        return StreamingHttpResponse(
            made.pieces,
            content_type="application/zip",
            headers={
                "Content-Disposition": f'attachment; filename="{made.name}"',
                "X-Content-Type-Options": "nosniff",
                "Cache-Control": "no-store",
            },
        )

    def _page(self, request: HttpRequest, typed: QueryDict, problem: str) -> HttpResponse:
        if request.method == "POST" and not problem:
            raise PermissionDenied
        if request.method == "POST":
            # The list beside the refused form: what was posted is no action of the list's.
            request.method = "GET"
        response = super().changelist_view(request)
        user = person(request)
        facts = {
            "typed": typed,
            "problem": problem,
            "accounts": access.narrow(user, ProviderAccount.objects.order_by("name")),
            "is_limited": access.is_limited(user),
            "seed": typed.get("seed") or secrets.token_hex(SEED_BYTES),
            "largest_sample": LARGEST_SAMPLE,
            "longest_seed": LONGEST_SEED,
        }
        with_facts(response, lambda shown: facts)
        response.status_code = BAD_REQUEST if problem else response.status_code
        return response


def may_export(request: HttpRequest) -> bool:
    """Auditors."""
    return person(request).has_perm(exporting.EXPORT)
