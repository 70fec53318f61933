"""What waits for an approver: the queue, the page on which one is answered, and several at once."""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString

from invoices import access, approvals, cells, eligibility, frozen, tasks
from invoices.admin.batch_rows import rows_facts
from invoices.admin.readonly import ReadOnlyAdmin, RecordList, cell, person, with_facts
from invoices.batches import BatchRefused
from invoices.models import ApprovalRule, AwaitingBatch, CancellationBatch
from invoices.models.attempt import State
from invoices.preview import preview, totals
from invoices.reasons import reason
from invoices.stepping_up import fresh_second_factor

SEE_OTHER = 303
CONFLICT = 409
MOST_AT_ONCE = 50
SAMPLE = 10
MOST_SAID = 10
"""Of those that are refused, so many are said one by one."""

Step = Callable[[CancellationBatch, Any, approvals.Answer], CancellationBatch]
STEPS: Mapping[str, tuple[Step, str]] = {
    "approve": (approvals.approve, "approved"),
    "reject": (approvals.reject, "rejected"),
}


class AwaitingList(RecordList):
    """The queue with each batch's sums, by one further query."""

    def get_results(self, request: HttpRequest) -> None:
        """One page of batches."""
        super().get_results(request)
        self.result_list = list(self.result_list)
        found = totals([row.pk for row in self.result_list])
        for row in self.result_list:
            row.totals = found.get(row.pk, [])


