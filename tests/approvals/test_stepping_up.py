"""An answer for which a code is asked first: what was typed goes along and is not typed again."""

import json
import re
from binascii import unhexlify
from datetime import UTC, datetime
from html import unescape
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice
from time_machine import TimeMachineFixture

from backoffice import second_factor
from invoices.models import CancellationBatch
from tests.approvals.requests import awaiting, rule
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db

KEY = "31" * 20
NOTE = "Seen with “Olga” & <checked>."
CODE = "/admin/second-factor/code/"
PASSWORD = {"username": "ann", "password": "secret"}


def code() -> str:
    """What the app shows now."""
    return f"{totp(unhexlify(KEY)):06d}"


@pytest.fixture
def batch(time_machine: TimeMachineFixture) -> CancellationBatch:
    """Waits for somebody's yes or no."""
    time_machine.move_to(datetime(2030, 1, 1, 12, tzinfo=UTC), tick=False)
    rule("count", 1)
    return awaiting(UserFactory.create(role="operator", username="olga"))


@pytest.fixture
def ann(batch: CancellationBatch, time_machine: TimeMachineFixture) -> Client:
    """An approver whose last code is ten minutes old."""
    user: User = UserFactory.create(role="approver", username="ann")
    second_factor.enable(user, KEY, code())
    TOTPDevice.objects.update(last_t=0)
    client = Client()
    client.post("/admin/login/", PASSWORD)
    assert client.post(CODE, {"code": code()}).status_code == 302
    time_machine.shift(10 * 60)
    return client


def decide(client: Client, batch: CancellationBatch, do: str) -> Any:
    """Press one of the two buttons; where that leads."""
    form = {"key": str(batch.approval_key), "digest": batch.approval_digest}
    url = f"/admin/invoices/awaitingbatch/{batch.pk}/decide/"
    return client.post(url, {**form, "do": do, "note": NOTE}, follow=True)


def fields(page: Any) -> dict[str, str]:
    """What the page that asks for a code sends along."""
    form = page.content.decode().partition('<form method="post">')[2]
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form)
    return {name: unescape(value) for name, value in found}


def give(client: Client, page: Any, given: str) -> Any:
    """Type a code into that page."""
    url = f"{CODE}?{page.request['QUERY_STRING']}"
    return client.post(url, {**fields(page), "code": given}, follow=True)


@pytest.mark.parametrize(("do", "state"), [("approve", "running"), ("reject", "rejected")])
def test_the_answer_is_taken_with_its_note_as_soon_as_the_code_is_right(
    ann: Client, batch: CancellationBatch, do: str, state: str
) -> None:
    page = decide(ann, batch, do)
    assert page.request["PATH_INFO"] == CODE
    assert "What you chose and typed is kept" in page.content.decode()
    assert fields(page)["note"] == NOTE
    batch.refresh_from_db()
    assert batch.state == "awaiting_approval"
    give(ann, page, code())
    batch.refresh_from_db()
    assert (batch.state, batch.answer_note) == (state, NOTE)


def test_what_was_typed_is_stored_nowhere(ann: Client, batch: CancellationBatch) -> None:
    page = decide(ann, batch, "approve")
    assert "Olga" not in json.dumps(dict(ann.session.items()))
    assert "Olga" not in page.request["QUERY_STRING"]
    assert "no-store" in page["Cache-Control"]


def test_a_wrong_code_takes_nothing_and_keeps_the_note(
    ann: Client, batch: CancellationBatch, time_machine: TimeMachineFixture
) -> None:
    page = give(ann, decide(ann, batch, "approve"), "000000")
    assert (page.status_code, fields(page)["note"]) == (400, NOTE)
    batch.refresh_from_db()
    assert batch.state == "awaiting_approval"
    time_machine.shift(60)
    give(ann, page, code())
    batch.refresh_from_db()
    assert (batch.state, batch.answer_note) == ("running", NOTE)


def test_a_link_from_elsewhere_has_nothing_sent(ann: Client, batch: CancellationBatch) -> None:
    forged = quote(f"/admin/invoices/awaitingbatch/{batch.pk}/decide/")
    made = {"code": code(), "do": "approve", "note": NOTE, "next": "/admin/"}
    assert ann.post(f"{CODE}?then={forged}", made)["Location"] == "/admin/"


def test_another_persons_way_on_is_none(
    ann: Client, batch: CancellationBatch, time_machine: TimeMachineFixture
) -> None:
    page = decide(ann, batch, "approve")
    then = parse_qs(urlsplit(f"?{page.request['QUERY_STRING']}").query)["then"][0]
    UserFactory.create(role="approver", username="bob")
    TOTPDevice.objects.update(user=User.objects.get(username="bob"), last_t=0)
    other = Client()
    other.post("/admin/login/", {**PASSWORD, "username": "bob"})
    assert other.post(CODE, {"code": code()}).status_code == 302
    time_machine.shift(60)
    posted = {"code": code(), "do": "approve"}
    assert other.post(f"{CODE}?then={quote(then)}", posted)["Location"] == "/admin/"


def test_the_address_alone_brings_no_form(ann: Client, batch: CancellationBatch) -> None:
    page = decide(ann, batch, "approve")
    again = ann.get(f"{CODE}?{page.request['QUERY_STRING']}")
    assert "What you chose" not in again.content.decode()
    assert give(ann, again, code()).status_code == 200
    batch.refresh_from_db()
    assert batch.state == "awaiting_approval"
