"""What the admin's pages of records have in common: they show and change nothing."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar, cast

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import ShowFacets
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import get_template
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

from invoices import access

M = TypeVar("M", bound=Model)

PER_PAGE = 50
COUNTED = 10_000
"""Lists are counted so far and no further: beyond, counting costs more than finding."""


class CappedPaginator(Paginator[M]):
    """Counts to `COUNTED` and then stops: `count` is one more, and `is_capped` says so."""

    @cached_property
    def count(self) -> int:
        """How many rows there are, at most `COUNTED` + 1."""
        rows = cast("QuerySet[M]", self.object_list)
        return rows.order_by()[: COUNTED + 1].count()

    @property
    def is_capped(self) -> bool:
        """Whether there are more than were counted."""
        return self.count > COUNTED


class RecordList(ChangeList):
    """A list that counts and sorts only as far as an index reaches."""

    def get_results(self, request: HttpRequest) -> None:
        """One page; by stock, a count of all rows would be needed to know whether to say it."""
        super().get_results(request)
        is_narrowed = bool(self.query or self.has_active_filters)
        is_capped = cast("CappedPaginator[Any]", self.paginator).is_capped
        self.full_result_count = None if is_narrowed and not is_capped else self.result_count

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """By one of the model's `indexed_columns` if so asked, else as always."""
        asked = super().get_ordering(request, queryset)
        first = str(asked[0]) if ORDER_VAR in self.params and asked else ""
        if first.lstrip("-") not in getattr(self.model_admin, "indexed_columns", ()):
            return list(self.model_admin.get_ordering(request)) or ["-pk"]
        return [first, "-pk" if first.startswith("-") else "pk"]


def with_facts(response: HttpResponse, facts: Callable[[ChangeList], dict[str, Any]]) -> None:
    """Add facts about the shown list to its page, unless the response is no list."""
    if isinstance(response, TemplateResponse) and response.context_data:
        shown = response.context_data.get("cl")
        if isinstance(shown, ChangeList):
            response.context_data.update(facts(shown))


class ReadOnlyAdmin(admin.ModelAdmin[M]):
    """Lists rows and shows each on a page of its own, `page_template`, filled by `page_facts`."""

    actions_on_top = False
    actions_on_bottom = True
    list_max_show_all = PER_PAGE
    list_per_page = PER_PAGE
    paginator = CappedPaginator
    show_facets = ShowFacets.NEVER
    show_full_result_count = False
    sortable_by: ClassVar[tuple[str, ...]] = ()
    view_on_site = False

    indexed_columns: tuple[str, ...] = ()
    filter_parameters: tuple[str, ...] = ()
    """The query parameters that the list knows; any other is refused, so that no field can be
    guessed at by asking whether it starts with some letter."""
    page_template = ""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds records by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        """Nobody changes them."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        """Nobody deletes them."""
        return False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Only the parameters of the list's own filters."""
        return lookup in self.filter_parameters

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Our list."""
        return RecordList

    def action_checkbox(self, obj: M) -> SafeString:
        """As in Django, but not by way of the template of a form's widget."""
        return format_html(
            '<input type="checkbox" name="{}" value="{}" class="action-select"'
            ' aria-label="Select this object for an action - {}">',
            ACTION_CHECKBOX_NAME,
            obj.pk,
            obj,
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[M]:
        """What this person may see."""
        return access.narrow(person(request), super().get_queryset(request))

    def page_facts(self, request: HttpRequest, row: M) -> dict[str, Any]:
        """What the page of one row shows, for its template."""
        raise NotImplementedError

    def changelist_view(
        self, request: HttpRequest, extra_context: Mapping[str, Any] | None = None
    ) -> HttpResponse:
        """The list; a POST by somebody for whom there is no action is refused."""
        if request.method == "POST" and not self.get_actions(request):
            raise PermissionDenied
        return super().changelist_view(request, dict(extra_context or {}))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The page of one row."""
        if not self.has_view_permission(request) or request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        row = self.get_object(request, unquote(object_id))
        if row is None:
            return self._nothing_there(request, object_id)
        return self.show(request, self.page_template, row, self.page_facts(request, row))

    def _nothing_there(self, request: HttpRequest, object_id: str) -> HttpResponse:
        text = f"There is no {self.opts.verbose_name} “{object_id[:50]}”."
        self.message_user(request, text, messages.WARNING)
        return HttpResponseRedirect(self.url("changelist"))

    def history_view(
        self,
        request: HttpRequest,
        object_id: str,
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The page itself tells the history; Django's own log knows nothing of these rows."""
        return HttpResponseRedirect(self.url("change", object_id))

    def show(
        self, request: HttpRequest, template: str, row: M, facts: dict[str, Any], status: int = 200
    ) -> TemplateResponse:
        """A page about a row in the admin's frame."""
        request.current_app = self.admin_site.name
        frame = self.admin_site.each_context(request)
        context = {**frame, "title": str(row), "opts": self.opts, "original": row, **facts}
        return TemplateResponse(request, template, context, status=status)

    def url(self, name: str, *args: object) -> str:
        """The address of one of this model's pages, e.g. `url("changelist")`."""
        page = f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}"
        return reverse(page, args=args, current_app=self.admin_site.name)


def cell(template: str, **facts: object) -> SafeString:
    """One cell of a list, written by its template under templates/invoices/cells/."""
    return cast(SafeString, get_template(f"invoices/cells/{template}.html").render(facts))


def person(request: HttpRequest) -> User:
    """Who asks; the admin lets nobody in who is not logged in."""
    return cast(User, request.user)
