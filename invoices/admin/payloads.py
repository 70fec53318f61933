"""The raw requests and answers: to read, to download, to compare. Each look goes on record."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from invoices import access, history
from invoices.admin.readonly import person
from invoices.models import BodyPurge, ProviderRequest, ProviderResponse
from invoices.models.evidence import unpack_headers
from invoices.purges import purge_of

EMPTY = hashlib.sha256(b"").hexdigest()
SIDES = ("request", "answer")
PERMISSIONS = ("invoices.view_payload", "invoices.view_providerrequest")


@dataclass(frozen=True, slots=True)
class Side:
    """One direction of a call as it is stored. `first_line` and `headers` are text."""

    name: str
    call: ProviderRequest
    response: ProviderResponse | None
    first_line: str
    headers: str
    body: bytes
    sha256: str
    purge: BodyPurge | None = None

    @property
    def is_gone(self) -> bool:
        """Whether there was a body, and is none any more."""
        return not self.body and self.sha256 not in ("", EMPTY)

    @property
    def is_there(self) -> bool:
        """A call may have no answer, or none on record."""
        return self.name == "request" or self.response is not None

    @property
    def head(self) -> bytes:
        """First line and headers, as HTTP would have them."""
        text = f"{self.first_line}\n{self.headers}\n\n".replace("\n", "\r\n")
        return text.encode("utf-8", "backslashreplace")


def may_read_payloads(request: HttpRequest) -> bool:
    """Auditors."""
    return person(request).has_perms(PERMISSIONS)


def answer_of(call: ProviderRequest) -> ProviderResponse | None:
    """How a call ended; None while that is not on record."""
    return getattr(call, "response", None)


def side_of(call: ProviderRequest, name: str) -> Side:
    """The request, or the answer, of a call."""
    response = answer_of(call)
    stored: ProviderRequest | ProviderResponse
    if name == "request":
        stored, first = call, f"{call.method} {call.url}"
    elif response is not None:
        stored, first = response, f"HTTP {response.status}" if response.status else response.fault
    else:
        return Side(name, call, None, "", "", b"", "")
    headers = "\n".join(f"{key}: {value}" for key, value in unpack_headers(bytes(stored.headers)))
    body, sha256 = bytes(stored.body or b""), stored.body_sha256
    side = Side(name, call, response, first, headers, body, sha256)
    moment = stored.created_at if isinstance(stored, ProviderRequest) else stored.received_at
    return replace(side, purge=purge_of(moment)) if side.is_gone else side


def readable(request: HttpRequest, pk: UUID) -> ProviderRequest:
    """A call with its payload, for those who may read it."""
    if not may_read_payloads(request) or request.method not in ("GET", "HEAD"):
        raise PermissionDenied
    calls = ProviderRequest.objects.select_related("account", "response").filter(pk=pk)
    call = access.narrow(person(request), calls).first()
    if call is None:
        raise Http404("There is no such call.")
    return cast(ProviderRequest, call)


class PayloadPages(admin.ModelAdmin[ProviderRequest]):
    """Beside a call's own page: each side as a fragment, and its exact bytes."""

    def get_urls(self) -> list[URLPattern]:
        """In front of the admin's own."""
        views: tuple[tuple[str, str, Callable[..., HttpResponse]], ...] = (
            ("<uuid:pk>/payload/<str:side>/", "payload", self.payload_view),
            ("<uuid:pk>/<str:side>-head.txt", "head", self.head_view),
            ("<uuid:pk>/<str:side>.txt", "body", self.body_view),
        )
        own = [
            path(
                route,
                self.admin_site.admin_view(view),
                name=f"invoices_providerrequest_{name}",
            )
            for route, name, view in views
        ]
        return own + super().get_urls()

    def payload_view(self, request: HttpRequest, pk: UUID, side: str) -> HttpResponse:
        """The raw request or answer, as the inside of a page."""
        shown = _side(request, pk, side)
        history.payload_opened(person(request), shown.call, f"{side} opened")
        return TemplateResponse(request, "invoices/payload.html", {"side": shown})

    def head_view(self, request: HttpRequest, pk: UUID, side: str) -> HttpResponse:
        """First line and headers."""
        return _download(request, _side(request, pk, side), "head")

    def body_view(self, request: HttpRequest, pk: UUID, side: str) -> HttpResponse:
        """The body, byte for byte as it was stored."""
        return _download(request, _side(request, pk, side), "body")


def _side(request: HttpRequest, pk: UUID, name: str) -> Side:
    if name not in SIDES:
        raise Http404("A call has a request and an answer.")
    return side_of(readable(request, pk), name)


def _download(request: HttpRequest, side: Side, part: str) -> HttpResponse:
    if not side.is_there:
        raise Http404("No answer is on record.")
    history.payload_opened(person(request), side.call, f"{part} of the {side.name} downloaded")
    name = f"{side.call.account.provider}-{side.call.pk}-{side.name}-{part}.txt"
    return HttpResponse(
        side.head if part == "head" else side.body,
        content_type="text/plain; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        },
    )
