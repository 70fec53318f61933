"""What is parked for a person: the queue, and the page on which two of them decide."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from invoices import access, history, reviews
from invoices.admin.filters import AccountFilter, ChoiceFilter, Choices
from invoices.admin.readonly import ReadOnlyAdmin, RecordList, cell, person, with_facts
from invoices.models import CancellationAttempt, ReviewDecision
from invoices.models.attempt import State
from invoices.reasons import DECISIONS, LEFT_TO_A_PERSON, reason

SEE_OTHER = 303
CONFLICT = 409


class WhyFilter(ChoiceFilter):
    """By what could not be told."""

    title = "why"
    parameter_name = "code"
    options: ClassVar[Choices] = [
        (code, reason(State.NEEDS_REVIEW, code)) for code in LEFT_TO_A_PERSON
    ]


class ProposalFilter(ChoiceFilter):
    """By whether somebody has proposed a decision."""

    title = "decision"
    parameter_name = "decision"
    options: ClassVar[Choices] = [("none", "None proposed"), ("proposed", "Proposed")]

    def chosen(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """There are few proposals at any time."""
        proposed = reviews.proposals().order_by().values("attempt")
        return rows.exclude(pk__in=proposed) if value == "none" else rows.filter(pk__in=proposed)


class ReviewList(RecordList):
    """The queue with the proposals for what is on the page, by one further query."""

    def get_results(self, request: HttpRequest) -> None:
        """One page of attempts."""
        super().get_results(request)
        self.result_list = list(self.result_list)
        shown = [row.pk for row in self.result_list]
        proposed = reviews.proposals().filter(attempt__in=shown).select_related("proposed_by")
        found = {one.attempt_id: one for one in proposed}
        closed = access.closed(person(request), [row.batch_id for row in self.result_list])
        for row in self.result_list:
            row.proposal, row.is_closed = found.get(row.pk), row.batch_id in closed


@admin.register(CancellationAttempt)
class ReviewAdmin(ReadOnlyAdmin[CancellationAttempt]):
    """Attempts of which no answer and no reading could tell what became of them."""

    change_list_template = "invoices/review_list.html"
    page_template = "invoices/review.html"
    list_display = ("name", "why", "where", "amount", "since", "said", "proposed")
    list_filter = (AccountFilter, WhyFilter, ProposalFilter)
    filter_parameters = ("account", "code", "decision")
    ordering = ("finished_at", "id")

    def has_view_permission(
        self, request: HttpRequest, obj: CancellationAttempt | None = None
    ) -> bool:
        """Those who decide, and those who may see what was decided."""
        return reviews.may_see_reviews(person(request))

    def has_module_permission(self, request: HttpRequest) -> bool:
        """As for the list."""
        return self.has_view_permission(request)

    def navigation_count(self, request: HttpRequest) -> int:
        """How many wait, to be shown beside the entry in the navigation."""
        return reviews.waiting_for(person(request)).order_by().count()

    # --- The queue --------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> QuerySet[CancellationAttempt]:
        """What waits, the longest first."""
        rows = reviews.waiting_for(person(request))
        return rows.select_related("invoice", "account", "batch")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Our list."""
        return ReviewList

    def changelist_view(
        self, request: HttpRequest, extra_context: Mapping[str, Any] | None = None
    ) -> HttpResponse:
        """The list under the name that it has in the navigation."""
        response = super().changelist_view(request, extra_context)
        with_facts(response, lambda shown: {"title": "Needs review"})
        return response

    @admin.display(description="Invoice")
    def name(self, attempt: CancellationAttempt) -> SafeString:
        """Its number, or the provider's id for want of one."""
        return cell("name", name=str(attempt.invoice))

    @admin.display(description="Account and batch")
    def where(self, attempt: CancellationAttempt) -> SafeString:
        """The account, and the batch in which the cancellation was asked for."""
        return cell("account_and_batch", attempt=attempt)

    @admin.display(description="Amount")
    def amount(self, attempt: CancellationAttempt) -> SafeString:
        """As it was frozen by the preview."""
        return cell("frozen_amount", attempt=attempt)

    @admin.display(description="Why")
    def why(self, attempt: CancellationAttempt) -> SafeString:
        """What could not be told."""
        return cell("why", attempt=attempt)

    @admin.display(description="Waits since")
    def since(self, attempt: CancellationAttempt) -> SafeString:
        """When it was parked, and when it is read again, which may settle it before any person."""
        return cell("waits", attempt=attempt)

    @admin.display(description="Provider last said")
    def said(self, attempt: CancellationAttempt) -> SafeString:
        """The status that was last read, and when."""
        return cell("last_said", invoice=attempt.invoice)

    @admin.display(description="Decision")
    def proposed(self, attempt: CancellationAttempt) -> SafeString:
        """What somebody has proposed."""
        return cell("proposal", proposal=getattr(attempt, "proposal", None))

    # --- One of them ------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        """Beside the admin's own: where decisions are posted to."""
        view = self.admin_site.admin_view(self.decide_view)
        name = "invoices_cancellationattempt_decide"
        return [path("<int:pk>/decide/", view, name=name), *super().get_urls()]

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> CancellationAttempt | None:
        """Also one that is settled by now, if it ever was parked: the page tells how it ended."""
        if not (object_id.isascii() and object_id.isdecimal() and len(object_id) < 19):
            return None
        rows = CancellationAttempt.objects.select_related("invoice__account", "account", "batch")
        found = access.narrow(person(request), rows.filter(pk=object_id)).first()
        return found if found is not None and _was_parked(found) else None

    def page_facts(self, request: HttpRequest, row: CancellationAttempt) -> dict[str, Any]:
        """The evidence, and what this person may do."""
        return self._facts(request, row, QueryDict())

    def decide_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Propose, confirm, decline or take back, by POST."""
        if not person(request).has_perm(reviews.PERMISSION) or request.method != "POST":
            raise PermissionDenied
        attempt = self.get_object(request, str(pk))
        if attempt is None:
            raise Http404(f"No attempt {pk} was ever parked.")
        steps: dict[str, Callable[[HttpRequest, CancellationAttempt], str]] = {
            "propose": self._propose,
            "confirm": self._confirm,
            "decline": self._decline,
        }
        try:
            said = steps.get(request.POST.get("do", ""), self._nothing)(request, attempt)
        except reviews.ReviewRefused as refused:
            return self._refused(request, attempt, str(refused))
        self.message_user(request, said, messages.SUCCESS)
        return self._see_other(self.url("changelist"))

    def _propose(self, request: HttpRequest, attempt: CancellationAttempt) -> str:
        posted = request.POST
        outcome, why = posted.get("outcome", ""), posted.get("reason", "")
        decision = reviews.propose(attempt, person(request), outcome, why)
        word = decision.get_outcome_display().lower()
        return f"{attempt.invoice}: “{word}” is proposed. A second person has to confirm it."

    def _confirm(self, request: HttpRequest, attempt: CancellationAttempt) -> str:
        decision = self._decision(request, attempt)
        reviews.confirm(decision, person(request))
        return f"{attempt.invoice} is decided: {decision.get_outcome_display().lower()}."

    def _decline(self, request: HttpRequest, attempt: CancellationAttempt) -> str:
        decision = self._decision(request, attempt)
        reviews.decline(decision, person(request))
        own = decision.proposed_by_id == person(request).pk
        what = "Your proposal is taken back" if own else "The proposal is declined"
        return f"{attempt.invoice}: {what[0].lower()}{what[1:]}. It still waits for a decision."

    def _nothing(self, request: HttpRequest, attempt: CancellationAttempt) -> str:
        raise reviews.ReviewRefused("There is no such step. Nothing was changed.")

    def _decision(self, request: HttpRequest, attempt: CancellationAttempt) -> ReviewDecision:
        """The proposal that the person saw, so that no other one is answered in its place."""
        number = request.POST.get("decision", "")
        made = attempt.review_decisions.select_related("proposed_by", "attempt")
        known = number.isascii() and number.isdecimal() and len(number) < 19
        found = made.filter(pk=number).first() if known else None
        if found is None:
            raise reviews.ReviewRefused("There is no such proposal. Nothing was changed.")
        return found

    def _refused(
        self, request: HttpRequest, attempt: CancellationAttempt, why: str
    ) -> HttpResponse:
        """The page as it is now, with what was typed and why it was not taken."""
        attempt.refresh_from_db()
        facts = {**self._facts(request, attempt, request.POST), "problem": why}
        return self.show(request, self.page_template, attempt, facts, CONFLICT)

    def _facts(
        self, request: HttpRequest, attempt: CancellationAttempt, typed: QueryDict
    ) -> dict[str, Any]:
        user = person(request)
        page = request.GET.get("p", "")
        number = int(page) if page.isdecimal() and len(page) < 6 else 1
        made = attempt.review_decisions.select_related("proposed_by", "answered_by")
        told = history.told_about(attempt)
        timeline = history.timeline(attempt.invoice, max(1, number))
        may_decide = user.has_perm(reviews.PERMISSION)
        return {
            "title": f"Review of {attempt.invoice}",
            "attempt": attempt,
            "invoice": attempt.invoice,
            "waits": attempt.state == State.NEEDS_REVIEW,
            "told": told,
            "timeline": timeline,
            "closed_batches": access.closed(user, history.batches_of(told, timeline)),
            "proposal": reviews.proposals()
            .filter(attempt=attempt)
            .select_related("proposed_by")
            .first(),
            "earlier": made.exclude(answer=ReviewDecision.Answer.OPEN),
            "choices": [(str(one), one.label, DECISIONS[one]) for one in ReviewDecision.OUTCOMES],
            "typed_outcome": typed.get("outcome", ""),
            "typed_reason": typed.get("reason", ""),
            "longest_reason": reviews.LONGEST_REASON,
            "may_decide": may_decide,
            "may_open_payloads": user.has_perms(
                ("invoices.view_payload", "invoices.view_providerrequest")
            ),
        }

    @staticmethod
    def _see_other(url: str) -> HttpResponse:
        return HttpResponseRedirect(url, status=SEE_OTHER)


def _was_parked(attempt: CancellationAttempt) -> bool:
    return (
        attempt.state == State.NEEDS_REVIEW
        or attempt.review_decisions.exists()
        or history.was_ever(attempt, State.NEEDS_REVIEW)
    )
