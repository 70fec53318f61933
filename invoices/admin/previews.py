"""The page between choosing invoices and cancelling them, and what its form does."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse

from invoices import batches, tasks
from invoices.admin.readonly import ReadOnlyAdmin, person
from invoices.models import CancellationBatch
from invoices.preview import option_field, preview
from providers.adapters import ADAPTERS

BatchState = CancellationBatch.State
SEE_OTHER = 303


class PreviewPages(ReadOnlyAdmin[CancellationBatch]):
    """Preview, confirmation and discarding of drafts."""

    def found(self, request: HttpRequest, pk: int) -> CancellationBatch:
        """The batch, for those who may see batches; 404 when there is none."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        batch = self.get_object(request, str(pk))
        if batch is None:
            raise Http404(f"There is no batch {pk}.")
        return batch

    def may_confirm(self, request: HttpRequest, batch: CancellationBatch) -> bool:
        """Only the person who prepared a batch, and only while they may cancel at all."""
        user = person(request)
        return batch.requested_by_id == user.pk and user.has_perm("invoices.cancel_invoice")

    def preview_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """GET shows what would happen, POST makes it happen."""
        batch = self._own(request, pk)
        if request.method == "POST":
            return self._confirm(request, batch)
        if batch.state != BatchState.DRAFT:
            return self._already(request, batch)
        return self._page(request, batch, QueryDict())

    def discard_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Give a draft up, by POST."""
        batch = self._own(request, pk)
        if request.method != "POST":
            raise PermissionDenied
        if batch.state != BatchState.DRAFT:
            return self._already(request, batch)
        batches.discard(batch, person(request))
        text = "Nothing was cancelled and nothing was sent."
        self.message_user(request, text, messages.INFO)
        return self._see_other(self._invoices_url())

    def _own(self, request: HttpRequest, pk: int) -> CancellationBatch:
        batch = self.found(request, pk)
        if not self.may_confirm(request, batch):
            raise PermissionDenied
        return batch

    def _confirm(self, request: HttpRequest, batch: CancellationBatch) -> HttpResponse:
        was_draft = batch.state == BatchState.DRAFT
        try:
            confirmation = _confirmation(request.POST)
            started = batches.confirm(batch, person(request), confirmation)
        except batches.SelectionChanged as changed:
            self.message_user(request, str(changed), messages.WARNING)
            return self._see_other(self.url("preview", changed.fresh.pk))
        except batches.BatchRefused as refused:
            return self._refused(request, batch, str(refused))
        if not was_draft:
            return self._already(request, started)
        if started.state == BatchState.AWAITING_APPROVAL:
            text = f"{started} waits for another person’s approval. Nothing has been sent."
        else:
            self.wake(started)
            text = f"{started} has started. This page follows it; you may also leave."
        self.message_user(request, text, messages.SUCCESS)
        return self._see_other(self.url("change", started.pk))

    def wake(self, batch: CancellationBatch) -> None:
        """Ask workers to look at the batch's accounts."""
        for account_id in batch.attempts.order_by().values_list("account", flat=True).distinct():
            tasks.wake(account_id)

    def _refused(self, request: HttpRequest, batch: CancellationBatch, why: str) -> HttpResponse:
        batch.refresh_from_db()
        if batch.state != BatchState.DRAFT:
            self.message_user(request, why, messages.ERROR)
            return self._see_other(self.url("change", batch.pk))
        return self._page(request, batch, request.POST, problem=why)

    def _already(self, request: HttpRequest, batch: CancellationBatch) -> HttpResponse:
        batch.refresh_from_db()
        if batch.state == BatchState.AWAITING_APPROVAL:
            text = f"Approval for {str(batch).lower()} was already asked for. Nothing was sent."
        elif batch.state in batches.CONFIRMED:
            text = f"{batch} was already started. Nothing was started a second time."
        else:
            state = batch.get_state_display().lower()
            text = f"{batch} is {state}. Nothing was sent for it."
        self.message_user(request, text, messages.INFO)
        return self._see_other(self.url("change", batch.pk))

    def _page(
        self,
        request: HttpRequest,
        batch: CancellationBatch,
        typed: QueryDict,
        problem: str = "",
    ) -> HttpResponse:
        # What was typed for an earlier preview of the same selection is kept with the draft.
        options = _options(typed) if typed or not batch.options else batch.options
        facts: dict[str, Any] = {
            "title": "Cancel invoices?",
            "preview": preview(batch, options, person(request)),
            "reasons": CancellationBatch.Reason.choices,
            "typed_reason": typed.get("reason", batch.reason),
            "typed_note": typed.get("note", batch.note),
            "problem": problem,
            "invoices_url": self._invoices_url(),
        }
        status = 409 if problem else 200
        return self.show(request, "invoices/preview.html", batch, facts, status)

    def _invoices_url(self) -> str:
        return reverse("admin:invoices_invoice_changelist", current_app=self.admin_site.name)

    @staticmethod
    def _see_other(url: str) -> HttpResponse:
        return HttpResponseRedirect(url, status=SEE_OTHER)


def _confirmation(posted: QueryDict) -> batches.Confirmation:
    """What the form says. Raises `BatchRefused` for a key that is none."""
    try:
        key = UUID(posted.get("key", ""))
    except ValueError:
        text = "This is not the preview that was shown. Nothing was sent."
        raise batches.BatchRefused(text) from None
    return batches.Confirmation(
        key=key,
        digest=posted.get("digest", ""),
        reason=posted.get("reason", ""),
        note=posted.get("note", ""),
        options=_options(posted),
        asks="asks" in posted,
    )


def _options(posted: QueryDict) -> dict[str, dict[str, bool]]:
    """The ticked options by provider; before anything was posted, their defaults."""
    return {
        code: {
            one.name: option_field(code, one) in posted if posted else one.default
            for one in adapter.options
        }
        for code, adapter in ADAPTERS.items()
        if adapter.options
    }
