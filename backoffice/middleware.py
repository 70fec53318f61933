"""What stands between every request and the views: security headers, refusals, idle sessions."""

import time
from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import BadRequest
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.defaults import bad_request

from invoices import presence

GetResponse = Callable[[HttpRequest], HttpResponseBase]

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

# The session is written at most this often, not with every request. Seconds.
RENEW_AFTER = 60


class SecurityHeaders:
    """Puts the headers on every response, whatever made it."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer with the headers added."""
        response = self.get_response(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        # Static files say otherwise; all else is one person's, or of this moment.
        response.headers.setdefault("Cache-Control", "no-store")
        return response


class RefuseNul:
    """Answers 400 to a NUL byte in the address: PostgreSQL would raise on it, a 500."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Refuse, or pass the request on."""
        query = request.META.get("QUERY_STRING", "")
        if "\x00" in request.path or "%00" in query or "\x00" in query:
            return bad_request(request, BadRequest("The address holds a NUL byte."))
        return self.get_response(request)


class FromWhere:
    """Keeps the visitor's network address at hand for what is put on record meanwhile."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer as somebody at this address."""
        remote = request.META.get("REMOTE_ADDR", "")
        forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
        where = presence.network_address(remote, forwarded, settings.TRUSTED_PROXIES)
        with presence.at(where):
            return self.get_response(request)


class RenewSession:
    """Ends a session by idleness: its age counts from the last request, give or take a minute.

    What a page fetches by itself is no sign of a person: a browser left open must not keep its
    session alive.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Renew the session of a person who is logged in."""
        by_itself = request.headers.get("X-Requested-With") == "fetch"
        if request.user.is_authenticated and not by_itself:
            now = int(time.time())
            if now - request.session.get("renewed_at", 0) >= RENEW_AFTER:
                request.session["renewed_at"] = now
        return self.get_response(request)
