"""A query that takes too long ends in a page that says so; only what answers a page is limited."""

import time

import pytest
from django.db import OperationalError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.test import Client
from django.urls import path
from django.utils import timezone
from pytest_django import Settings

from backoffice.middleware import HEADERS
from backoffice.query_limit import limited, was_cut_off
from backoffice.urls import urlpatterns as site_urls
from invoices.models import Heartbeat

pytestmark = [
    pytest.mark.django_db(transaction=True, serialized_rollback=True),
    pytest.mark.urls("tests.backoffice.test_query_limit"),
]

QUESTIONS = ("What happened", "Was anything sent?", "What to do")
SLOW = {
    "postgresql": "SELECT pg_sleep(%s)",
    # Counts for longer than any of these tests waits, given some millions of rows a second.
    "sqlite": "WITH RECURSIVE n(i) AS"
    " (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %s * 9000000) SELECT count(*) FROM n",
}


def ask(seconds: float) -> None:
    """A query that takes about so long."""
    with connection.cursor() as cursor:
        cursor.execute(SLOW[connection.vendor], [seconds])
        cursor.fetchone()


def slow(request: HttpRequest) -> HttpResponse:
    ask(5)
    return HttpResponse("done")


def quick(request: HttpRequest) -> HttpResponse:
    ask(0.0001)
    return HttpResponse("done")


def rendered_slowly(request: HttpRequest) -> HttpResponse:
    return HttpResponse(
        engines["django"].from_string("{{ slow }}").render({"slow": lambda: ask(5)})
    )


def half_way(request: HttpRequest) -> HttpResponse:
    with transaction.atomic():
        Heartbeat.objects.create(pk=77, seen_at=timezone.now())
        ask(5)
    return HttpResponse("done")


urlpatterns = [
    *site_urls,
    path("slow", slow),
    path("quick", quick),
    path("rendered", rendered_slowly),
    path("half-way", half_way),
]


@pytest.fixture(autouse=True)
def _short(settings: Settings) -> None:
    settings.WEB_QUERY_SECONDS = 0.2


@pytest.fixture
def visitor() -> Client:
    """A client to whom a crash is a page, as it is to a browser."""
    return Client(raise_request_exception=False)


@pytest.mark.parametrize("address", ["/slow", "/rendered", "/half-way"])
def test_a_query_that_takes_too_long_ends_in_a_page_that_says_so(
    visitor: Client, address: str
) -> None:
    answer = visitor.get(address)
    page = answer.content.decode()
    assert answer.status_code == 503
    assert all(question in page for question in QUESTIONS)
    assert "longer than 0.2 seconds" in page
    assert {name: answer[name] for name in HEADERS} == HEADERS


def test_what_was_begun_is_taken_back_and_the_connection_works_on(visitor: Client) -> None:
    assert visitor.get("/half-way").status_code == 503
    assert not Heartbeat.objects.filter(pk=77).exists()
    assert visitor.get("/quick").content == b"done"


def test_a_short_query_is_left_alone(visitor: Client) -> None:
    assert visitor.get("/quick").content == b"done"


def test_nothing_but_a_page_is_limited(visitor: Client) -> None:
    assert visitor.get("/quick").status_code == 200
    ask(0.4)  # As a worker or a command would, on the connection that served the page.


def test_each_query_has_the_whole_time(visitor: Client) -> None:
    with limited(0.2):
        ask(0.0001)
        time.sleep(0.3)
        ask(0.01)
    with limited(0.2), pytest.raises(OperationalError) as cut:
        ask(5)
    assert was_cut_off(cut.value)


def test_other_errors_of_the_database_are_no_lack_of_time() -> None:
    with pytest.raises(OperationalError) as locked:
        raise OperationalError("database is locked") from ValueError()
    assert not was_cut_off(locked.value)


def test_zero_means_no_limit(visitor: Client, settings: Settings) -> None:
    settings.WEB_QUERY_SECONDS = 0
    with connection.execute_wrapper(lambda execute, *rest: execute(*rest)):
        ask(0.3)
    assert visitor.get("/quick").status_code == 200


def test_a_page_without_the_database_opens_no_connection(visitor: Client) -> None:
    connection.close()
    assert visitor.get("/healthz").status_code == 200
    assert connection.connection is None
