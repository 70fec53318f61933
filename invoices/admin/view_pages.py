"""Saved views: the tabs above the list of invoices, and the pages on which they are kept."""

import hashlib
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from invoices import access, approvals, saved_views
from invoices.admin.pills import PastedFilter, narrowed
from invoices.admin.readonly import COUNTED, ReadOnlyAdmin, person
from invoices.models import Invoice, SavedView
from invoices.saved_views import SHIPPED, ViewRefused, canonical
from invoices.search import find

COUNT_LIVES = 60
"""Seconds for which a count is as good as new."""

SEE_OTHER = 303


@dataclass(frozen=True, slots=True)
class Tab:
    """A view as one visitor sees it; `count` None while it is not known.

    `address` leads to another page than the list of invoices.
    """

    name: str
    query: str
    current: bool
    count: int | None = None
    shared_by: str = ""
    address: str = ""

    @property
    def is_more(self) -> bool:
        """Whether there are more than were counted."""
        return self.count is not None and self.count > COUNTED


class ViewPages(ReadOnlyAdmin[Invoice]):
    """What the list of invoices has to do with saved views."""

    def get_urls(self) -> list[URLPattern]:
        """In front of the admin's own."""
        views = (
            ("views/save/", "save_view", self.save_view),
            ("views/counts/", "view_counts", self.counts_view),
            ("views/<int:pk>/", "view", self.edit_view),
            ("views/<int:pk>/delete/", "forget_view", self.forget_view),
        )
        own = [
            path(route, self.admin_site.admin_view(view), name=f"invoices_invoice_{name}")
            for route, name, view in views
        ]
        return [*own, *super().get_urls()]

    def view_facts(self, request: HttpRequest) -> dict[str, Any]:
        """The tabs with the counts that are known already, and what can be done with the list."""
        user = person(request)
        query = canonical(request.GET)
        is_pasted = PastedFilter.parameter_name in request.GET
        saved = list(saved_views.open_to(user))
        tabs = self._tabs(user, saved, None if is_pasted else query)
        own = [view for view in saved if view.owner_id == user.pk and view.query == query]
        is_known = any(tab.current for tab in tabs)
        return {
            "tabs": tabs,
            "tabs_query": query,
            "counts_missing": any(tab.count is None for tab in tabs if tab.query),
            "own_view": own[0] if own and not is_pasted else None,
            "may_save": bool(query) and not is_pasted and not is_known,
            "roles": saved_views.may_share_with(user) if query and not is_known else (),
        }

    def counts_view(self, request: HttpRequest) -> HttpResponse:
        """The tabs once more, each with its count."""
        if not self.has_view_permission(request) or request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        user = person(request)
        saved = list(saved_views.open_to(user))
        for query in (*(one.query for one in SHIPPED), *(view.query for view in saved)):
            self._count(request, query)
        context = {"tabs": self._tabs(user, saved, canonical(request.GET))}
        response = TemplateResponse(request, "invoices/view_tabs.html", context)
        response["X-Poll"] = "done"
        return response

    def save_view(self, request: HttpRequest) -> HttpResponse:
        """Save the list's search, filters and order under a name, by POST."""
        if not self.has_view_permission(request) or request.method != "POST":
            raise PermissionDenied
        query = request.POST.get("query", "")[:2000]
        try:
            name, role = request.POST.get("name", ""), _role(request)
            view = saved_views.save(person(request), name, query, role)
        except ViewRefused as refused:
            self.message_user(request, f"{refused} Nothing was saved.", messages.ERROR)
        else:
            self.message_user(request, f"“{view}” is saved.", messages.SUCCESS)
            query = view.query
        return self._to_list(canonical(QueryDict(query)))

    def edit_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Another name or another role; also the way to delete it."""
        view = self._own_view(request, pk)
        problem = ""
        if request.method == "POST":
            try:
                name, role = request.POST.get("name", ""), _role(request)
                saved_views.change(view, person(request), name, role)
            except ViewRefused as refused:
                problem = str(refused)
                view.refresh_from_db()
            else:
                self.message_user(request, f"“{view}” is saved.", messages.SUCCESS)
                return self._to_list(view.query)
        frame = self.admin_site.each_context(request)
        roles = saved_views.may_share_with(person(request))
        facts = {"title": str(view), "opts": self.opts, "view": view, "roles": roles}
        typed = request.POST.get("name", view.name)
        context = {**frame, **facts, "typed": typed, "problem": problem}
        status = 409 if problem else 200
        return TemplateResponse(request, "invoices/view.html", context, status=status)

    def forget_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Forget a view, by POST."""
        if request.method != "POST":
            raise PermissionDenied
        view = self._own_view(request, pk)
        name, query = view.name, view.query
        saved_views.delete(view, person(request))
        self.message_user(request, f"The view “{name}” is deleted.", messages.SUCCESS)
        return self._to_list(query)

    def _own_view(self, request: HttpRequest, pk: int) -> SavedView:
        if not self.has_view_permission(request):
            raise PermissionDenied
        view = saved_views.open_to(person(request)).filter(pk=pk).first()
        if view is None:
            raise Http404("There is no such view.")
        if view.owner_id != person(request).pk:
            raise PermissionDenied
        return view

    def _tabs(self, user: User, saved: list[SavedView], query: str | None) -> list[Tab]:
        """The whole list, what everybody has, and what this person has; `query` is on show."""
        shown = [("All invoices", "", "")]
        shown += [(one.name, one.query, "") for one in SHIPPED]
        shown += [
            (view.name, view.query, "" if view.owner_id == user.pk else view.owner.get_username())
            for view in saved
        ]
        counts = cache.get_many([_cached(user, held) for _, held, _ in shown])
        tabs = [
            Tab(name, held, held == query, counts.get(_cached(user, held)) if held else None, by)
            for name, held, by in shown
        ]
        return [*tabs[: len(SHIPPED) + 1], *_approvals(user), *tabs[len(SHIPPED) + 1 :]]

    def _count(self, request: HttpRequest, query: str) -> None:
        """Count what a view shows to this person, unless that is known already."""

        def counted() -> int:
            asked = copy(request)
            asked.GET = QueryDict(query)
            typed = asked.GET.get("q", "")
            rows = narrowed(asked, self, self.get_queryset(asked))
            found = find(rows, typed, partly=bool(typed) and asked.GET.get("partly") == typed)
            return found.invoices.order_by()[: COUNTED + 1].count()

        cache.get_or_set(_cached(person(request), query), counted, COUNT_LIVES)

    def _to_list(self, query: str) -> HttpResponse:
        address = self.url("changelist") + (f"?{query}" if query else "")
        return HttpResponseRedirect(address, status=SEE_OTHER)


def _approvals(user: User) -> Iterator[Tab]:
    """Batches and not invoices wait for an approver: the way to their queue."""
    if user.has_perm(approvals.APPROVE):
        count = approvals.answerable_by(user).order_by().count()
        address = reverse("admin:invoices_awaitingbatch_changelist")
        yield Tab("Waiting for my approval", "", current=False, count=count, address=address)


def _cached(user: User, query: str) -> str:
    """What it counts depends on the person's accounts, too."""
    theirs = sorted(access.limit(user) or ())
    digest = hashlib.sha256(f"{theirs} {query}".encode()).hexdigest()
    return f"view-count:{user.pk}:{digest}"


def _role(request: HttpRequest) -> Group | None:
    """The role that was chosen to share with. Raises `ViewRefused` for one that is none."""
    chosen = request.POST.get("role", "")
    if not chosen:
        return None
    if chosen.isascii() and chosen.isdecimal() and len(chosen) < 10:
        role = Group.objects.filter(pk=chosen).first()
        if role is not None:
            return role
    raise ViewRefused("There is no such role.")
