"""Two answers about an invoice, line by line."""

import re
from html import unescape

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from invoices.models import HistoryEvent, Invoice, ProviderRequest
from invoices.payloads import MOST_LINES, SHOWN_BYTES, difference
from tests.factories import InvoiceFactory
from tests.pages.scenes import LIST, QUEUE, attempt, call, login, queries, running, text

pytestmark = pytest.mark.django_db

OPEN = b'{"id":"A","status":"SENT","total":"10.00"}'
GONE = b'{"id":"A","status":"CANCELLED","total":"10.00","at":1}'


def signs(page: str) -> list[str]:
    """The lines that differ, each with its sign."""
    found = re.findall(r"<(del|ins)>.*?aria-hidden.*?</span>(.*?)</(?:del|ins)>", page)
    return [f"{'-' if tag == 'del' else '+'}{unescape(line).strip()}" for tag, line in found]


def compare(client: Client, invoice: Invoice, one: object, two: object) -> str:
    return text(client, f"{LIST}{invoice.pk}/compare/?first={one}&second={two}")


@pytest.fixture
def answers() -> tuple[Invoice, ProviderRequest, ProviderRequest]:
    invoice = InvoiceFactory.create()
    before = call(invoice, purpose="fetch", status=200, body=OPEN)
    return invoice, before, call(invoice, purpose="fetch", status=200, body=GONE)


def test_what_differs_is_shown_with_signs_and_words(
    client: Client, answers: tuple[Invoice, ProviderRequest, ProviderRequest]
) -> None:
    invoice, before, after = answers
    login(client, "auditor")
    page = compare(client, invoice, before.pk, after.pk)
    assert signs(page) == [
        '-"status": "SENT",',
        '-"total": "10.00"',
        '+"status": "CANCELLED",',
        '+"total": "10.00",',
        '+"at": 1',
    ]
    assert "2 lines only in the first, 3 only in the second." in page
    assert page.count("only in the first: ") == 2


def test_comparing_is_on_record_for_both_and_choosing_is_not(
    client: Client, answers: tuple[Invoice, ProviderRequest, ProviderRequest]
) -> None:
    invoice, before, after = answers
    auditor = login(client, "auditor")
    text(client, f"{LIST}{invoice.pk}/compare/")
    assert not HistoryEvent.objects.exists()
    compare(client, invoice, before.pk, after.pk)
    seen = HistoryEvent.objects.order_by("pk")
    assert [(one.actor, one.invoice) for one in seen] == [(auditor, invoice)] * 2
    assert [one.detail.partition(": ")[2] for one in seen] == [
        f"answer compared with that of {after.pk}",
        f"answer compared with that of {before.pk}",
    ]


def test_only_two_different_answers_about_the_invoice_are_compared(
    client: Client, answers: tuple[Invoice, ProviderRequest, ProviderRequest]
) -> None:
    invoice, before, _ = answers
    login(client, "auditor")
    foreign = call(InvoiceFactory.create(account=invoice.account), body=b"of somebody else")
    for second, said in (
        (before.pk, "Choose two different answers."),
        (foreign.pk, "Choose two answers about this invoice."),
        ("x", "Choose two answers about this invoice."),
        ("", "Choose two answers about this invoice."),
    ):
        page = compare(client, invoice, before.pk, second)
        assert said in page
        assert "of somebody else" not in page
    assert not HistoryEvent.objects.exists()


def test_a_single_answer_cannot_be_compared(client: Client) -> None:
    login(client, "auditor")
    invoice = InvoiceFactory.create()
    call(invoice)
    call(invoice, status=None, fault="timeout", complete=False)
    assert "There is nothing to compare yet." in text(client, f"{LIST}{invoice.pk}/compare/")


def test_answers_that_say_the_same_are_said_to(client: Client) -> None:
    login(client, "auditor")
    invoice = InvoiceFactory.create()
    one, two, three = (call(invoice, body=body) for body in (b"[1]", b"[1]", b"[ 1 ]"))
    assert "Both answers say the same." in compare(client, invoice, one.pk, two.pk)
    assert "apart from white space." in compare(client, invoice, one.pk, three.pk)


def test_choosing_takes_the_same_queries_however_many_answers(client: Client) -> None:
    login(client, "auditor")
    invoice = InvoiceFactory.create()
    text(client, LIST)
    counts = []
    for more in (2, 20):
        for _ in range(more):
            call(invoice)
        counts.append(queries(client, f"{LIST}{invoice.pk}/compare/"))
    assert counts[0] == counts[1]


def test_lines_that_look_like_signs_are_not_lost() -> None:
    found = difference(b"-- a\n++ b\n@@ c", b"@@ c\nplain")
    assert [f"{line.sign}{line.text}" for line in found.lines if line.sign != "@"] == [
        "--- a",
        "-++ b",
        " @@ c",
        "+plain",
    ]


@pytest.mark.parametrize(
    "body", [b"[" + b"1," * (MOST_LINES + 10), b'["' + b"x" * SHOWN_BYTES, b"\n" * 5000]
)
def test_what_is_too_long_is_said_to_be_cut(body: bytes) -> None:
    assert difference(body, b"[]").cut
    assert not difference(b"[1]", b"[]").cut


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_any_two_answers_can_be_compared(first: bytes, second: bytes) -> None:
    found = difference(first, second)
    assert not difference(first, first).lines
    back = difference(second, first)
    assert (found.removed == 0) is (back.added == 0)


def test_the_timeline_leads_to_it_from_a_review_too(client: Client) -> None:
    user = login(client, "auditor")
    invoice = InvoiceFactory.create(account=InvoiceFactory.create().account)
    made = attempt(running(user), invoice, "needs_review", code="vanished")
    call(invoice, made)
    for page in (f"{LIST}{invoice.pk}/change/", f"{QUEUE}{made.pk}/change/"):
        assert f'href="{LIST}{invoice.pk}/compare/"' in text(client, page)
