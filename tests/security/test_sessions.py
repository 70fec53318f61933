"""A session ends with its hours, its person's access, rights and password, and moves its key."""

from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.http.response import HttpResponseBase
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings
from time_machine import TimeMachineFixture

from tests.factories import UserFactory

pytestmark = pytest.mark.django_db

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
LOGIN = "/admin/login/"
NEW = "tele-456-x"
QUIET = "/admin/invoices/syncrun/"
"""A list that asks nothing by itself about people and roles."""


@pytest.fixture
def olga() -> User:
    user: User = UserFactory.create(username="olga", role="operator")
    return user


def logged_in(name: str = "olga", password: str = "secret") -> Client:
    client = Client()
    answer = client.post(LOGIN, {"username": name, "password": password})
    assert answer.status_code == 302
    assert client.get("/admin/").status_code == 200
    return client


def why(answer: HttpResponseBase) -> str:
    """The reason in the way to the log-in page; "" if it leads elsewhere."""
    parts = urlsplit(answer.headers.get("Location", ""))
    return parse_qs(parts.query).get("ended", [""])[0] if parts.path == LOGIN else ""


def role(name: str) -> Group:
    return Group.objects.get(name=name)


def change(user: User, **facts: bool) -> None:
    User.objects.filter(pk=user.pk).update(**facts)


def give_password(user: User) -> None:
    user.set_password("other")
    user.save()


CHANGES: dict[str, tuple[Callable[[User], object], str]] = {
    "another role": (lambda user: user.groups.set([role("support")]), "rights"),
    "one role more": (lambda user: user.groups.add(role("auditor")), "rights"),
    "no role": (lambda user: user.groups.clear(), "rights"),
    "a right of their own": (
        lambda user: user.user_permissions.add(Permission.objects.get(codename="add_group")),
        "rights",
    ),
    "made a superuser": (lambda user: change(user, is_superuser=True), "rights"),
    "no staff any more": (lambda user: change(user, is_staff=False), "rights"),
    "deactivated": (lambda user: change(user, is_active=False), "inactive"),
    "another password": (give_password, "password"),
}


@pytest.mark.parametrize("what", list(CHANGES))
def test_a_session_ends_with_what_its_person_was(olga: User, what: str) -> None:
    alter, reason = CHANGES[what]
    client = logged_in()
    alter(olga)
    answer = client.get("/admin/invoices/invoice/?status=open")
    assert why(answer) == reason
    assert "next=%2Fadmin%2Finvoices%2Finvoice%2F%3Fstatus%3Dopen" in answer["Location"]
    assert "You were logged out because" in client.get(answer["Location"]).content.decode()


@pytest.mark.parametrize("what", list(CHANGES))
def test_nothing_that_a_session_sends_after_its_end_is_done(olga: User, what: str) -> None:
    client = logged_in()
    CHANGES[what][0](olga)
    posted = {"old_password": "secret", "new_password1": NEW, "new_password2": NEW}
    before = User.objects.get(pk=olga.pk).password
    assert why(client.post("/admin/password_change/", posted)) != ""
    assert User.objects.get(pk=olga.pk).password == before


def test_a_session_that_ended_does_not_begin_again(olga: User) -> None:
    client = logged_in()
    change(olga, is_active=False)
    assert why(client.get("/admin/")) == "inactive"
    change(olga, is_active=True)
    assert client.get("/admin/").status_code == 302


def test_the_same_rights_as_before_end_nothing(olga: User) -> None:
    client = logged_in()
    olga.groups.set([role("operator")])
    change(olga, is_superuser=False)
    assert client.get("/admin/").status_code == 200


def test_changing_ones_own_password_ends_the_other_sessions(olga: User) -> None:
    here, there = logged_in(), logged_in()
    posted = {"old_password": "secret", "new_password1": NEW, "new_password2": NEW}
    key = here.session.session_key
    assert here.post("/admin/password_change/", posted).status_code == 302
    assert here.get("/admin/").status_code == 200
    assert here.session.session_key != key
    assert why(there.get("/admin/")) == "password"


def test_eight_hours_after_logging_in_it_ends_however_busy(
    olga: User, time_machine: TimeMachineFixture
) -> None:
    time_machine.move_to(NOON, tick=False)
    client = logged_in()
    for _ in range(47):
        time_machine.shift(10 * 60)
        assert client.get("/admin/").status_code == 200
    time_machine.shift(10 * 60)
    assert why(client.get("/admin/")) == "hours"


def test_the_hours_are_a_setting(
    olga: User, time_machine: TimeMachineFixture, settings: Settings
) -> None:
    settings.SESSION_HOURS = 1
    time_machine.move_to(NOON, tick=False)
    client = logged_in()
    statuses = []
    for _ in range(6):
        time_machine.shift(10 * 60)
        statuses.append(client.get("/admin/").status_code)
    assert statuses == [200] * 5 + [302]


def test_logging_in_moves_the_session_to_another_key(olga: User) -> None:
    planted = Client()
    planted.get(LOGIN)
    session = planted.session
    session["planted"] = "by somebody else"
    session.save()
    planted.cookies["annul_session"] = str(session.session_key)
    planted.post(LOGIN, {"username": "olga", "password": "secret"})
    assert planted.session.session_key != session.session_key
    again = planted.session.session_key
    planted.post(LOGIN, {"username": "olga", "password": "secret"})
    assert planted.session.session_key != again


def test_a_failed_attempt_leaves_the_session_as_it_is(olga: User) -> None:
    client = logged_in()
    key = client.session.session_key
    client.post(LOGIN, {"username": "olga", "password": "wrong"})
    assert client.session.session_key == key
    assert client.get("/admin/").status_code == 200


def test_a_forged_reason_shows_none_of_its_text() -> None:
    page = Client().get(LOGIN, {"ended": "<b>call 555</b>"}).content.decode()
    assert "555" not in page.replace("ended=%3Cb%3Ecall+555", "").replace("call%20555", "")
    assert "You were logged out" not in page


def test_what_the_middleware_asks_is_asked_anyway(olga: User) -> None:
    client = logged_in()
    client.get(QUIET)
    with CaptureQueriesContext(connection) as made:
        client.get(QUIET)
    asked = [one["sql"] for one in made if 'FROM "auth_' in one["sql"]]
    # The person with their device, their own permissions, those of their groups.
    assert len(asked) == 3, asked


def test_a_superuser_costs_one_query() -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    client.get(QUIET)
    with CaptureQueriesContext(connection) as made:
        client.get(QUIET)
    assert len([one for one in made if 'FROM "auth_' in one["sql"]]) == 1


def test_who_comes_without_a_session_costs_none() -> None:
    with CaptureQueriesContext(connection) as made:
        Client().get(LOGIN)
        Client().get("/healthz")
    assert len(made) == 0
