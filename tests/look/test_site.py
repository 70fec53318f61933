"""The AdminSite: navigation by permission, nothing of the queue, no bulk deletion."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.exceptions import NotRegistered
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.test import Client, RequestFactory, override_settings
from django_q.models import Failure, OrmQ, Schedule, Success

from backoffice.site import BackofficeSite


def labels(site: BackofficeSite, user: object) -> list[str]:
    request = RequestFactory().get("/admin/")
    request.user = user  # type: ignore[assignment]
    return [link.label for section in site.navigation(request) for link in section.links]


def staff(*permissions: str) -> User:
    user = User.objects.create_user("ada", password="secret", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


def site() -> BackofficeSite:
    assert isinstance(admin.site, BackofficeSite)
    return admin.site


@pytest.mark.parametrize("model", [Schedule, Success, Failure, OrmQ])
def test_the_tables_of_the_queue_are_not_in_the_admin(model: Any) -> None:
    assert not admin.site.is_registered(model)


def test_registering_a_table_of_the_queue_has_no_effect() -> None:
    own = BackofficeSite()
    own.register([Schedule, Group])
    own.register(OrmQ)
    own.unregister(Schedule)
    assert set(own._registry) == {Group}


def test_unregistering_what_was_never_there_is_still_an_error() -> None:
    with pytest.raises(NotRegistered):
        BackofficeSite().unregister(Group)


@pytest.mark.django_db
@pytest.mark.parametrize("table", ["schedule", "success", "failure", "ormq"])
def test_the_pages_of_the_queue_do_not_exist(client: Client, table: str) -> None:
    client.force_login(User.objects.create_superuser("root", password="secret"))
    assert client.get(f"/admin/django_q/{table}/").status_code == 404


def test_nothing_can_be_deleted_in_bulk() -> None:
    assert [name for name, _ in site().actions] == []


def test_who_is_not_logged_in_sees_no_navigation() -> None:
    assert labels(site(), AnonymousUser()) == []


@pytest.mark.django_db
def test_the_navigation_holds_only_what_one_may_open() -> None:
    assert labels(site(), staff()) == ["Overview"]


@pytest.mark.django_db
def test_a_permission_adds_its_page_to_the_navigation() -> None:
    assert "Users" in labels(site(), staff("view_user"))


@pytest.mark.django_db
def test_the_page_one_is_on_is_marked(client: Client) -> None:
    client.force_login(staff("view_user"))
    page = client.get("/admin/auth/user/").content.decode()
    assert page.count('aria-current="page"') == 1
    assert '<a href="/admin/auth/user/" aria-current="page">' in page


@pytest.mark.django_db
@pytest.mark.parametrize("demo", [True, False])
def test_a_demo_says_so_on_every_page(client: Client, demo: bool) -> None:
    with override_settings(DEMO=demo):
        assert (b'class="env">Demo<' in client.get("/admin/login/").content) is demo


@pytest.mark.django_db
def test_the_overview_opens_for_everyone_who_may_log_in(client: Client) -> None:
    client.force_login(staff())
    answer = client.get("/admin/")
    assert answer.status_code == 200
    assert b"<h1>Overview</h1>" in answer.content


@pytest.mark.django_db
def test_the_overview_shows_the_facts_that_it_is_given(rf: RequestFactory) -> None:
    request = rf.get("/admin/")
    request.user = staff()
    facts = {
        "tiles": [{"label": "Needs review", "value": "2", "tone": "bad", "href": "/x/"}],
        "worker": SimpleNamespace(alive=False, note="Last heartbeat 14:02 UTC."),
        "batches": [
            {"title": "Batch 7", "href": "/b/7/", "state": "running", "counts": [("queued", 3)]}
        ],
    }
    page = site().index(request, {"overview": facts}).render().content.decode()
    assert "No worker is running." in page
    assert '<a href="/x/">Needs review</a>' in page
    assert 'data-state="running">Running<' in page
