"""Saved views: tabs with counts, personal or shared with a role, and never a wider sight."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.test import Client

from invoices import saved_views
from invoices.models import HistoryEvent, SavedView
from invoices.saved_views import ViewRefused
from tests.factories import AccountFactory, InvoiceFactory, UserFactory
from tests.pages.scenes import LIST, XSS, attempt, invoices, login, running, text

pytestmark = pytest.mark.django_db

SAVE, COUNTS = f"{LIST}views/save/", f"{LIST}views/counts/"


@pytest.fixture(autouse=True)
def nothing_counted() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def tabs(client: Client, query: str = "") -> dict[str, str]:
    """By name, where each tab leads."""
    shown = client.get(f"{LIST}?{query}").context["tabs"]
    return {tab.name: tab.query for tab in shown if not tab.address}


def counted(client: Client) -> dict[str, int | None]:
    answer = client.get(COUNTS)
    assert (answer.status_code, answer["X-Poll"]) == (200, "done")
    return {tab.name: tab.count for tab in answer.context["tabs"] if not tab.address}


def view(user: User, name: str = "Mine", query: str = "status=open") -> SavedView:
    return saved_views.save(user, name, query)


def test_everybody_has_the_views_that_come_with_annul(client: Client) -> None:
    user = login(client, "operator")
    account = AccountFactory.create()
    states = ("needs_review", "failed", "skipped", "withdrawn", "cancelled", "unknown", "refused")
    for invoice, state in zip(invoices(account, len(states)), states, strict=True):
        attempt(running(user), invoice, state, finished_at=running(user).confirmed_at)
    for role in ("operator", "support", "auditor", "approver", "administrator"):
        login(client, role)
        assert counted(client) == {
            "All invoices": None,
            "Needs review": 1,
            "Failed and retryable": 3,
            "Cancelled this month": 1,
            "Unknown outcome": 1,
        }
    for name, query in tabs(client).items():
        found = client.get(f"{LIST}?{query}").context["cl"].result_count
        assert found == {"All invoices": 7, **counted(client)}[name] or name == "All invoices"


def test_an_approver_has_the_way_to_what_waits_for_an_approval(client: Client) -> None:
    queue = "/admin/invoices/awaitingbatch/"
    login(client, "approver")
    assert f'<a href="{queue}">Waiting for my approval <b>0</b>' in text(client, LIST)
    login(client, "operator")
    assert f'href="{queue}">Waiting' not in text(client, LIST)


def test_what_was_cancelled_before_this_month_is_not_counted_as_of_this_month(
    client: Client,
) -> None:
    user = login(client, "operator")
    made = attempt(running(user), InvoiceFactory.create(), "cancelled")
    type(made).objects.update(finished_at=made.batch.confirmed_at.replace(year=2020))
    assert counted(client)["Cancelled this month"] == 0


def test_the_list_is_saved_under_a_name_and_becomes_a_tab(client: Client) -> None:
    user = login(client, "support")
    InvoiceFactory.create()
    page = text(client, f"{LIST}?o=1&status=open&q=birch&p=1&rows=100")
    assert '<input type="hidden" name="query" value="q=birch&amp;status=open&amp;o=1">' in page
    posted = {"name": "  Open\0 birches ", "query": "q=birch&status=open&o=1", "role": ""}
    answer = client.post(SAVE, posted)
    assert (answer.status_code, answer["Location"]) == (303, f"{LIST}?q=birch&status=open&o=1")
    saved = SavedView.objects.get()
    assert (saved.owner, saved.name, saved.shared_with) == (user, "Open birches", None)
    page = text(client, f"{LIST}?status=open&o=1&q=birch")
    assert 'aria-current="page">Open birches' in page
    assert "Save this view" not in page
    event = HistoryEvent.objects.get(kind="view_changed")
    assert (event.actor, event.code) == (user, "saved")
    assert event.detail == "“Open birches”: q=birch&status=open&o=1"


@pytest.mark.parametrize(
    ("posted", "said"),
    [
        ({"name": ""}, "A view needs a name."),
        ({"name": "x" * 41}, "longer than 40 characters"),
        ({"query": ""}, "There is no search and no filter to save."),
        ({"query": "p=2"}, "A view cannot hold “p”."),
        ({"query": "selection=1"}, "A view cannot hold “selection”."),
        ({"query": "search_text__startswith=a"}, "A view cannot hold"),
        ({"query": "q=" + "x" * 101}, "too long to be saved"),
        ({"query": "q=" + "x" * 5000}, "too long to be saved"),
        ({"query": "o=drop"}, "This order cannot be saved."),
        ({"role": "99999"}, "There is no such role."),
        ({"role": "x"}, "There is no such role."),
    ],
)
def test_what_is_no_view_is_not_saved_and_it_is_said_why(
    client: Client, posted: dict[str, str], said: str
) -> None:
    login(client, "operator")
    answer = client.post(SAVE, {"name": "A", "query": "status=open", **posted}, follow=True)
    assert said in answer.content.decode()
    assert "Nothing was saved." in answer.content.decode()
    assert not SavedView.objects.exists()


def test_a_name_is_taken_once_by_each_person_and_views_are_limited(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, other = UserFactory.create(role="operator"), UserFactory.create(role="operator")
    view(user)
    view(other)
    with pytest.raises(ViewRefused, match="another view called “Mine”"):
        view(user)
    monkeypatch.setattr(saved_views, "MOST_VIEWS", 1)
    with pytest.raises(ViewRefused, match="1 views already"):
        view(user, "Second")


def test_a_view_is_shared_with_a_role_and_no_further(client: Client) -> None:
    operators = Group.objects.get(name="operator")
    login(client, "operator", username="olga")
    shared = {"name": "Ours", "query": "status=open", "role": str(operators.pk)}
    client.post(SAVE, shared)
    client.post(SAVE, {"name": "My own", "query": "status=paid"})
    login(client, "operator")
    assert tabs(client)["Ours"] == "status=open"
    assert "My own" not in tabs(client)
    assert 'title="Shared by olga"' in text(client, LIST)
    login(client, "support")
    assert "Ours" not in tabs(client)
    User.objects.filter(username="olga").update(is_active=False)
    login(client, "operator")
    assert "Ours" not in tabs(client)


def test_only_who_has_a_role_or_is_administrator_shares_with_it(client: Client) -> None:
    operators = Group.objects.get(name="operator")
    posted = {"name": "Ours", "query": "status=open", "role": str(operators.pk)}
    login(client, "support")
    assert client.post(SAVE, posted).status_code == 403
    assert "operator" not in text(client, f"{LIST}?status=open").partition("view-role")[2]
    assert not SavedView.objects.exists()
    login(client, "administrator")
    assert client.post(SAVE, posted).status_code == 303


def test_its_owner_renames_shares_and_deletes_it(client: Client) -> None:
    user = login(client, "operator")
    mine = view(user)
    page = f"{LIST}views/{mine.pk}/"
    assert page in text(client, f"{LIST}?status=open")
    operators = Group.objects.get(name="operator")
    client.post(page, {"name": "Renamed", "role": str(operators.pk)})
    mine.refresh_from_db()
    assert (mine.name, mine.shared_with) == ("Renamed", operators)
    assert "A view needs a name." in client.post(page, {"name": " "}).content.decode()
    view(user, "Taken", "status=paid")
    answer = client.post(page, {"name": "Taken"})
    assert answer.status_code == 409
    assert "another view called “Taken”" in answer.content.decode()
    assert client.get(f"{page}delete/").status_code == 403
    client.post(f"{page}delete/")
    assert list(SavedView.objects.values_list("name", flat=True)) == ["Taken"]
    codes = HistoryEvent.objects.filter(kind="view_changed").order_by("pk").values_list("code")
    assert [code for (code,) in codes] == ["saved", "changed", "saved", "deleted"]


def test_a_view_of_somebody_else_stays_as_it_is(client: Client) -> None:
    owner = UserFactory.create(role="operator")
    theirs = saved_views.save(owner, "Theirs", "status=open", Group.objects.get(name="operator"))
    hidden = view(owner, "Hidden", "status=paid")
    user = login(client, "operator")
    for page in (f"{LIST}views/{theirs.pk}/", f"{LIST}views/{theirs.pk}/delete/"):
        assert client.post(page, {"name": "x"}).status_code == 403
    assert client.get(f"{LIST}views/{hidden.pk}/").status_code == 404
    for forbidden in (
        lambda: saved_views.change(theirs, user, "x", None),
        lambda: saved_views.delete(theirs, user),
    ):
        with pytest.raises(PermissionDenied):
            forbidden()
    assert SavedView.objects.count() == 2


def test_who_may_not_see_invoices_has_no_views(client: Client) -> None:
    user = UserFactory.create()
    client.force_login(user)
    assert client.get(COUNTS).status_code == 403
    assert client.post(SAVE, {"name": "A", "query": "status=open"}).status_code == 403
    with pytest.raises(PermissionDenied):
        view(user)


def test_saving_needs_a_post_with_its_token(client: Client) -> None:
    user = login(client, "operator")
    assert client.get(SAVE).status_code == 403
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(user)
    assert strict.post(SAVE, {"name": "A", "query": "status=open"}).status_code == 403
    assert not SavedView.objects.exists()


def test_counts_are_kept_for_a_minute_and_end_at_ten_thousand(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = login(client, "operator")
    view(user)
    invoices(AccountFactory.create(), 3)
    page = text(client, LIST)
    assert f'data-poll="{COUNTS}?"' in page
    assert counted(client)["Mine"] == 3
    invoices(AccountFactory.create(name="monite-nord"), 1)
    assert counted(client)["Mine"] == 3
    assert "data-poll" not in text(client, LIST)
    cache.clear()
    monkeypatch.setattr("invoices.admin.view_pages.COUNTED", 2)
    assert counted(client)["Mine"] == 3
    assert "<b>10,000+</b>" in text(client, LIST)


def test_a_views_name_stays_text(client: Client) -> None:
    user = login(client, "operator")
    SavedView.objects.create(owner=user, name=XSS[:40], query="q=%22%3E%3Cscript%3E")
    page = text(client, LIST)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert "<script>alert" not in text(client, f"{LIST}views/{SavedView.objects.get().pk}/")
