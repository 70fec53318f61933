"""The second factor at the steps that matter: approving, and a provider's credentials.

    @fresh_second_factor
    def approve_view(self, request, pk): ...

Whoever has a device is asked for a code unless one was given in the last ten minutes. Nothing is
asked while SECOND_FACTOR is off, nor of whoever has no device while it is optional.
"""

import time
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django_otp.plugins.otp_totp.models import TOTPDevice

FRESH_SECONDS = 10 * 60
GIVEN_AT = "second_factor_at"
"""In the session: when the last code was given, in seconds since 1970."""

P = ParamSpec("P")
S = TypeVar("S")


def is_on() -> bool:
    """Whether there is a second factor at all."""
    return str(settings.SECOND_FACTOR) != "off"


def is_required() -> bool:
    """Whether nobody works here without one."""
    return str(settings.SECOND_FACTOR) == "required"


def device_of(user_id: object) -> TOTPDevice | None:
    """The device by which a person proves to be the same as ever."""
    found = TOTPDevice.objects.filter(user_id=user_id, confirmed=True).order_by("pk").first()
    return found if isinstance(found, TOTPDevice) else None


def is_fresh(request: HttpRequest) -> bool:
    """Whether a code was given in this session, not long ago."""
    given_at: float | None = request.session.get(GIVEN_AT)
    return given_at is not None and 0 <= time.time() - given_at < FRESH_SECONDS


def way_to_a_code(request: HttpRequest) -> HttpResponse | None:
    """Where to give a code first; None to go on."""
    if not is_on() or is_fresh(request):
        return None
    if device_of(request.user.pk) is not None:
        return redirect_to("second_factor_code", request)
    return redirect_to("second_factor", request) if is_required() else None


def redirect_to(page: str, request: HttpRequest) -> HttpResponseRedirect:
    """To one of the admin's pages, and from there back to where this person is."""
    query = urlencode({"next": return_address(request)})
    return HttpResponseRedirect(f"{reverse(f'admin:{page}')}?{query}")


def return_address(request: HttpRequest) -> str:
    """This page; of a form that was sent, the page that it stood on."""
    if request.method in ("GET", "HEAD"):
        return request.get_full_path()
    came_from = request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(came_from, {request.get_host()}, request.is_secure()):
        return reverse("admin:index")
    parts = urlsplit(came_from)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def fresh_second_factor(
    view: Callable[Concatenate[S, HttpRequest, P], HttpResponse],
) -> Callable[Concatenate[S, HttpRequest, P], HttpResponse]:
    """For a method that answers a request: a code first, unless one was given lately."""

    @wraps(view)
    def guarded(
        self: S, request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs
    ) -> HttpResponse:
        return way_to_a_code(request) or view(self, request, *args, **kwargs)

    return guarded
