"""The front page: figures, what runs, what waits for a person, and whether anybody works."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from invoices.overview import overview
from providers.models import ProviderAccount
from tests.factories import AccountFactory, UserFactory
from tests.pages.scenes import (
    BATCHES,
    a_worker_runs,
    attempt,
    event,
    invoices,
    login,
    queries,
    running,
    text,
)

pytestmark = pytest.mark.django_db


def tiles(client: Client) -> dict[str, tuple[str, str]]:
    facts = client.get("/admin/").context["overview"]
    return {tile["label"]: (tile["value"], tile["note"]) for tile in facts["tiles"]}


def test_an_empty_site_says_so(client: Client) -> None:
    login(client, "operator")
    page = text(client, "/admin/")
    assert "No batch is running." in page
    assert "No worker is running." in page
    assert tiles(client)["Open invoices"][0] == "0"


def test_the_tiles_count_what_they_say(client: Client) -> None:
    user = login(client, "operator")
    account, now = AccountFactory.create(), timezone.now()
    rows = invoices(account, 5)
    batch = running(user)
    attempt(batch, rows[0], "queued", due_at=now - timedelta(hours=3))
    attempt(batch, rows[1], "cancelled", finished_at=now, verified_at=now)
    attempt(batch, rows[2], "cancelled", finished_at=now)
    attempt(batch, rows[3], "cancelled", finished_at=now - timedelta(days=2))
    attempt(batch, rows[4], "needs_review", code="vanished", finished_at=now - timedelta(hours=3))
    found = tiles(client)
    assert found["Open invoices"] == ("5", "at 1 provider account")
    assert found["Work due"][0] == "1"
    assert "3" in found["Work due"][1]
    assert found["Cancelled today"] == ("2", "1 still to be verified")
    assert found["Needs review"][0] == "1"
    assert found["Needs review"][1] == "oldest for 3 hours"


def test_running_batches_are_shown_and_polled(client: Client) -> None:
    user = login(client, "operator")
    batch = running(user)
    rows = invoices(AccountFactory.create(), 3)
    for row, state in zip(rows, ("queued", "refused", "ineligible"), strict=True):
        attempt(batch, row, state)
    page = text(client, "/admin/")
    assert f'data-poll="{BATCHES}running/"' in page
    fragment = text(client, f"{BATCHES}running/")
    assert "1 of 2 done" in fragment
    assert "1 more not eligible" in fragment
    assert "<html" not in fragment
    # One sum for one batch, and the same figures on its own page.
    of_batch = text(client, f"{BATCHES}{batch.pk}/progress/")
    assert re.findall(r"\d+ selected = [^<]+", of_batch) == [
        "3 selected = 1 queued + 1 refused + 1 not eligible"
    ]
    assert "1 of 2 done" in of_batch


def test_outcomes_are_counted_by_provider_over_thirty_days(client: Client) -> None:
    user = login(client, "operator")
    account = AccountFactory.create()
    old = running(user, state="finished")
    type(old).objects.filter(pk=old.pk).update(confirmed_at=timezone.now() - timedelta(days=40))
    attempt(old, invoices(account, 1)[0], "refused")
    for row in invoices(account, 3):
        attempt(running(user), row, "refused")
    (row,) = overview(user)["outcomes"]["rows"]
    assert (row["label"], row["counts"]) == ("PayPal", [("refused", 3, "refused")])


def test_an_accounts_health_is_told(client: Client) -> None:
    login(client, "operator")
    AccountFactory.create()
    page = text(client, "/admin/")
    assert ">Active<" in page
    later = timezone.now() + timedelta(minutes=5)
    ProviderAccount.objects.update(resting_until=later, last_error="HTTP 503", last_error_at=later)
    page = text(client, "/admin/")
    assert "Rests until" in page
    assert "it goes on by itself" in page
    assert "HTTP 503" in page
    ProviderAccount.objects.update(paused_at=later, pause_reason="Wrong secret")
    assert "Wrong secret" in text(client, "/admin/")


def test_a_worker_that_gave_a_sign_of_life_is_alive(client: Client) -> None:
    login(client, "operator")
    AccountFactory.create()
    a_worker_runs()
    page = text(client, "/admin/")
    assert "No worker is running." not in page
    assert "A worker was last seen at" in page


def test_the_page_takes_the_same_queries_however_much_there_is(client: Client) -> None:
    user = login(client, "operator")
    account = AccountFactory.create()
    text(client, "/admin/")
    counts = []
    for more in (3, 20):
        for row in invoices(account, more):
            event(attempt(running(user), row, "needs_review"), "needs_review")
        counts.append(queries(client, "/admin/"))
    assert counts[0] == counts[1]


def test_who_may_see_no_invoices_sees_no_figures(client: Client) -> None:
    client.force_login(UserFactory.create())
    assert "Open invoices" not in text(client, "/admin/")
