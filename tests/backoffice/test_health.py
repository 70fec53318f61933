"""What probes are told."""

from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.db.models.functions import Now
from django.test import Client

from invoices.models import Heartbeat
from tests.factories import InvoiceFactory, UserFactory
from tests.pages.scenes import call


def test_healthz_answers_without_the_database(client: Client) -> None:
    # No django_db mark: a query would fail this test.
    response = client.get("/healthz")
    assert (response.status_code, response.content) == (200, b"ok\n")


def test_healthz_is_never_cached(client: Client) -> None:
    assert "no-store" in client.get("/healthz")["Cache-Control"]


def test_health_takes_no_posts(client: Client) -> None:
    assert client.post("/healthz").status_code == 405
    assert client.post("/readyz").status_code == 405


@pytest.mark.django_db
def test_readyz_names_a_database_that_does_not_answer(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(connection, "cursor", broken)
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["database"] == "down"


@pytest.mark.django_db
def test_readyz_says_that_all_is_well_while_a_worker_is_seen(client: Client) -> None:
    Heartbeat.objects.create(seen_at=Now() - timedelta(seconds=30))
    response = client.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"database": "ok", "worker": "ok"})


@pytest.mark.django_db
def test_readyz_names_a_worker_that_fell_silent(client: Client) -> None:
    Heartbeat.objects.create(seen_at=Now() - timedelta(seconds=90))
    response = client.get("/readyz")
    assert (response.status_code, response.json()) == (503, {"database": "ok", "worker": "down"})


@pytest.mark.django_db
@pytest.mark.parametrize("seconds", [1, 30, 90])
def test_readyz_and_the_pages_agree_on_whether_a_worker_is_alive(
    client: Client, seconds: int
) -> None:
    Heartbeat.objects.create(seen_at=Now() - timedelta(seconds=seconds))
    client.force_login(UserFactory.create(role="operator"))
    alive = client.get("/readyz").status_code == 200
    assert ("No worker is running." in client.get("/admin/").content.decode()) is not alive


@pytest.mark.django_db
def test_a_worker_too_busy_for_its_heartbeat_is_alive_by_its_calls(client: Client) -> None:
    call(InvoiceFactory.create())
    assert client.get("/readyz").json()["worker"] == "ok"


@pytest.mark.django_db
def test_readyz_names_a_worker_that_never_was(client: Client) -> None:
    assert client.get("/readyz").json()["worker"] == "down"