@admin.register(AwaitingBatch)
class AwaitingAdmin(ReadOnlyAdmin[AwaitingBatch]):
    """Batches that can be approved now, those first that expire first."""

    change_list_template = "invoices/approval_list.html"
    page_template = "invoices/approval.html"
    list_display = ("name", "who", "count", "sums", "why", "asked", "left")
    list_select_related = ("requested_by",)
    ordering = ("expires_at", "id")
    actions = ("approve_selected", "reject_selected")

    def has_view_permission(self, request: HttpRequest, obj: AwaitingBatch | None = None) -> bool:
        """Those who approve, and those who may see by which rules."""
        return approvals.may_see_queue(person(request))

    def has_module_permission(self, request: HttpRequest) -> bool:
        """As for the list."""
        return self.has_view_permission(request)

    def has_approve_permission(self, request: HttpRequest) -> bool:
        """Those who answer."""
        return person(request).has_perm(approvals.APPROVE)

    def navigation_count(self, request: HttpRequest) -> int:
        """How many wait, to be shown beside the entry in the navigation."""
        return approvals.waiting_for(person(request)).order_by().count()

    # --- The queue --------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> QuerySet[AwaitingBatch]:
        """What waits and has not expired."""
        return approvals.waiting_for(person(request)).select_related("requested_by")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Our list."""
        return AwaitingList

    def changelist_view(
        self, request: HttpRequest, extra_context: Mapping[str, Any] | None = None
    ) -> HttpResponse:
        """The list, and whether there are rules at all."""
        response = super().changelist_view(request, extra_context)
        with_facts(response, lambda shown: self._facts_of_list(request))
        return response

    def _facts_of_list(self, request: HttpRequest) -> dict[str, Any]:
        rules = access.narrow(person(request), ApprovalRule.objects.filter(is_active=True))
        return {"title": "Waiting for approval", "has_rules": rules.exists()}

    @admin.display(description="Batch")
    def name(self, batch: AwaitingBatch) -> SafeString:
        """Its number."""
        return cell("name", name=str(batch))

    @admin.display(description="Asked by")
    def who(self, batch: AwaitingBatch) -> str:
        """Who must not answer it."""
        return batch.requested_by.get_username()

    @admin.display(description="Invoices")
    def count(self, batch: AwaitingBatch) -> SafeString:
        """How many would be cancelled."""
        return cell("number", number=sum(one.count for one in getattr(batch, "totals", [])))

    @admin.display(description="Amount")
    def sums(self, batch: AwaitingBatch) -> SafeString:
        """By currency."""
        return cell("sums", totals=getattr(batch, "totals", []))

    @admin.display(description="Reason")
    def why(self, batch: AwaitingBatch) -> str:
        """The coded reason."""
        return batch.get_reason_display()

    @admin.display(description="Asked")
    def asked(self, batch: AwaitingBatch) -> SafeString:
        """Since when it waits."""
        return cells.moment(batch.confirmed_at)

    @admin.display(description="Expires")
    def left(self, batch: AwaitingBatch) -> SafeString:
        """How long it can still be approved."""
        return cell("expires", moment=batch.expires_at)

    # --- Several at once ----------------------------------------------------------------------

    @admin.action(description="Approve selected batches…", permissions=["approve"])
    def approve_selected(
        self, request: HttpRequest, queryset: QuerySet[AwaitingBatch]
    ) -> HttpResponse | None:
        """Show what would be approved; each is still checked on its own."""
        return self._confirm_several(request, queryset, "approve")

    @admin.action(description="Reject selected batches…", permissions=["approve"])
    def reject_selected(
        self, request: HttpRequest, queryset: QuerySet[AwaitingBatch]
    ) -> HttpResponse | None:
        """Show what would be rejected, and ask for the note."""
        return self._confirm_several(request, queryset, "reject")

    def _confirm_several(
        self, request: HttpRequest, queryset: QuerySet[AwaitingBatch], do: str
    ) -> HttpResponse | None:
        rows = list(queryset[: MOST_AT_ONCE + 1])
        if len(rows) > MOST_AT_ONCE:
            text = f"At most {MOST_AT_ONCE} batches can be answered at once. Nothing was sent."
            self.message_user(request, text, messages.ERROR)
            return None
        return self._several_page(request, rows, do)

    def _several_page(
        self,
        request: HttpRequest,
        rows: list[AwaitingBatch],
        do: str,
        problem: str = "",
    ) -> HttpResponse:
        found = totals([row.pk for row in rows])
        for row in rows:
            row.totals = found.get(row.pk, [])  # type: ignore[attr-defined]
            row.count = sum(one.count for one in found.get(row.pk, []))  # type: ignore[attr-defined]
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "title": f"{do.capitalize()} {len(rows)} batch{'' if len(rows) == 1 else 'es'}?",
            "opts": self.opts,
            "rows": rows,
            "do": do,
            "problem": problem,
        }
        status = CONFLICT if problem else 200
        return TemplateResponse(request, "invoices/approval_several.html", context, status=status)

    @fresh_second_factor
    def several_view(self, request: HttpRequest) -> HttpResponse:
        """Answer each of the batches that were shown, by POST."""
        if not self.has_approve_permission(request) or request.method != "POST":
            raise PermissionDenied
        posted = request.POST
        do = posted.get("do", "")
        keys = [int(one) for one in posted.getlist("batch") if _is_key(one)][:MOST_AT_ONCE]
        theirs = access.narrow(person(request), AwaitingBatch.objects.filter(pk__in=keys))
        rows = list(theirs.order_by("expires_at", "pk"))
        if do not in STEPS or not rows:
            text = "There is no such step. Nothing was sent."
            self.message_user(request, text, messages.ERROR)
        elif do == "reject" and not posted.get("note", "").strip():
            text = "Say in the note why they are rejected. Nothing was sent."
            return self._several_page(request, rows, do, text)
        else:
            self._answer_each(request, rows, do)
        return self._see_other(self.url("changelist"))

    def _answer_each(self, request: HttpRequest, rows: list[AwaitingBatch], do: str) -> None:
        refused = []
        for row in rows:
            try:
                self._answer(request, row, do, f"-{row.pk}")
            except BatchRefused as refusal:
                refused.append(_naming(row, str(refusal)))
        done = len(rows) - len(refused)
        text = f"{done} {STEPS[do][1]}, {len(refused)} refused."
        self.message_user(request, text, messages.WARNING if refused else messages.SUCCESS)
        for why in refused[:MOST_SAID]:
            self.message_user(request, why, messages.ERROR)

    # --- One of them --------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        """Beside the admin's own: where answers are posted to."""
        wrap, name = self.admin_site.admin_view, "invoices_awaitingbatch"
        return [
            path("several/", wrap(self.several_view), name=f"{name}_several"),
            path("<int:pk>/decide/", wrap(self.decide_view), name=f"{name}_decide"),
            *super().get_urls(),
        ]

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> AwaitingBatch | None:
        """Also one that was answered by now, if it ever waited."""
        if not _is_key(object_id):
            return None
        rows = AwaitingBatch.objects.filter(pk=object_id, needs_approval=True)
        people = ("requested_by", "approved_by", "ended_by")
        return access.narrow(person(request), rows.select_related(*people)).first()

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The page of one that waits; of one that does no more, the batch's own page."""
        row = self.get_object(request, object_id) if self.has_view_permission(request) else None
        if row is not None and row.state != row.State.AWAITING_APPROVAL:
            return HttpResponseRedirect(self._batch_url(row.pk))
        return super().change_view(request, object_id, form_url, extra_context)

    def page_facts(self, request: HttpRequest, row: AwaitingBatch) -> dict[str, Any]:
        """The preview as it was frozen, and what changed since."""
        return self._facts(request, row, QueryDict())

    @fresh_second_factor
    def decide_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Approve or reject, by POST."""
        if not self.has_approve_permission(request) or request.method != "POST":
            raise PermissionDenied
        row = self.get_object(request, str(pk))
        if row is None:
            raise Http404(f"Batch {pk} never waited for approval.")
        do = request.POST.get("do", "")
        try:
            if do not in STEPS:
                raise BatchRefused("There is no such step. Nothing was sent.")
            answered = self._answer(request, row, do)
        except BatchRefused as refused:
            return self._refused(request, row, str(refused))
        text = f"{answered} is {STEPS[do][1]}."
        if answered.is_delayed:
            text += " Nothing is sent before its delay is over."
        self.message_user(request, text, messages.SUCCESS)
        return self._see_other(self._batch_url(pk))

    def _answer(
        self, request: HttpRequest, row: AwaitingBatch, do: str, suffix: str = ""
    ) -> CancellationBatch:
        """Put one answer into effect. Raises `BatchRefused`."""
        posted = request.POST
        try:
            key = UUID(posted.get(f"key{suffix}", ""))
        except ValueError:
            text = f"This is not {str(row).lower()} as it was shown. Nothing was sent."
            raise BatchRefused(text) from None
        said = approvals.Answer(key, posted.get(f"digest{suffix}", ""), posted.get("note", ""))
        batch = STEPS[do][0](row, person(request), said)
        if do == "approve" and not batch.is_delayed:
            for account_id in batch.attempts.order_by().values_list("account").distinct():
                tasks.wake(account_id[0])
        return batch

    def _refused(self, request: HttpRequest, row: AwaitingBatch, why: str) -> HttpResponse:
        """The page as it is now, with what was typed and why it was not taken."""
        row.refresh_from_db()
        if row.state != row.State.AWAITING_APPROVAL:
            self.message_user(request, why, messages.ERROR)
            return self._see_other(self._batch_url(row.pk))
        facts = {**self._facts(request, row, request.POST), "problem": why}
        return self.show(request, self.page_template, row, facts, CONFLICT)

    def _facts(self, request: HttpRequest, row: AwaitingBatch, typed: QueryDict) -> dict[str, Any]:
        user = person(request)
        return {
            **rows_facts(request, row, SAMPLE),
            "next": 0,
            "all_rows_url": self._batch_url(row.pk, "rows"),
            "title": f"Approve {str(row).lower()}?",
            "preview": preview(row, row.options, user),
            "changed": [
                (_why(code), count) for code, count in sorted(frozen.would_drop(row).items())
            ],
            "may_approve": approvals.may_approve(row, user) and not row.is_overdue,
            "is_own": row.requested_by_id == user.pk,
            "typed_note": typed.get("note", ""),
        }

    def _batch_url(self, pk: int, page: str = "change") -> str:
        name = f"admin:invoices_cancellationbatch_{page}"
        return reverse(name, args=[pk], current_app=self.admin_site.name)

    @staticmethod
    def _see_other(url: str) -> HttpResponse:
        return HttpResponseRedirect(url, status=SEE_OTHER)


def _why(code: str) -> str:
    rule = eligibility.RULES.get(code)
    return rule.sentence if rule else reason(State.INELIGIBLE, code)


def _naming(row: AwaitingBatch, refusal: str) -> str:
    """Of several batches, also which one it is about, unless it says so itself."""
    return refusal if str(row).lower() in refusal.lower() else f"{row}: {refusal}"


def _is_key(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19
