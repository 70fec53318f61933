"""Batches: the list, the page of one with its progress, and the buttons that control it."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from invoices import approvals, batches, cells, overview
from invoices.admin import filters
from invoices.admin.batch_rows import rows_facts
from invoices.admin.previews import PreviewPages
from invoices.admin.readonly import RecordList, cell, person
from invoices.models import CancellationBatch
from invoices.preview import preview
from invoices.progress import (
    RUNNING,
    counts_for_bar,
    counts_of,
    progress,
    standing,
    troubles,
    worker_is_alive,
    worker_seen_at,
)
from providers.adapters import ADAPTERS
from providers.models import ProviderAccount

BatchState = CancellationBatch.State
NOTHING_MORE = 286
"""The status that tells poll.js to stop asking."""
MOST_NAMED = 8
"""Of those who may approve, so many are named."""


class BatchList(RecordList):
    """The list with the counts of the batches on the page, by one further query."""

    def get_results(self, request: HttpRequest) -> None:
        """One page of batches."""
        super().get_results(request)
        self.result_list = list(self.result_list)
        found = counts_of([row.pk for row in self.result_list])
        for row in self.result_list:
            row.counts = counts_for_bar(found.get(row.pk, {}))


@admin.register(CancellationBatch)
class BatchAdmin(PreviewPages):
    """What was asked for, by whom and why, and how far it is."""

    change_list_template = "invoices/batch_list.html"
    page_template = "invoices/batch.html"
    list_display = ("name", "status", "outcome", "selected", "why", "who", "when")
    list_select_related = ("requested_by",)
    list_filter = (filters.BatchStateFilter,)
    filter_parameters = ("state",)

    # --- The list ---------------------------------------------------------------------------

    @admin.display(description="Batch")
    def name(self, batch: CancellationBatch) -> SafeString:
        """Its number."""
        return cell("name", name=str(batch))

    @admin.display(description="State")
    def status(self, batch: CancellationBatch) -> SafeString:
        """As a badge."""
        state, word = standing(batch)
        return cell("state", state=state, word=word)

    @admin.display(description="Outcomes")
    def outcome(self, batch: CancellationBatch) -> SafeString:
        """The bar with its legend."""
        return cell("outcomes", counts=getattr(batch, "counts", []), label=str(batch))

    @admin.display(description="Invoices")
    def selected(self, batch: CancellationBatch) -> SafeString:
        """How many were selected."""
        return cell("number", number=batch.selected_count)

    @admin.display(description="Reason")
    def why(self, batch: CancellationBatch) -> str:
        """The coded reason."""
        return batch.get_reason_display() if batch.reason else "–"

    @admin.display(description="Asked by")
    def who(self, batch: CancellationBatch) -> str:
        """Who prepared it."""
        return batch.requested_by.get_username()

    @admin.display(description="When")
    def when(self, batch: CancellationBatch) -> SafeString:
        """When it was confirmed, or prepared."""
        return cells.moment(batch.confirmed_at or batch.created_at)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Our list."""
        return BatchList

    # --- One batch ----------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        """Beside the admin's own: preview, discard, rows, progress, control, running."""
        views: tuple[tuple[str, str, Callable[..., HttpResponse]], ...] = (
            ("running/", "running", self.running_view),
            ("<int:pk>/preview/", "preview", self.preview_view),
            ("<int:pk>/discard/", "discard", self.discard_view),
            ("<int:pk>/rows/", "rows", self.rows_view),
            ("<int:pk>/progress/", "progress", self.progress_view),
            ("<int:pk>/control/", "control", self.control_view),
        )
        own = [
            path(
                route,
                self.admin_site.admin_view(view),
                name=f"invoices_cancellationbatch_{name}",
            )
            for route, name, view in views
        ]
        return own + super().get_urls()

    def page_facts(self, request: HttpRequest, row: CancellationBatch) -> dict[str, Any]:
        """Everything about a batch, its first rows included."""
        waits = row.state == BatchState.AWAITING_APPROVAL
        return {
            "preview": preview(row, row.options, person(request)) if waits else None,
            **self._progress_facts(request, row),
            **rows_facts(request, row),
            "chosen": _chosen_options(row),
            "may_preview": row.state == BatchState.DRAFT and self.may_confirm(request, row),
            "may_see_history": person(request).has_perm("invoices.view_historyevent"),
        }

    def progress_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The part of the page that changes by itself."""
        batch = self.found(request, pk)
        facts = self._progress_facts(request, batch)
        status = NOTHING_MORE if facts["progress"].is_final else 200
        context = {**facts, "original": batch}
        return TemplateResponse(request, "invoices/batch_progress.html", context, status=status)

    def rows_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """A batch's invoices, by state and code, page by page."""
        batch = self.found(request, pk)
        facts = {
            **rows_facts(request, batch),
            "title": f"Invoices of {str(batch).lower()}",
            "may_preview": batch.state == BatchState.DRAFT and self.may_confirm(request, batch),
        }
        return self.show(request, "invoices/batch_rows_page.html", batch, facts)

    def running_view(self, request: HttpRequest) -> HttpResponse:
        """The front page's list of running batches, for polling."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        facts = {"batches": overview.running_batches(person(request))}
        return TemplateResponse(request, "admin/overview_batches.html", facts)

    def control_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Pause, resume, stop, retry or recall, by POST."""
        batch = self.found(request, pk)
        if request.method != "POST":
            raise PermissionDenied
        steps = {
            "pause": self._pause,
            "resume": self._resume,
            "stop": self._stop,
            "retry": self._retry,
            "recall": self._recall,
        }
        step = steps.get(request.POST.get("do", ""))
        if step is None:
            self.message_user(request, "There is no such step. Nothing changed.", messages.ERROR)
            return HttpResponseRedirect(self.url("change", pk))
        try:
            return step(request, batch)
        except batches.BatchRefused as refused:
            self.message_user(request, str(refused), messages.ERROR)
            return HttpResponseRedirect(self.url("change", pk))

    def _pause(self, request: HttpRequest, batch: CancellationBatch) -> HttpResponse:
        batches.pause(batch, person(request))
        text = f"{batch} is paused. What was sent already is still followed to its end."
        return self._said(request, batch, text)

    def _resume(self, request: HttpRequest, batch: CancellationBatch) -> HttpResponse:
        batches.resume(batch, person(request))
        self.wake(batch)
        return self._said(request, batch, f"{batch} goes on.")

    def _stop(self, request: HttpRequest, batch: CancellationBatch) -> HttpResponse:
        withdrawn = batches.stop(batch, person(request))
        text = (
            f"{batch} is stopped: {withdrawn:,} not yet sent were withdrawn. "
            "What was sent already is still followed to its end."
        )
        return self._said(request, batch, text)

    def _retry(self, request: HttpRequest, batch: CancellationBatch) -> HttpResponse:
        fresh = batches.retry(batch, person(request))
        return HttpResponseRedirect(self.url("preview", fresh.pk))

    def _recall(self, request: HttpRequest, batch: CancellationBatch) -> HttpResponse:
        approvals.recall(batch, person(request))
        return self._said(request, batch, f"{batch} is recalled. Nothing was sent for it.")

    def _said(self, request: HttpRequest, batch: CancellationBatch, text: str) -> HttpResponse:
        self.message_user(request, text, messages.SUCCESS)
        return HttpResponseRedirect(self.url("change", batch.pk))

    def _progress_facts(self, request: HttpRequest, batch: CancellationBatch) -> dict[str, Any]:
        state = progress(batch)
        is_running = batch.state in RUNNING
        waits = batch.state == BatchState.AWAITING_APPROVAL
        badge, word = standing(batch)
        return {
            "progress": state,
            "badge": badge,
            "badge_word": word,
            "never_started": waits or batch.state in batches.NEVER_STARTED,
            "poll_seconds": 2 if is_running and not batch.is_delayed else 10,
            "is_polled": not state.is_final,
            **(self._waiting_facts(request, batch) if waits else {}),
            "troubles": troubles(batch),
            "is_running": is_running,
            "worker_alive": not state.working or batch.is_delayed or worker_is_alive(),
            "worker_seen_at": worker_seen_at(),
            "steps": self._steps(request, batch),
            "held_up_accounts": _held_up_accounts(batch) if state.held_up else [],
        }

    def _waiting_facts(self, request: HttpRequest, batch: CancellationBatch) -> dict[str, Any]:
        """Who may answer, and what it is about."""
        people = approvals.approvers(batch).values_list("username", flat=True)
        return {
            "approvers": list(people[:MOST_NAMED]),
            "more_approvers": max(0, people.count() - MOST_NAMED),
            "may_approve": approvals.may_approve(batch, person(request)),
        }

    def _steps(self, request: HttpRequest, batch: CancellationBatch) -> list[str]:
        """The buttons for this person and this state."""
        user, steps = person(request), []
        own = batch.requested_by_id == user.pk or user.is_superuser
        if own and user.has_perm("invoices.control_cancellationbatch"):
            steps += {BatchState.RUNNING: ["pause"], BatchState.PAUSED: ["resume"]}.get(
                BatchState(batch.state), []
            )
            if batch.state in (BatchState.RUNNING, BatchState.PAUSED):
                steps.append("stop")
        if approvals.may_recall(batch, user):
            steps = [*(one for one in steps if one != "stop"), "recall"]
        over = batch.state in (BatchState.FINISHED, *batches.NEVER_STARTED)
        if over and user.has_perm("invoices.cancel_invoice") and batches.retryable(batch).exists():
            steps.append("retry")
        return steps


def _chosen_options(batch: CancellationBatch) -> list[tuple[str, str, bool]]:
    """(provider, option, chosen) for the providers that the batch has to do with."""
    held = batch.options if isinstance(batch.options, dict) else {}
    involved = set(batch.attempts.order_by().values_list("account__provider", flat=True).distinct())
    return [
        (adapter.label, option.label, bool(held.get(code, {}).get(option.name)))
        for code, adapter in ADAPTERS.items()
        if code in involved and held.get(code) is not None
        for option in adapter.options
    ]


def _held_up_accounts(batch: CancellationBatch) -> list[ProviderAccount]:
    """Accounts that are paused or rest while this batch has work for them."""
    waiting = batch.attempts.all().working().order_by().values("account")
    accounts = ProviderAccount.objects.filter(pk__in=waiting).select_related("paused_by")
    return [one for one in accounts if one.is_paused or one.is_resting]
