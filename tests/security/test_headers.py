"""Every answer to somebody who is logged in forbids framing, foreign scripts and keeping a copy."""

import pytest
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.test import Client
from django.urls import path
from django.views.decorators.http import require_POST

from backoffice.middleware import CONTENT_SECURITY_POLICY
from backoffice.urls import urlpatterns as site_urls
from tests.security.pages import PAGES
from tests.security.walking import ask, quiet
from tests.security.world import build

pytestmark = pytest.mark.django_db


def failing(request: HttpRequest, status: int) -> HttpResponse:
    raise {400: BadRequest, 403: PermissionDenied, 404: Http404, 500: RuntimeError}[status]


@require_POST
def only_post(request: HttpRequest) -> HttpResponse:
    raise AssertionError


urlpatterns = [*site_urls, path("only-post", only_post), path("failing/<int:status>", failing)]

ANSWERS = {
    "/admin/": 200,
    "/": 302,
    "/admin/invoices/invoice/?password=1": 400,
    "/admin/invoices/invoice/?q=%00": 400,
    "/admin/invoices/invoice/add/": 403,
    "/admin/nowhere/": 404,
    "/admin/invoices/invoice": 301,
    "/only-post": 405,
    **{f"/failing/{status}": status for status in (400, 403, 404, 500)},
}


def assert_guarded(answer: HttpResponseBase) -> None:
    assert answer.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert "no-store" in answer.headers["Cache-Control"]


@pytest.mark.urls("tests.security.test_headers")
@pytest.mark.parametrize("address", list(ANSWERS))
def test_every_kind_of_answer_carries_them(address: str) -> None:
    world = build()
    with quiet():
        client = Client(raise_request_exception=False)
        client.force_login(world.people["r"])
        answer = client.get(address)
    assert answer.status_code == ANSWERS[address]
    assert_guarded(answer)


def test_every_page_of_the_table_carries_them() -> None:
    world = build()
    cookies = world.cookies("r")
    with quiet():
        for page in PAGES:
            for method in ("GET", "POST"):
                assert_guarded(ask(method, page.at(world.ids), cookies))


def test_a_download_is_no_page() -> None:
    world = build()
    cookies = world.cookies("a")
    for page in PAGES:
        if page.address.endswith(".txt"):
            answer = ask("GET", page.at(world.ids), cookies)
            assert answer.headers["Content-Type"].startswith("text/plain")
            assert answer.headers["Content-Disposition"].startswith("attachment")
