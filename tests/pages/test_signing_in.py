"""Signing in, failing to, signing out: on record, with the name that was tried and from where."""

import pytest
import time_machine
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from backoffice import people
from backoffice.people import LONGEST_TRIED, printable
from invoices.models import HistoryEvent
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db

LOGIN = "/admin/login/"


def sign_in(client: Client, username: str, password: str = "secret") -> int:
    posted = {"username": username, "password": password, "next": "/admin/"}
    return client.post(LOGIN, posted, REMOTE_ADDR="203.0.113.9").status_code


def only(kind: str) -> HistoryEvent:
    found: HistoryEvent = HistoryEvent.objects.get()
    assert found.kind == kind
    assert found.address == "203.0.113.9"
    return found


def test_signing_in_is_on_record(client: Client) -> None:
    user: User = UserFactory.create(username="ada", role="support")
    assert sign_in(client, "ada") == 302
    assert only("signed_in").actor == user


def test_a_wrong_password_is_on_record_with_the_name_and_nobody_as_actor(client: Client) -> None:
    user: User = UserFactory.create(username="ada")
    assert sign_in(client, "ada", "hunter2-hunter2") == 200
    seen = only("sign_in_failed")
    assert (seen.actor, seen.code, seen.detail) == (None, f"person:{user.pk}", "Tried as “ada”.")
    assert "hunter2" not in repr(HistoryEvent.objects.values())


def test_a_name_that_nobody_has_is_on_record_too(client: Client) -> None:
    assert sign_in(client, "nobody") == 200
    assert (only("sign_in_failed").code, only("sign_in_failed").detail) == (
        "",
        "Tried as “nobody”.",
    )


def test_whoever_fails_on_and_on_does_not_fill_the_record(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "MOST_FAILURES", 3)
    for number in range(5):
        assert sign_in(client, f"nobody {number}") == 200
    noted = [one.detail for one in HistoryEvent.objects.order_by("pk")]
    assert [text.partition("”")[0] for text in noted] == [f"Tried as “nobody {n}" for n in range(3)]
    assert noted[2].endswith(
        "Further failures from this address within the hour are not put on record."
    )
    # From elsewhere, and an hour later, they are.
    client.post(LOGIN, {"username": "x", "password": "y"}, REMOTE_ADDR="203.0.113.10")
    with time_machine.travel(timezone.now() + people.WITHIN * 1.1):
        sign_in(client, "later")
    assert HistoryEvent.objects.count() == 5


@pytest.mark.parametrize("facts", [{"is_active": False}, {"is_staff": False}])
def test_who_may_not_come_in_has_failed_even_with_the_right_password(
    client: Client, facts: dict[str, bool]
) -> None:
    UserFactory.create(username="ada", **facts)
    assert sign_in(client, "ada") == 200
    assert only("sign_in_failed").detail == "Tried as “ada”."


def test_an_empty_form_and_a_look_at_the_page_try_nothing(client: Client) -> None:
    client.get(LOGIN)
    sign_in(client, "", "")
    assert not HistoryEvent.objects.exists()


def test_failing_as_somebody_else_does_not_count_as_signing_in(client: Client) -> None:
    client.force_login(UserFactory.create(username="ada"))
    assert sign_in(client, "bob", "wrong") == 200
    assert only("sign_in_failed").detail == "Tried as “bob”."


def test_what_was_tried_is_cut_and_has_no_control_characters(client: Client) -> None:
    sign_in(client, "a\r\nb\x1b[31m\u202e" + "c" * 10_000)
    detail = only("sign_in_failed").detail
    assert detail.startswith("Tried as “a b[31mccc")
    assert len(detail) <= LONGEST_TRIED + 12


@given(st.text(max_size=300))
def test_a_tried_name_is_one_short_printable_line(typed: str) -> None:
    kept = printable(typed)
    assert len(kept) <= LONGEST_TRIED
    assert kept == "" or kept.isprintable() or kept.replace("\u3000", "").strip()
    assert not set(kept) & set("\r\n\t\0\x1b\u202e\u2028")
    kept.encode()


def test_signing_out_is_on_record_once(client: Client) -> None:
    user: User = UserFactory.create()
    client.force_login(user)
    assert client.get("/admin/logout/").status_code == 405
    assert client.post("/admin/logout/", REMOTE_ADDR="203.0.113.9").status_code == 200
    assert only("signed_out").actor == user
    client.post("/admin/logout/")
    assert HistoryEvent.objects.count() == 1


def test_a_new_password_of_ones_own_is_on_record(client: Client) -> None:
    user: User = UserFactory.create(username="ada")
    client.force_login(user)
    posted = {"old_password": "wrong", "new_password1": "glacier-77-x", "new_password2": "x"}
    client.post("/admin/password_change/", posted)
    assert not HistoryEvent.objects.exists()
    posted = {**posted, "old_password": "secret", "new_password2": "glacier-77-x"}
    client.post("/admin/password_change/", posted, REMOTE_ADDR="203.0.113.9")
    seen = only("user_changed")
    assert (seen.actor, seen.code) == (user, f"person:{user.pk}")
    assert seen.detail == "ada: changed the own password."
    user.refresh_from_db()
    assert user.check_password("glacier-77-x")
