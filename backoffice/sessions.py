"""When a session ends although its person did not log out, and who is behind one.

Idleness ends it (middleware.py), and so do the hours since logging in, a deactivation, another
password and any change of what the person may do. Whoever has a second factor gets no further
than the page that asks for it.
"""

import hashlib
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AnonymousUser, User
from django.db.models import OuterRef, Subquery
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import urlencode
from django_otp.plugins.otp_totp.models import TOTPDevice

from invoices import access, stepping_up

GetResponse = Callable[[HttpRequest], HttpResponseBase]

LOGGED_IN_AT = "logged_in_at"
STAMP = "stamp"
"""In the session: what its person was allowed to do, in short."""

ALWAYS_OPEN = ("login", "logout")


_DEVICES = TOTPDevice.objects.filter(user=OuterRef("pk"), confirmed=True).order_by("pk")
PEOPLE = access.people().annotate(device_id=Subquery(_DEVICES.values("pk")[:1]))
"""Put together once, for it is asked at each click."""


class Backend(ModelBackend):
    """Django's own, but one query reads a person with their second factor and their limit."""

    def get_user(self, user_id: int) -> User | None:
        """Who is behind a session; `device_id` is None without a second factor.

        `is_limited`: see `access.limit`.
        """
        found = PEOPLE.filter(pk=user_id).first()
        return found if found is not None and self.user_can_authenticate(found) else None


def stamp(user: User) -> str:
    """What a person may do and by what they are known; another one ends their sessions.

    The permissions are kept with the user, and nearly every page asks for them anyway.
    """
    rights = ["superuser"] if user.is_superuser else sorted(user.get_all_permissions())
    facts = [user.is_staff, getattr(user, "device_id", None), rights]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def restamp(request: HttpRequest) -> None:
    """From here on the session stands for what its person may do now."""
    key = request.user.pk
    found = Backend().get_user(key) if key is not None else None
    if found is not None:
        request.session[STAMP] = stamp(found)


class EndSession:
    """Logs out whose time is over, or who may no longer do the same as when they logged in."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer, or say on the log-in page why they have to log in again."""
        had_a_person = SESSION_KEY in request.session
        why = _why_it_ends(request) if had_a_person else ""
        if not why:
            return self.get_response(request)
        request.session.flush()
        request.user = AnonymousUser()
        return to_log_in_again(request, why)


def to_log_in_again(request: HttpRequest, why: str) -> HttpResponseRedirect:
    """To the log-in page, which has a sentence for each reason."""
    login = reverse("admin:login")
    there = "" if request.path == login else stepping_up.return_address(request)
    query = {"ended": why, **({"next": there} if there else {})}
    return HttpResponseRedirect(f"{login}?{urlencode(query)}")


def _why_it_ends(request: HttpRequest) -> str:
    """ "" to go on."""
    user = request.user
    if not isinstance(user, User) or not user.is_authenticated:
        # Django has emptied the session itself if it was made with another password.
        return "inactive" if SESSION_KEY in request.session else "password"
    now = int(time.time())
    session = request.session
    if now - session.setdefault(LOGGED_IN_AT, now) >= settings.SESSION_HOURS * 3600:
        return "hours"
    current = stamp(user)
    return "" if session.setdefault(STAMP, current) == current else "rights"


class AskForCode:
    """Lets nobody on who owes a code, or who has no second factor where one is required."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer."""
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: object, kwargs: object
    ) -> HttpResponse | None:
        """The way to the page that asks, for every page but those that lead there."""
        match = request.resolver_match
        if match is None or "admin" not in match.namespaces:
            return None
        page = owed(request)
        if not page or match.url_name in (page, *ALWAYS_OPEN):
            return None
        return stepping_up.redirect_to(page, request)


def owed(request: HttpRequest) -> str:
    """The page on which this person has something to do before any other; "" for none."""
    user = request.user
    if not (stepping_up.is_on() and user.is_authenticated and user.is_staff):
        return ""
    if stepping_up.GIVEN_AT in request.session:
        return ""
    if has_device(user):
        return "second_factor_code"
    return "second_factor" if stepping_up.is_required() else ""


def has_device(user: User) -> bool:
    """Without a query, if they came by a session."""
    if hasattr(user, "device_id"):
        return user.device_id is not None
    return stepping_up.device_of(user.pk) is not None
