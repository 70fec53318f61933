"""The pages of imports: the list, the progress of one, and who sees them."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from invoices.models import SyncRun
from providers.models import ProviderAccount
from tests.factories import AccountFactory, UserFactory

pytestmark = pytest.mark.django_db

LIST = "/admin/invoices/syncrun/"
SCRIPT = "<script>alert(1)</script>"


def logged_in(role: str) -> Client:
    client, user = Client(), UserFactory.create(role=role)
    assert isinstance(user, User)
    client.force_login(user)
    return client


def run_of(**facts: Any) -> SyncRun:
    account = ProviderAccount.objects.first() or AccountFactory.create()
    return SyncRun.objects.create(account=account, **facts)


def text_of(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200
    return response.content.decode()


def test_the_list_shows_what_came_of_each_import() -> None:
    run_of(state="finished", created=1234)
    run_of(state="failed", error="It broke.")
    shown = text_of(logged_in("operator"), LIST)
    assert 'data-state="finished"' in shown
    assert 'data-state="failed"' in shown


def test_a_running_import_is_polled_and_a_finished_one_is_not() -> None:
    run, client = run_of(state="running", created=40, seen_at=timezone.now()), logged_in("operator")
    assert f'data-poll="{LIST}{run.pk}/progress/"' in text_of(client, f"{LIST}{run.pk}/change/")
    part = client.get(f"{LIST}{run.pk}/progress/")
    assert "X-Poll" not in part
    assert "40 invoices read" in part.content.decode()
    SyncRun.objects.update(state="finished")
    assert client.get(f"{LIST}{run.pk}/progress/")["X-Poll"] == "done"
    assert "data-poll" not in text_of(client, f"{LIST}{run.pk}/change/")


def test_a_waiting_import_says_when_nobody_works() -> None:
    run = run_of()
    assert "No worker is running" in text_of(logged_in("operator"), f"{LIST}{run.pk}/change/")


def test_the_error_and_the_number_of_named_invoices_are_shown_as_text() -> None:
    run = run_of(state="failed", error=f"Refused {SCRIPT}", external_ids=["A", "B"])
    shown = text_of(logged_in("auditor"), f"{LIST}{run.pk}/change/")
    assert "&lt;script&gt;" in shown
    assert SCRIPT not in shown
    assert "2 named invoices" in shown


@pytest.mark.parametrize("role", ["operator", "auditor", "administrator"])
def test_nobody_adds_changes_or_deletes_one(role: str) -> None:
    run, client = run_of(state="finished"), logged_in(role)
    assert client.get(f"{LIST}add/").status_code == 403
    for page in ("change", "delete"):
        response = client.post(f"{LIST}{run.pk}/{page}/", {"state": "waiting", "post": "yes"})
        assert response.status_code == 403
    assert SyncRun.objects.get().state == "finished"


@pytest.mark.parametrize("role", ["approver", "support"])
def test_whoever_has_no_business_with_imports_sees_none(role: str) -> None:
    run, client = run_of(), logged_in(role)
    for path in (LIST, f"{LIST}{run.pk}/change/", f"{LIST}{run.pk}/progress/"):
        assert client.get(path).status_code == 403


def test_an_import_that_is_not_there_is_a_404() -> None:
    assert logged_in("operator").get(f"{LIST}4711/progress/").status_code == 404


@pytest.mark.parametrize("query", ["error__startswith=a", "requested_by__password__startswith=x"])
def test_no_field_can_be_guessed_at(query: str) -> None:
    run_of()
    assert logged_in("operator").get(f"{LIST}?{query}").status_code == 400


def test_the_list_takes_the_same_number_of_queries_for_any_number(
    django_assert_max_num_queries: Any,
) -> None:
    asker = UserFactory.create()
    for _ in range(30):
        run_of(requested_by=asker)
    client = logged_in("operator")
    with django_assert_max_num_queries(11):
        text_of(client, LIST)
