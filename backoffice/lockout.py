"""Locked after ten failed attempts to log in: what django-axes asks us, and the page that tells.

It counts by name and network address together, so that nobody is locked out by a stranger, and
the same for names that nobody has, so that the lock does not tell which ones exist.
"""

from collections.abc import Mapping
from typing import Any

from axes.models import AccessAttempt
from django.conf import settings
from django.db.models import Max
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from invoices import presence

LOCKED = 429
LONGEST_NAME = 150


def address(request: HttpRequest) -> str:
    """From where somebody tries, behind our own proxies."""
    return presence.address()


def name_of(request: HttpRequest, credentials: Mapping[str, Any] | None) -> str:
    """The name that was tried; cut, as the table of attempts does not take any length."""
    given = credentials if credentials is not None else request.POST
    return str(given.get("username") or "")[:LONGEST_NAME]


def was_turned_away(request: HttpRequest) -> bool:
    """Whether the name was locked before this attempt, which therefore did not count."""
    locked = getattr(request, "axes_locked_out", False)
    return locked and getattr(request, "axes_failures_since_start", None) is None


def locked_page(
    request: HttpRequest, response: HttpResponse | None, credentials: Mapping[str, Any] | None
) -> HttpResponse:
    """What happened, until when, and whom to ask."""
    name = name_of(request, credentials)
    tried = AccessAttempt.objects.filter(username=name, ip_address=address(request))
    last = tried.aggregate(last=Max("attempt_time"))["last"]
    facts = {
        "name": name,
        "tries": settings.AXES_FAILURE_LIMIT,
        "until": last + settings.AXES_COOLOFF_TIME if last else None,
    }
    return TemplateResponse(request, "locked.html", facts, status=LOCKED).render()
