"""Every response carries the headers, a NUL is refused, and an idle session ends."""

from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from time_machine import TimeMachineFixture

from backoffice.middleware import HEADERS
from backoffice.urls import urlpatterns as site_urls

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " font-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none';"
    " base-uri 'none'"
)


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("on purpose")


def forbidden(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied


def bad(request: HttpRequest) -> HttpResponse:
    raise BadRequest


urlpatterns = [
    *site_urls,
    path("broken", broken),
    path("forbidden", forbidden),
    path("bad", bad),
]


@pytest.fixture
def visitor() -> Client:
    """A client to whom a crash is a page, as it is to a browser."""
    return Client(raise_request_exception=False)


@pytest.mark.urls("tests.backoffice.test_middleware")
@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/healthz", 200),
        ("/", 302),
        ("/bad", 400),
        ("/?q=%00", 400),
        ("/forbidden", 403),
        ("/absent", 404),
        ("/broken", 500),
        ("/static/admin/css/base.css", 200),
    ],
)
def test_every_answer_carries_the_security_headers(
    visitor: Client, address: str, status: int
) -> None:
    response = visitor.get(address)
    assert response.status_code == status
    assert response["Content-Security-Policy"] == POLICY
    assert response["X-Frame-Options"] == "DENY"
    assert {name: response[name] for name in HEADERS} == HEADERS


def test_a_wrong_host_gets_the_headers_too(visitor: Client) -> None:
    response = visitor.get("/", headers={"host": "evil.example.com"})
    assert response.status_code == 400
    assert response["Content-Security-Policy"] == POLICY


@pytest.mark.parametrize("address", ["/%00", "/admin/%00/", "/healthz?a=b%00", "/healthz?%00=1"])
def test_a_nul_in_the_address_is_a_bad_request(visitor: Client, address: str) -> None:
    response = visitor.get(address)
    assert response.status_code == 400
    assert "What to do" in response.content.decode()


def test_an_escaped_percent_sign_is_no_nul(visitor: Client) -> None:
    assert visitor.get("/healthz?a=%2500").status_code == 200


@pytest.fixture
def administrator(client: Client, time_machine: TimeMachineFixture, db: None) -> Client:
    """Somebody who logged in at noon, which it still is."""
    time_machine.move_to(NOON, tick=False)
    client.force_login(User.objects.create_superuser("admin"))
    return client


def test_a_session_lives_on_while_it_is_used(
    administrator: Client, time_machine: TimeMachineFixture
) -> None:
    for _ in range(4):
        time_machine.shift(10 * 60)
        assert administrator.get("/admin/").status_code == 200


def test_an_idle_session_ends(administrator: Client, time_machine: TimeMachineFixture) -> None:
    assert administrator.get("/admin/").status_code == 200
    time_machine.shift(16 * 60)
    assert administrator.get("/admin/").status_code == 302


def test_a_page_that_polls_does_not_keep_its_session_alive(
    administrator: Client, time_machine: TimeMachineFixture
) -> None:
    assert administrator.get("/admin/").status_code == 200
    for status in (200, 200, 200, 302):
        time_machine.shift(4 * 60)
        answer = administrator.get("/admin/", headers={"X-Requested-With": "fetch"})
        assert answer.status_code == status


def test_a_session_is_not_written_with_every_request(administrator: Client) -> None:
    assert "annul_session" in administrator.get("/admin/").cookies
    assert "annul_session" not in administrator.get("/admin/").cookies
