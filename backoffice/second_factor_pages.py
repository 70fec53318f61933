"""The pages about the second factor: set up, give a code, recovery codes, remove."""

import time
from collections.abc import Callable
from typing import Any, cast

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseNotAllowed
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.debug import sensitive_post_parameters

from backoffice import people, second_factor
from backoffice.sessions import owed, restamp
from invoices.stepping_up import (
    GIVEN_AT,
    device_of,
    fresh_second_factor,
    held_up_at,
    held_up_fields,
    is_on,
    is_required,
)

PAGES = "admin/second_factor"
WRONG = 400
TOO_MANY = 429

Page = Callable[..., HttpResponse]


class SecondFactorPages:
    """Hung into the admin's addresses by the site."""

    def __init__(self, site: AdminSite) -> None:
        self.site = site

    @property
    def urls(self) -> list[URLPattern]:
        """All below second-factor/."""
        pages: tuple[tuple[str, str, Page], ...] = (
            ("", "second_factor", self.own_page),
            ("code/", "second_factor_code", self.code_page),
            ("recovery-codes/", "second_factor_codes", self.codes_page),
            ("remove/", "second_factor_remove", self.remove_page),
            ("<int:pk>/remove/", "second_factor_remove_of", self.remove_of_page),
        )
        return [
            path(f"second-factor/{route}", self.site.admin_view(_if_on(page)), name=name)
            for route, name, page in pages
        ]

    # --- Giving a code ----------------------------------------------------------------------

    @method_decorator(sensitive_post_parameters())
    def code_page(self, request: HttpRequest) -> HttpResponse:
        """Ask for a code: after the password, and before steps that matter."""
        user = _person(request)
        if device_of(user.pk) is None:
            return HttpResponseRedirect(self._next(request))
        if request.method != "POST" or _only_brings_a_form(request):
            return self._code_form(request)
        answer = second_factor.check(user, request.POST.get("code", ""))
        if not answer.right:
            people.code_refused(user)
            return self._code_form(request, answer)
        return self._let_on(request, user, answer)

    def _code_form(
        self, request: HttpRequest, answer: second_factor.Answer | None = None
    ) -> HttpResponse:
        facts = {
            "title": "Enter a code",
            "wrong": answer is not None and answer.wait_until is None,
            "wait_until": answer.wait_until if answer else None,
            "next": self._next(request),
            "held_up": held_up_fields(request),
            "is_log_in": bool(owed(request)),
        }
        status = 200 if answer is None else TOO_MANY if answer.wait_until else WRONG
        return self._show(request, "code", facts, status)

    def _let_on(
        self, request: HttpRequest, user: User, answer: second_factor.Answer
    ) -> HttpResponse:
        is_log_in = bool(owed(request))
        _given(request)
        if is_log_in:
            people.signed_in(user)
        if answer.codes_left is not None:
            text = f"That was a recovery code. {answer.codes_left} are left."
            messages.warning(request, text)
        if held_up_fields(request) and not is_log_in:
            return HttpResponseRedirect(held_up_at(request), preserve_request=True)
        return HttpResponseRedirect(self._next(request))

    # --- Setting up ---------------------------------------------------------------------------

    @method_decorator(sensitive_post_parameters())
    def own_page(self, request: HttpRequest) -> HttpResponse:
        """How the own second factor is; to set it up while there is none."""
        user = _person(request)
        device = device_of(user.pk)
        if device is None:
            return self._set_up(request, user)
        facts = {
            "title": "Second factor",
            "device": device,
            "codes_left": second_factor.recovery_codes_left(user),
            "is_required": is_required(),
        }
        return self._show(request, "status", facts)

    def _set_up(self, request: HttpRequest, user: User) -> HttpResponse:
        posted = request.method == "POST"
        key = second_factor.offered_key(user, request.POST.get("offer", ""))
        codes = second_factor.enable(user, key, request.POST.get("code", "")) if key else []
        if not codes:
            facts = {
                "title": "Set up a second factor",
                "offer": second_factor.offer(user, request.POST.get("offer", "")),
                "wrong": posted and bool(key),
                "too_late": posted and not key,
                "is_required": is_required(),
            }
            return self._show(request, "set_up", facts, WRONG if posted else 200)
        _given(request)
        return self._show_codes(request, codes, is_new=True)

    @fresh_second_factor
    def codes_page(self, request: HttpRequest) -> HttpResponse:
        """New recovery codes, by POST."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        user = _person(request)
        if device_of(user.pk) is None:
            return HttpResponseRedirect(reverse("admin:second_factor"))
        return self._show_codes(request, second_factor.renew_recovery_codes(user), is_new=False)

    def _show_codes(self, request: HttpRequest, codes: list[str], *, is_new: bool) -> HttpResponse:
        facts = {"title": "Recovery codes", "codes": codes, "is_new": is_new}
        return self._show(request, "codes", facts)

    # --- Removing -----------------------------------------------------------------------------

    def remove_page(self, request: HttpRequest) -> HttpResponse:
        """The own one."""
        return self.remove_of_page(request, _person(request).pk)

    @fresh_second_factor
    def remove_of_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Anybody's, for administrators: of somebody who lost theirs."""
        user = _person(request)
        shown = User.objects.filter(pk=pk).first()
        if shown is None or not second_factor.may_remove(user, shown):
            raise PermissionDenied
        own = shown.pk == user.pk
        back = self._page_of(shown, own)
        if request.method != "POST":
            facts = {
                "title": "Remove the second factor",
                "shown": shown,
                "own": own,
                "back": back,
                "has_one": device_of(shown.pk) is not None,
                "is_required": is_required(),
            }
            return self._show(request, "remove", facts)
        if second_factor.remove(user, shown):
            whose = "Your second factor" if own else f"The second factor of {shown}"
            messages.success(request, f"{whose} is removed.")
        if own:
            _forgotten(request)
        return HttpResponseRedirect(back)

    @staticmethod
    def _page_of(shown: User, own: bool) -> str:
        if own:
            return reverse("admin:second_factor")
        return reverse("admin:auth_user_change", args=[shown.pk])

    # --- What they share ------------------------------------------------------------------------

    def _next(self, request: HttpRequest) -> str:
        """Where to go on; never to another site."""
        given = request.POST.get("next") or request.GET.get("next") or ""
        safe = url_has_allowed_host_and_scheme(given, {request.get_host()}, request.is_secure())
        return given if safe else reverse("admin:index")

    def _show(
        self, request: HttpRequest, page: str, facts: dict[str, Any], status: int = 200
    ) -> HttpResponse:
        """In the admin's frame; in that of the log-in page for whoever is not through yet."""
        request.current_app = self.site.name
        context = {**self.site.each_context(request), **facts, "alone": bool(owed(request))}
        if context["alone"]:
            context |= {"has_permission": False, "navigation": []}
        return TemplateResponse(request, f"{PAGES}/{page}.html", context, status=status)


def _if_on(page: Page) -> Page:
    def guarded(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        if not is_on():
            raise Http404("There is no second factor here.")
        return page(request, *args, **kwargs)

    return guarded


def _only_brings_a_form(request: HttpRequest) -> bool:
    """Whether this is the form that was held up, and nobody was asked for a code yet."""
    return "code" not in request.POST and bool(held_up_at(request))


def _given(request: HttpRequest) -> None:
    """A code was right: from here on under another session key."""
    request.session.cycle_key()
    request.session[GIVEN_AT] = time.time()
    restamp(request)


def _forgotten(request: HttpRequest) -> None:
    """The own device is gone: this session goes on without."""
    request.session.cycle_key()
    request.session.pop(GIVEN_AT, None)
    restamp(request)


def _person(request: HttpRequest) -> User:
    """Who asks; the admin lets nobody in who is not logged in."""
    return cast(User, request.user)
