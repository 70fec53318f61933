"""Lists that grow for ever: the newest first, older and newer pages by key, nothing counted.

A page costs the same wherever in the list it is, which holds neither for page numbers nor counts.
"""

from collections.abc import Mapping
from typing import Any, TypeVar
from uuid import UUID

from django.contrib.admin.views.main import ChangeList
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse

from invoices.admin.readonly import ReadOnlyAdmin, RecordList, with_facts

M = TypeVar("M", bound=Model)


class KeyList(RecordList):
    """One page of rows; `older_url` and `newer_url` are "" at either end."""

    older_url = ""
    newer_url = ""

    def get_results(self, request: HttpRequest) -> None:
        """One row more than is shown tells whether the list goes on."""
        after, before = request.GET.get("after", ""), request.GET.get("before", "")
        rows = self.queryset
        if after:
            found = list(with_key(rows, "pk__gt", after).order_by("pk")[: self.list_per_page + 1])
        else:
            older = with_key(rows, "pk__lt", before) if before else rows
            found = list(older.order_by("-pk")[: self.list_per_page + 1])
        goes_on = len(found) > self.list_per_page
        page = found[: self.list_per_page]
        self._show(page[::-1] if after else page)
        if page and (goes_on or not after):
            newest = self.result_list[0].pk
            self.newer_url = self._url("after", newest) if after or before else ""
        if page and (goes_on or after):
            self.older_url = self._url("before", self.result_list[-1].pk)

    def _show(self, page: list[Any]) -> None:
        self.result_list = page
        self.result_count = self.full_result_count = len(page)
        self.can_show_all = self.multi_page = self.show_admin_actions = False
        self.paginator = self.model_admin.get_paginator(None, page, self.list_per_page)  # type: ignore[arg-type]

    def _url(self, way: str, key: object) -> str:
        return self.get_query_string({way: key}, remove=["after", "before"])

    @property
    def newest_url(self) -> str:
        """The first page, "" on it."""
        asked = {"after", "before"} & set(self.params)
        return self.get_query_string(remove=["after", "before"]) if asked else ""


class KeyedAdmin(ReadOnlyAdmin[M]):
    """Its pages."""

    change_list_template = "invoices/record_list.html"
    ordering = ("-pk",)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Our list."""
        return KeyList

    def changelist_view(
        self, request: HttpRequest, extra_context: Mapping[str, Any] | None = None
    ) -> HttpResponse:
        """The list under its own name."""
        response = super().changelist_view(request, extra_context)
        with_facts(response, lambda shown: {"title": self.plural})
        return response

    @property
    def plural(self) -> str:
        """The list's title."""
        return str(self.opts.verbose_name_plural).capitalize()


def with_key(rows: QuerySet[Any], lookup: str, text: str) -> QuerySet[Any]:
    """The rows by a number that a database holds, or a UUID; none for what is neither."""
    try:
        key = int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else UUID(text)
        return rows.filter(**{lookup: key})
    except (ValueError, TypeError):
        return rows.none()
