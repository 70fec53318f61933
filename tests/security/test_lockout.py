"""Ten failed attempts lock a name for an address, and for nobody else."""

from datetime import UTC, datetime
from io import StringIO

import pytest
from axes.models import AccessAttempt
from django.contrib.admin import site
from django.contrib.auth import hashers
from django.contrib.auth.hashers import BasePasswordHasher
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from time_machine import TimeMachineFixture

from tests.factories import UserFactory

pytestmark = pytest.mark.django_db

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
LOGIN = "/admin/login/"
LOCKED = 429
HERE, THERE = "192.0.2.1", "192.0.2.2"


def attempt(name: str, password: str, where: str = HERE, agent: str = "browser") -> int:
    """The status of one attempt; 302 is a success."""
    client = Client(REMOTE_ADDR=where, HTTP_USER_AGENT=agent)
    posted = {"username": name, "password": password}
    return client.post(LOGIN, posted).status_code


def lock(name: str, where: str = HERE) -> None:
    for number in range(10):
        status = attempt(name, f"wrong {number}", where)
    assert status == LOCKED


def test_the_right_password_is_accepted_on_the_tenth_attempt() -> None:
    UserFactory.create(username="olga")
    assert {attempt("olga", f"wrong {number}") for number in range(9)} == {200}
    assert attempt("olga", "secret") == 302


def test_a_thousand_attempts_never_get_in() -> None:
    UserFactory.create(username="olga")
    assert [attempt("olga", f"wrong {number}") for number in range(9)] == [200] * 9
    # One in ten of them is the right one, too late.
    tried = {
        attempt(
            "olga", "secret" if number % 10 == 0 else f"wrong {number}", agent=f"agent {number}"
        )
        for number in range(1, 992)
    }
    assert tried == {LOCKED}
    assert AccessAttempt.objects.count() <= 10


def test_another_address_still_gets_in() -> None:
    UserFactory.create(username="olga")
    lock("olga")
    assert attempt("olga", "secret") == LOCKED
    assert attempt("olga", "secret", THERE) == 302


def test_another_person_still_gets_in_from_the_same_address() -> None:
    UserFactory.create(username="olga")
    UserFactory.create(username="ann")
    lock("olga")
    assert attempt("ann", "secret") == 302
    assert attempt("olga", "secret") == LOCKED


def test_somebody_elses_success_does_not_unlock() -> None:
    UserFactory.create(username="olga")
    UserFactory.create(username="ann")
    for _ in range(12):
        attempt("olga", "wrong")
        attempt("ann", "secret")
    assert attempt("olga", "secret") == LOCKED


def test_a_success_begins_the_count_anew() -> None:
    UserFactory.create(username="olga")
    for _ in range(3):
        assert {attempt("olga", f"wrong {number}") for number in range(9)} == {200}
        assert attempt("olga", "secret") == 302


@pytest.mark.parametrize("written", ["olga ", "ｏlga", " olga"])
def test_writing_the_name_in_another_way_is_the_same_name(written: str) -> None:
    UserFactory.create(username="olga")
    lock("olga")
    assert attempt(written, "secret") == LOCKED


def test_half_an_hour_later_it_is_unlocked(time_machine: TimeMachineFixture) -> None:
    UserFactory.create(username="olga")
    time_machine.move_to(NOON, tick=False)
    lock("olga")
    time_machine.shift(29 * 60)
    assert attempt("olga", "secret") == LOCKED
    # Trying on has not prolonged it.
    time_machine.shift(62)
    assert attempt("olga", "secret") == 302


def test_an_administrator_unlocks_by_command() -> None:
    UserFactory.create(username="olga")
    lock("olga")
    call_command("axes_reset_username", "olga", stdout=StringIO())
    assert attempt("olga", "secret") == 302


def test_the_page_says_what_happened_until_when_and_whom_to_ask(
    time_machine: TimeMachineFixture,
) -> None:
    time_machine.move_to(NOON, tick=False)
    name = "<b>olga</b>"
    lock(name)
    answer = Client(REMOTE_ADDR=HERE).post(LOGIN, {"username": name, "password": "x"})
    page = answer.content.decode()
    assert answer.status_code == LOCKED
    assert "&lt;b&gt;olga&lt;/b&gt;" in page
    assert "12:30:00 UTC" in page
    assert "ask an administrator" in page
    assert "no-store" in answer["Cache-Control"]
    assert "Content-Security-Policy" in answer


def test_a_name_that_nobody_has_is_locked_like_any_other() -> None:
    UserFactory.create(username="olga")
    statuses = {
        name: [attempt(name, "wrong") for _ in range(12)]
        for name in ("olga", "nobody-of-that-name")
    }
    assert statuses["olga"] == statuses["nobody-of-that-name"]


@pytest.mark.parametrize(
    ("facts", "name", "password"),
    [
        ({}, "olga", "wrong"),
        ({}, "nobody", "secret"),
        ({"is_active": False}, "olga", "secret"),
        ({"is_staff": False}, "olga", "secret"),
    ],
)
def test_failing_is_one_sentence_and_costs_one_hash_whatever_is_wrong(
    monkeypatch: pytest.MonkeyPatch, facts: dict[str, bool], name: str, password: str
) -> None:
    UserFactory.create(username="olga", **facts)
    hashed: list[str] = []
    hasher = type(hashers.get_hasher())
    encode = hasher.encode

    def counted(self: BasePasswordHasher, password: str, salt: str) -> str:
        hashed.append(password)
        return encode(self, password, salt)

    monkeypatch.setattr(hasher, "encode", counted)
    answer = Client().post(LOGIN, {"username": name, "password": password})
    assert "Please enter the correct username and password" in answer.content.decode()
    assert len(hashed) == 1


@pytest.mark.parametrize("name", ["x" * 5_000, "olga\0", "", "名前" * 200])
def test_no_name_breaks_the_count(name: str) -> None:
    assert {attempt(name, "wrong") for _ in range(11)} <= {200, LOCKED}
    assert Client().get(LOGIN).status_code == 200


def test_a_locked_attempt_costs_few_queries_and_no_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    lock("olga")
    monkeypatch.setattr(hashers, "check_password", None)
    monkeypatch.setattr(hashers, "make_password", None)
    with CaptureQueriesContext(connection) as made:
        assert attempt("olga", "secret") == LOCKED
    assert len(made) <= 4


def test_nobody_edits_the_counts_in_the_admin() -> None:
    assert not [model for model in site._registry if model._meta.app_label == "axes"]
