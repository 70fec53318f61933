"""Pasted lists: the page on which they are pasted, and the one that says what they meant."""

from pathlib import PurePath
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from invoices import pasted
from invoices.admin.pills import PastedFilter
from invoices.admin.readonly import ReadOnlyAdmin, person
from invoices.models import Invoice
from invoices.pasted import LIFE, MOST_BYTES, MOST_ENTRIES, ListRefused

ENDINGS = (".txt", ".csv")
SHOWN_AMBIGUOUS = 100
SEE_OTHER = 303


class PastedPages(ReadOnlyAdmin[Invoice]):
    """What the list of invoices has to do with pasted lists."""

    def get_urls(self) -> list[URLPattern]:
        """In front of the admin's own."""
        views = (
            ("paste/", "paste", self.paste_view),
            ("paste/<uuid:pk>/", "pasted", self.pasted_view),
        )
        own = [
            path(route, self.admin_site.admin_view(view), name=f"invoices_invoice_{name}")
            for route, name, view in views
        ]
        return [*own, *super().get_urls()]

    def paste_view(self, request: HttpRequest) -> HttpResponse:
        """GET shows the form, POST matches what was pasted or uploaded."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        problem = ""
        if request.method == "POST":
            try:
                text = "\n".join((request.POST.get("list", ""), _uploaded(request)))
                made = pasted.paste(person(request), self.get_queryset(request), text)
            except ListRefused as refused:
                problem = str(refused)
            else:
                return HttpResponseRedirect(self.url("pasted", made.pk), status=SEE_OTHER)
        facts = {
            "title": "Paste a list",
            "problem": problem,
            "typed": request.POST.get("list", "")[:MOST_BYTES],
            "most_entries": MOST_ENTRIES,
            "recent": pasted.kept_for(person(request)).order_by("-created_at")[:5],
        }
        return self._page(request, "invoices/paste.html", facts, 409 if problem else 200)

    def pasted_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """What was found, what was not, and the way to the list of it."""
        if not self.has_view_permission(request) or request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        made = pasted.kept_for(person(request)).filter(pk=pk).first()
        if made is None:
            text = "This pasted list has expired or belongs to somebody else."
            self.message_user(request, text, messages.WARNING)
            return HttpResponseRedirect(self.url("paste"))
        visible = self.get_queryset(request).filter(pk__in=made.rows.values("invoice"))
        several, shown = pasted.ambiguous(made, person(request), SHOWN_AMBIGUOUS)
        facts = {
            "title": "What the list means",
            "pasted": made,
            "matched": visible.count(),
            "unmatched": pasted.unmatched(made, person(request)),
            "ambiguous": shown,
            "ambiguous_count": several,
            "list_url": f"{self.url('changelist')}?{PastedFilter.parameter_name}={made.pk}",
            "ends_at": made.created_at + LIFE,
        }
        return self._page(request, "invoices/pasted.html", facts)

    def _page(
        self, request: HttpRequest, template: str, facts: dict[str, Any], status: int = 200
    ) -> HttpResponse:
        frame = self.admin_site.each_context(request)
        context = {**frame, "opts": self.opts, **facts}
        return TemplateResponse(request, template, context, status=status)


def _uploaded(request: HttpRequest) -> str:
    """The text of the file that was chosen, "" for none. Raises `ListRefused`."""
    chosen = request.FILES.get("file")
    if chosen is None:
        return ""
    if PurePath(chosen.name or "").suffix.lower() not in ENDINGS:
        raise ListRefused("Choose a file that ends in .txt or .csv.")
    if (chosen.size or 0) > MOST_BYTES:
        raise ListRefused("The file is larger than 1 MB.")
    return pasted.text_of(chosen.read())
