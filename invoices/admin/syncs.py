"""Imports: the list of runs, and the progress of one without loading the page again."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from invoices import cells
from invoices.admin.filters import AccountFilter, ChoiceFilter
from invoices.admin.readonly import ReadOnlyAdmin, cell
from invoices.models import SyncRun
from invoices.progress import worker_is_alive

State = SyncRun.State


class StateFilter(ChoiceFilter):
    """By how far it is."""

    title = "state"
    parameter_name = "state"
    options = [(str(value), str(label)) for value, label in State.choices]


@admin.register(SyncRun)
class SyncRunAdmin(ReadOnlyAdmin[SyncRun]):
    """What was read from where, when, by whom, and what came of it."""

    list_display = (
        "title",
        "account",
        "state_badge",
        "outcomes",
        "asker",
        "asked",
        "ended",
    )
    list_filter = (AccountFilter, StateFilter)
    filter_parameters = ("account", "state")
    page_template = "invoices/import.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[SyncRun]:
        """With who and where, by one query."""
        rows = super().get_queryset(request).select_related("account", "requested_by")
        # May be ten thousand ids; only their number is shown, on the page of one run.
        return rows.defer("external_ids")

    @admin.display(description="Import")
    def title(self, run: SyncRun) -> SafeString:
        """Its number."""
        return cell("name", name=str(run))

    @admin.display(description="State")
    def state_badge(self, run: SyncRun) -> SafeString:
        """Colour, shape and word."""
        return cell("state", state=run.state, word=run.get_state_display())

    @admin.display(description="Invoices")
    def outcomes(self, run: SyncRun) -> SafeString:
        """Counts that add up to what was read."""
        return cell("outcomes", counts=[one for one in _counts(run) if one[1]], label=str(run))

    @admin.display(description="Requested by", empty_value="The shell")
    def asker(self, run: SyncRun) -> str | None:
        """Who asked for it."""
        return str(run.requested_by) if run.requested_by else None

    @admin.display(description="Requested")
    def asked(self, run: SyncRun) -> SafeString:
        """When, with the zone."""
        return cells.moment(run.requested_at)

    @admin.display(description="Ended")
    def ended(self, run: SyncRun) -> SafeString | None:
        """When, with the zone."""
        return cells.moment(run.finished_at) if run.finished_at else None

    def get_urls(self) -> list[URLPattern]:
        """The part of the page that changes has an address of its own."""
        view = self.admin_site.admin_view(self.progress_part)
        name = "invoices_syncrun_progress"
        return [path("<int:pk>/progress/", view, name=name), *super().get_urls()]

    def page_facts(self, request: HttpRequest, row: SyncRun) -> dict[str, Any]:
        """The page of one run."""
        return {**_facts(row), "poll_url": self.url("progress", row.pk)}

    def progress_part(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The inside of the progress card, for poll.js."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        run = self.get_object(request, str(pk))
        if run is None:
            raise Http404
        facts = _facts(run)
        part = TemplateResponse(request, "invoices/import_progress.html", facts)
        if facts["ended"]:
            part["X-Poll"] = "done"
        return part


def _counts(run: SyncRun) -> list[tuple[str, int, str]]:
    """For the bar and its legend."""
    return [
        ("finished", run.created, "created"),
        ("running", run.updated, "updated"),
        ("unchanged", run.unchanged, "unchanged"),
        ("failed", run.failed, "failed"),
    ]


def _facts(run: SyncRun) -> dict[str, Any]:
    counts = _counts(run)
    return {
        "run": run,
        "ended": run.state in (State.FINISHED, State.FAILED),
        "counts": counts,
        "read": sum(count for _, count, _ in counts),
        "named": len(run.external_ids) if run.external_ids is not None else None,
        "no_worker": run.state == State.WAITING and not worker_is_alive(),
    }
