"""The AdminSite: navigation, the overview page, and what must never be in the admin."""

import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from django.apps import apps
from django.conf import settings
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, reverse
from django.utils.decorators import method_decorator
from django.utils.module_loading import import_string
from django.views.decorators.cache import never_cache

from backoffice import people
from backoffice.lockout import was_turned_away
from backoffice.second_factor_pages import SecondFactorPages
from backoffice.sessions import owed, restamp
from invoices import stepping_up

HIDDEN_APPS = frozenset({"axes", "django_q", "otp_static", "otp_totp"})
"""Whoever may edit a queue's rows may run code: they hold pickles and names of functions. Whoever
may edit devices and counts of failed attempts may come in as somebody else."""

OVERVIEW = "invoices.overview.overview"
"""Callable: user -> the facts that templates/admin/index.html lists in its first lines."""


@dataclass(frozen=True)
class Entry:
    """A page in the navigation; `model` is `app_label.ModelName`, `None` for the overview."""

    label: str
    icon: str
    model: str | None = None


@dataclass(frozen=True)
class Link:
    """An entry as this visitor sees it; `count` says how much waits there."""

    label: str
    icon: str
    url: str
    current: bool
    count: int = 0


@dataclass(frozen=True)
class Section:
    """A headed group of links."""

    label: str
    links: tuple[Link, ...]


NAVIGATION: tuple[tuple[str, tuple[Entry, ...]], ...] = (
    (
        "Work",
        (
            Entry("Overview", "overview"),
            Entry("Invoices", "invoices", "invoices.Invoice"),
            Entry("Cancellation batches", "batches", "invoices.CancellationBatch"),
            Entry("Waiting for approval", "approval", "invoices.AwaitingBatch"),
            Entry("Needs review", "review", "invoices.CancellationAttempt"),
        ),
    ),
    (
        "Audit",
        (
            Entry("Provider calls", "calls", "invoices.ProviderRequest"),
            Entry("History", "history", "invoices.HistoryEvent"),
            Entry("Evidence", "evidence", "invoices.EvidenceExport"),
        ),
    ),
    (
        "Set-up",
        (
            Entry("Provider accounts", "accounts", "providers.ProviderAccount"),
            Entry("Approval rules", "rules", "invoices.ApprovalRule"),
            Entry("Imports", "imports", "invoices.SyncRun"),
            Entry("Users", "users", "auth.User"),
        ),
    ),
)


class BackofficeSite(AdminSite):
    """Django's admin with our navigation and front page, without bulk deletion and queue tables."""

    site_title = "Annul"
    site_header = "Annul"
    index_title = "Overview"
    site_url = None
    # The stock one brings a style sheet and a script that ours replaces.
    enable_nav_sidebar = False
    empty_value_display = "–"

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self.disable_action("delete_selected")

    def register(
        self,
        model_or_iterable: type[Model] | Iterable[type[Model]],
        admin_class: type[ModelAdmin[Any]] | None = None,
        **options: Any,
    ) -> None:
        """As in Django, but models of `HIDDEN_APPS` are passed over whoever registers them."""
        super().register(_welcome(model_or_iterable), admin_class, **options)

    def unregister(self, model_or_iterable: type[Model] | Iterable[type[Model]]) -> None:
        """As in Django; models of `HIDDEN_APPS` were never here, so they need not leave."""
        super().unregister(_welcome(model_or_iterable))

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """What every page needs besides Django's own: navigation and whether this is a demo."""
        return {
            **super().each_context(request),
            "navigation": self.navigation(request),
            "environment": "Demo" if getattr(settings, "DEMO", False) else "",
            "has_second_factors": stepping_up.is_on(),
        }

    def get_urls(self) -> list[URLResolver | URLPattern]:
        """Django's, and the pages of the second factor."""
        return [*SecondFactorPages(self).urls, *super().get_urls()]

    def navigation(self, request: HttpRequest) -> list[Section]:
        """The pages that this visitor may open, section by section."""
        if not self.has_permission(request):
            return []
        sections = (
            Section(label, tuple(link for e in entries if (link := self._link(e, request))))
            for label, entries in NAVIGATION
        )
        return [section for section in sections if section.links]

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """The front page."""
        overview = _overview()
        facts = overview(request.user) if overview else None
        return super().index(request, {"overview": facts, **(extra_context or {})})

    @method_decorator(never_cache)
    @login_not_required
    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """As in Django; each try is put on record, success only when no code is owed."""
        key = request.session.session_key
        response = super().login(request, extra_context)
        came_in = request.method == "POST" and response.status_code == 302
        if came_in and request.session.session_key == key:
            # Django keeps the key of somebody who was logged in already.
            request.session.cycle_key()
        if came_in:
            restamp(request)
        half_way = (came_in and owed(request)) or was_turned_away(request)
        if request.method == "POST" and not half_way:
            people.tried_to_sign_in(request, response)
        return response

    def logout(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """As in Django, and put on record."""
        person = request.user if request.user.is_authenticated else None
        response = super().logout(request, extra_context)
        if person is not None and not request.user.is_authenticated:
            people.signed_out(person)
        return response

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """As in Django, and put on record in the same transaction."""
        if request.method != "POST":
            return super().password_change(request, extra_context)
        with transaction.atomic():
            response = super().password_change(request, extra_context)
            if response.status_code == 302:
                people.own_password_changed(cast(User, request.user))
        return response

    def _link(self, entry: Entry, request: HttpRequest) -> Link | None:
        if entry.model is None:
            url = reverse("admin:index", current_app=self.name)
            return Link(entry.label, entry.icon, url, request.path == url)
        model_admin = self._admin_of(entry.model)
        if model_admin is None or not model_admin.has_view_permission(request):
            return None
        options = model_admin.model._meta
        url = reverse(
            f"admin:{options.app_label}_{options.model_name}_changelist", current_app=self.name
        )
        count = getattr(model_admin, "navigation_count", _nothing_waits)(request)
        return Link(entry.label, entry.icon, url, request.path.startswith(url), count)

    def _admin_of(self, label: str) -> ModelAdmin[Any] | None:
        registered = (
            admin for model, admin in self._registry.items() if model._meta.label == label
        )
        return next(registered, None)


def _nothing_waits(request: HttpRequest) -> int:
    return 0


def _welcome(model_or_iterable: type[Model] | Iterable[type[Model]]) -> list[type[Model]]:
    models = [model_or_iterable] if isinstance(model_or_iterable, type) else list(model_or_iterable)
    return [model for model in models if model._meta.app_label not in HIDDEN_APPS]


def _overview() -> Callable[[Any], dict[str, Any]] | None:
    module, _, _ = OVERVIEW.rpartition(".")
    known = apps.is_installed("invoices") and importlib.util.find_spec(module)
    return import_string(OVERVIEW) if known else None
