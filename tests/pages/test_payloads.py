"""Raw requests and answers: for auditors, loaded when opened, exact to download, on record."""

import pytest
from django.test import Client

from invoices.models import CancellationAttempt, HistoryEvent, Invoice, ProviderRequest
from tests.factories import InvoiceFactory, UserFactory
from tests.pages.scenes import CALLS, LIST, attempt, call, login, running, text

pytestmark = pytest.mark.django_db


def one(**facts: object) -> tuple[Invoice, CancellationAttempt, ProviderRequest]:
    invoice = InvoiceFactory.create()
    made = attempt(running(UserFactory.create()), invoice, "cancelled")
    return invoice, made, call(invoice, made, **facts)  # type: ignore[arg-type]


def looks() -> list[str]:
    seen = HistoryEvent.objects.filter(kind="payload_viewed").order_by("pk")
    return [detail.partition(": ")[2] for detail in seen.values_list("detail", flat=True)]


@pytest.mark.parametrize("role", ["operator", "approver", "support", "administrator"])
def test_payloads_are_neither_shown_nor_offered_without_the_permission(
    client: Client, role: str
) -> None:
    invoice, _, request = one(body=b'{"secret": "of the payer"}')
    login(client, role)
    page = text(client, f"{LIST}{invoice.pk}/change/")
    for part in ("of the payer", "data-unfold", "Compare two answers"):
        assert part not in page
    for part in ("payload/request/", "payload/answer/", "request.txt", "request-head.txt"):
        assert client.get(f"{CALLS}{request.pk}/{part}").status_code == 403
    for part in ("answer.txt", "answer-head.txt", "change/"):
        assert client.get(f"{CALLS}{request.pk}/{part}").status_code == 403
    assert client.get(f"{LIST}{invoice.pk}/compare/").status_code == 403
    assert looks() == []


def test_a_side_is_loaded_only_when_opened_and_that_is_put_on_record(client: Client) -> None:
    invoice, made, request = one(body=b'{"name": "of the payer"}')
    auditor = login(client, "auditor")
    page = text(client, f"{LIST}{invoice.pk}/change/")
    for side in ("request", "answer"):
        assert f'data-unfold="{CALLS}{request.pk}/payload/{side}/"' in page
    assert "of the payer" not in page
    assert looks() == []
    assert "of the payer" not in text(client, f"{CALLS}{request.pk}/payload/request/")
    shown = text(client, f"{CALLS}{request.pk}/payload/answer/")
    assert "of the payer" in shown
    assert looks() == ["request opened", "answer opened"]
    seen = HistoryEvent.objects.filter(kind="payload_viewed").latest("pk")
    assert (seen.actor, seen.invoice, seen.attempt) == (auditor, invoice, made)
    assert seen.address == "127.0.0.1"


def test_what_was_masked_is_marked_as_masked(client: Client) -> None:
    _, _, request = one()
    login(client, "auditor")
    shown = text(client, f"{CALLS}{request.pk}/payload/request/")
    assert 'class="masked" title="Masked before it was stored">[masked 48 chars' in shown


def test_a_body_is_shown_indented_and_as_it_was_stored(client: Client) -> None:
    _, _, request = one(body=b'{"a":1,"a":1e999}')
    login(client, "auditor")
    shown = text(client, f"{CALLS}{request.pk}/payload/answer/")
    assert '{\n  <span class="k">&quot;a&quot;</span>: ' in shown
    assert "{&quot;a&quot;:1,&quot;a&quot;:1e999}" in shown


def test_opening_a_call_about_many_is_on_record_for_each(client: Client) -> None:
    invoice, _, request = one()
    other = InvoiceFactory.create(account=invoice.account)
    request.subjects.create(invoice=other)
    login(client, "auditor")
    text(client, f"{CALLS}{request.pk}/change/")
    seen = HistoryEvent.objects.filter(kind="payload_viewed").values_list("invoice_id", flat=True)
    assert sorted(seen) == sorted([invoice.pk, other.pk])
    assert set(looks()) == {"request and answer opened"}


def test_the_exact_bytes_can_be_downloaded_and_are_only_ever_text(client: Client) -> None:
    body = b'\x00\xff{"a": 1e999, "a": "\xd8"}\r\n<script>'
    _, _, request = one(body=body)
    login(client, "auditor")
    for part, expected in (
        ("request.txt", b'{"send_to_recipient": false}'),
        (
            "request-head.txt",
            b"POST %s\r\nAuthorization: [masked 48 chars sha256:0b762ede]\r\n\r\n"
            % request.url.encode(),
        ),
        ("answer.txt", body),
        ("answer-head.txt", b"HTTP 204\r\nPaypal-Debug-Id: debug-1\r\n\r\n"),
    ):
        answer = client.get(f"{CALLS}{request.pk}/{part}")
        assert answer.content == expected
        assert answer["Content-Type"].startswith("text/plain")
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert "no-store" in answer["Cache-Control"]
        side, _, head = part.removesuffix(".txt").partition("-")
        name = f"paypal-{request.pk}-{side}-{head or 'body'}.txt"
        assert answer["Content-Disposition"] == f'attachment; filename="{name}"'
    assert looks() == [
        "body of the request downloaded",
        "head of the request downloaded",
        "body of the answer downloaded",
        "head of the answer downloaded",
    ]


def test_what_is_not_there_is_not_found_and_nobody_looked(client: Client) -> None:
    _, _, request = one(answered=False)
    login(client, "auditor")
    for part in ("answer.txt", "answer-head.txt", "payload/both/", "both.txt"):
        assert client.get(f"{CALLS}{request.pk}/{part}").status_code == 404
    assert looks() == []
    assert "No answer is on record." in text(client, f"{CALLS}{request.pk}/change/")


def test_a_payload_is_only_read_by_get(client: Client) -> None:
    _, _, request = one()
    login(client, "auditor")
    for part in ("payload/answer/", "answer.txt", "request-head.txt"):
        assert client.post(f"{CALLS}{request.pk}/{part}").status_code == 403
    assert looks() == []


def test_looking_stands_beside_the_timeline_for_those_who_may_know(client: Client) -> None:
    invoice, _, request = one()
    auditor = login(client, "auditor", username="nosy")
    text(client, f"{CALLS}{request.pk}/payload/answer/")
    page = text(client, f"{LIST}{invoice.pk}/change/")
    timeline, _, looked = page.partition("Who looked")
    assert "Raw payload opened" not in timeline
    assert f"{auditor} from" in looked
    assert "127.0.0.1" in looked
    login(client, "support")
    page = text(client, f"{LIST}{invoice.pk}/change/")
    assert "nosy" not in page
    assert "Who looked" not in page


def test_addresses_of_people_are_for_auditors_and_administrators(client: Client) -> None:
    invoice, made, _ = one()
    mara = UserFactory.create(username="mara")
    HistoryEvent.objects.create(
        kind="batch_state", invoice=invoice, attempt=made, actor=mara, address="203.0.113.9"
    )
    for role, sees in (
        ("auditor", True),
        ("administrator", True),
        ("support", False),
        ("operator", False),
        ("approver", False),
    ):
        login(client, role)
        page = text(client, f"{LIST}{invoice.pk}/change/")
        assert "mara" in page
        assert ("203.0.113.9" in page) is sees, role
