"""The second factor at the steps that matter: approving, and a provider's credentials.

    @fresh_second_factor
    def approve_view(self, request, pk): ...

Whoever has a device is asked for a code unless one was given in the last ten minutes. Nothing is
asked while SECOND_FACTOR is off, nor of whoever has no device while it is optional.

A form that is held up goes along to the page that asks, and with the right code on to where it was
sent: in the bodies of these requests, stored nowhere. Not so a provider's credentials, which would
stand in a page: their form asks before it is shown.
"""

import time
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django_otp.plugins.otp_totp.models import TOTPDevice

FRESH_SECONDS = 10 * 60
GIVEN_AT = "second_factor_at"
"""In the session: when the last code was given, in seconds since 1970."""
HELD_UP_SALT = "annul.held-up"
HELD_UP_SECONDS = 15 * 60
OF_THE_PAGE = frozenset({"csrfmiddlewaretoken", "code", "next"})
"""Fields of the page that asks for a code; all others belong to the form that was held up."""

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


def way_to_a_code_and_back(request: HttpRequest) -> HttpResponse | None:
    """The same, but a form that was sent is taken along (307 repeats method and body)."""
    first = way_to_a_code(request)
    if first is None or request.method != "POST" or device_of(request.user.pk) is None:
        return first
    # Signed, or a link from elsewhere could have a form sent to any of our pages.
    then = signing.dumps([request.user.pk, request.get_full_path()], salt=HELD_UP_SALT)
    query = urlencode({"next": return_address(request), "then": then})
    url = f"{reverse('admin:second_factor_code')}?{query}"
    return HttpResponseRedirect(url, preserve_request=True)


def held_up_at(request: HttpRequest) -> str:
    """On the page that asks: where the form that came along was sent; "" if none did."""
    try:
        owner, address = signing.loads(
            request.GET.get("then", ""), salt=HELD_UP_SALT, max_age=HELD_UP_SECONDS
        )
    except (signing.BadSignature, ValueError, TypeError):
        return ""
    return str(address) if owner == request.user.pk else ""


def held_up_fields(request: HttpRequest) -> list[tuple[str, str]]:
    """What was typed into the form that came along."""
    if not held_up_at(request):
        return []
    return [
        (name, value)
        for name, values in request.POST.lists()
        if name not in OF_THE_PAGE
        for value in values
    ]


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
        return way_to_a_code_and_back(request) or view(self, request, *args, **kwargs)

    return guarded
