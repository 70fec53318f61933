"""Provider accounts: the form, test of the connection, pause, resume, import."""

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import F, Max, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString

from invoices import access, accounts, cells, sync, tasks
from invoices.admin.filters import ChoiceFilter, Choices
from invoices.admin.readonly import cell, person
from invoices.models import SyncRun
from invoices.stepping_up import way_to_a_code
from providers.admin import AccountForm, ProviderAccountAdmin
from providers.credentials import UnreadableCredentials
from providers.models import ProviderAccount, provider_choices

PAGES = "admin/providers/provideraccount"


class ProviderFilter(ChoiceFilter):
    """By provider."""

    title = "provider"
    parameter_name = "provider"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        """All providers that we speak to."""
        return provider_choices()


class StateFilter(ChoiceFilter):
    """By whether work goes on."""

    title = "state"
    parameter_name = "state"
    options: ClassVar[Choices] = [
        ("active", "Active"),
        ("resting", "Resting"),
        ("paused", "Paused"),
    ]

    def chosen(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """Resting ends by itself, at a time; a pause does not."""
        resting = Q(paused_at=None, resting_until__gt=Now())
        if value == "paused":
            return rows.exclude(paused_at=None)
        if value == "resting":
            return rows.filter(resting)
        return rows.filter(Q(resting_until=None) | Q(resting_until__lte=Now()), paused_at=None)


@admin.register(ProviderAccount)
class AccountAdmin(ProviderAccountAdmin):
    """What administrators enter and operators start imports from."""

    list_display = (
        "name",
        "provider_label",
        "environment",
        "state",
        "rate",
        "last_error_note",
        "last_import",
    )
    list_filter = (ProviderFilter, StateFilter)
    filter_parameters = ("provider", "state")
    actions = ("import_invoices",)
    actions_on_top = False
    actions_on_bottom = True
    change_form_template = f"{PAGES}/change_form.html"

    # --- the list -------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> QuerySet[ProviderAccount]:
        """Those of this person, with the end of each one's last complete import."""
        ended = (
            SyncRun.objects.filter(
                account=OuterRef("pk"), state=SyncRun.State.FINISHED, external_ids__isnull=True
            )
            .order_by()
            .values("account")
            .annotate(last=Max("finished_at"))
            .values("last")
        )
        rows = access.narrow(person(request), super().get_queryset(request))
        return rows.select_related("paused_by").annotate(imported_at=Subquery(ended))

    @admin.display(description="State")
    def state(self, account: ProviderAccount) -> SafeString:
        """Paused, resting or active; why, and until when."""
        return cell("account_state", account=account)

    @admin.display(description="Rate", ordering="rate_per_second")
    def rate(self, account: ProviderAccount) -> str:
        """Requests per second."""
        return f"{account.rate_per_second:,.6g}/s"

    @admin.display(description="Last error", ordering=F("last_error_at").desc(nulls_last=True))
    def last_error_note(self, account: ProviderAccount) -> SafeString:
        """What the provider last complained of, and when."""
        return cell("account_error", account=account)

    @admin.display(description="Last import", ordering="imported_at")
    def last_import(self, account: ProviderAccount) -> SafeString | None:
        """When all invoices were last read."""
        moment = getattr(account, "imported_at", None)
        return cells.moment(moment) if moment else None

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list; a POST by somebody for whom there is no action is refused."""
        if request.method == "POST" and not self.get_actions(request):
            raise PermissionDenied
        return super().changelist_view(request, extra_context)

    # --- permissions ----------------------------------------------------------------------

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody who is limited: a new account would not be among theirs."""
        return super().has_add_permission(request) and not access.is_limited(person(request))

    def has_import_permission(self, request: HttpRequest) -> bool:
        """Who may start an import."""
        return person(request).has_perm("invoices.add_syncrun")

    def has_pause_permission(self, request: HttpRequest) -> bool:
        """Who may pause and resume."""
        return person(request).has_perm("providers.pause_provideraccount")

    def has_check_permission(self, request: HttpRequest) -> bool:
        """Who may test a connection."""
        return person(request).has_perm("providers.check_provideraccount")

    # --- what was entered -----------------------------------------------------------------

    def store(
        self, request: HttpRequest, account: ProviderAccount, form: AccountForm, change: bool
    ) -> None:
        """Keep it, and record the names of what was changed."""
        if change:
            accounts.change(account, person(request), form.changed_columns, form.entered)
        else:
            accounts.add(account, person(request), form.entered)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The form, under a card with the account's state and what can be done."""
        found = self.get_object(request, object_id)
        facts = self._card(request, found) if found is not None else {}
        return super().change_view(request, object_id, form_url, {**facts, **(extra_context or {})})

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """A code first, for whoever could enter credentials."""
        allowed = self.has_add_permission if object_id is None else self.has_change_permission
        first = way_to_a_code(request) if allowed(request) else None
        return first or super().changeform_view(request, object_id, form_url, extra_context)

    def _card(self, request: HttpRequest, account: ProviderAccount) -> dict[str, Any]:
        return {
            "account": account,
            "unreadable": not _is_readable(account),
            "may_import": self.has_import_permission(request),
            "may_pause": self.has_pause_permission(request),
            "may_check": self.has_check_permission(request),
            "last_run": SyncRun.objects.filter(account=account).first(),
            "may_view_runs": person(request).has_perm("invoices.view_syncrun"),
        }

    # --- what can be done -------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        """Each in front of the form's own address."""
        views = {
            "check": self.check_page,
            "pause": self.pause_page,
            "resume": self.resume_page,
            "import": self.import_page,
        }
        ours = [
            path(
                f"<int:pk>/{name}/",
                self.admin_site.admin_view(view),
                name=f"providers_provideraccount_{name}",
            )
            for name, view in views.items()
        ]
        return [*ours, *super().get_urls()]

    def check_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Test the connection and say how it went."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        account = self._account(request, pk, allowed=self.has_check_permission(request))
        result = accounts.check(account, person(request))
        tell = messages.success if result.good else messages.error
        tell(request, f"Connection of {account}: {result.sentence}")
        return self._back(account)

    def pause_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask for the reason, then pause."""
        account = self._account(request, pk, allowed=self.has_pause_permission(request))
        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "POST"])
        problem = ""
        if request.method == "POST":
            try:
                if accounts.pause(account, person(request), request.POST.get("reason", "")):
                    messages.success(request, f"{account} is paused. Nothing more is sent for it.")
                else:
                    messages.info(request, f"{account} is paused already.")
                return self._back(account)
            except accounts.AccountRefused as refusal:
                problem = str(refusal)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Pause {account}",
            "opts": self.opts,
            "original": account,
            "problem": problem,
        }
        status = 400 if problem else 200
        return TemplateResponse(request, f"{PAGES}/pause.html", context, status=status)

    def resume_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Let work go on."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        account = self._account(request, pk, allowed=self.has_pause_permission(request))
        if accounts.resume(account, person(request)):
            tasks.wake(account.pk)
            messages.success(request, f"{account} is resumed. Work that was waiting goes on.")
        else:
            messages.info(request, f"{account} was not paused.")
        return self._back(account)

    def import_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Start an import and show its progress."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        account = self._account(request, pk, allowed=self.has_import_permission(request))
        run = self._import(request, account)
        if run is None or not person(request).has_perm("invoices.view_syncrun"):
            return self._back(account)
        return HttpResponseRedirect(self._url("invoices_syncrun_change", run.pk))

    @admin.action(description="Import invoices", permissions=["import"])
    def import_invoices(
        self, request: HttpRequest, queryset: QuerySet[ProviderAccount]
    ) -> HttpResponse | None:
        """Start an import for each of the selected accounts."""
        runs = [self._import(request, account) for account in queryset]
        if any(runs) and person(request).has_perm("invoices.view_syncrun"):
            return HttpResponseRedirect(self._url("invoices_syncrun_changelist"))
        return None

    def _import(self, request: HttpRequest, account: ProviderAccount) -> SyncRun | None:
        """The new run, or the one that is under way; None when it was refused, which is told."""
        running = sync.under_way(account)
        if running is not None:
            messages.info(request, f"An import of {account} is under way already.")
            return running
        try:
            run = sync.request(account, person(request))
        except sync.SyncRefused as refusal:
            messages.error(request, str(refusal))
            return None
        tasks.start_sync(run.pk)
        messages.success(request, f"The import of {account} was requested.")
        return run

    def _account(self, request: HttpRequest, pk: int, *, allowed: bool) -> ProviderAccount:
        """Raises `PermissionDenied` before it says whether there is such an account."""
        if not (allowed and self.has_view_permission(request)):
            raise PermissionDenied
        account = self.get_object(request, str(pk))
        if account is None:
            raise Http404
        return account

    def _back(self, account: ProviderAccount) -> HttpResponseRedirect:
        return HttpResponseRedirect(self._url("providers_provideraccount_change", account.pk))

    def _url(self, name: str, *args: object) -> str:
        return reverse(f"admin:{name}", args=args, current_app=self.admin_site.name)


def _is_readable(account: ProviderAccount) -> bool:
    try:
        return account.credentials is not None
    except UnreadableCredentials:
        return False
