"""One invoice: its facts, one plain sentence, and the timeline with what was sent and came back."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from django.utils.html import strip_tags

from invoices.history import timeline
from invoices.models import CancellationAttempt, CancellationBatch, HistoryEvent, Invoice
from invoices.models.attempt import State
from tests.factories import InvoiceFactory, UserFactory
from tests.pages.scenes import CALLS, LIST, XSS, attempt, call, event, login, queries, running, text

pytestmark = pytest.mark.django_db


def page_of(client: Client, invoice: Invoice) -> str:
    return text(client, f"{LIST}{invoice.pk}/change/")


def sentence(client: Client, invoice: Invoice) -> str:
    found = re.search(r'<p class="sentence">(.*?)</p>', page_of(client, invoice), re.DOTALL)
    assert found
    return re.sub(r"\d\d:\d\d:\d\d UTC", "hh:mm:ss", strip_tags(found[1]).strip())


def one(state: str, *, asked: bool = False, **facts: Any) -> tuple[Invoice, CancellationAttempt]:
    user = UserFactory.create(username="mara", role="operator")
    options = {"paypal": {"notify_payer": False, "notify_merchant": False}}
    invoice = InvoiceFactory.create()
    made = attempt(running(user, options=options), invoice, state, **facts)
    if asked:
        call(invoice, made)
    return invoice, made


def test_an_invoice_nobody_touched_says_so(client: Client) -> None:
    login(client, "support")
    invoice = InvoiceFactory.create()
    assert sentence(client, invoice) == ("Nobody has asked for its cancellation; nothing was sent.")
    assert "Nothing happened yet." in page_of(client, invoice)


def test_a_verified_cancellation_is_told_from_asking_to_verifying(client: Client) -> None:
    login(client, "support")
    invoice, made = one("cancelled", asked=True, verified_at=timezone.now())
    assert sentence(client, invoice) == (
        "Asked PayPal hh:mm:ss; PayPal confirmed hh:mm:ss; verified hh:mm:ss. Customer not "
        f"mailed. Reason: duplicate invoice. Batch {made.batch_id} by mara."
    )


@pytest.mark.parametrize(
    ("state", "asked", "facts", "said"),
    [
        ("cancelled", True, {}, "PayPal confirmed hh:mm:ss; verification pending."),
        (
            "cancelled",
            True,
            {"evidence": "read_back", "verified_at": timezone.now()},
            "Asked PayPal hh:mm:ss; the answer alone did not tell, and reading the invoice",
        ),
        ("already_cancelled", False, {}, "It had been cancelled before, not by us."),
        ("queued", False, {}, "Waiting to be sent; nothing has been sent yet."),
        ("claimed", False, {}, "Waiting to be sent; nothing has been sent yet."),
        ("queued", True, {"code": "rate_limited"}, "not carried out (The provider asked for fewer"),
        ("sending", False, {}, "Being sent just now."),
        ("unknown", True, {"code": "timeout"}, "whether it was carried out is not known. The"),
        ("unknown", True, {"code": "timeout"}, "It is not sent again until reading the invoice"),
        ("accepted", True, {}, "took the request and has not confirmed it yet"),
        ("refused", True, {"code": "paid"}, "PayPal said no: It is paid."),
        ("refused", False, {"code": "not_found"}, "no cancellation was sent: The provider does"),
        ("skipped", False, {"code": "amount_changed"}, "Skipped, and nothing was sent. Its amount"),
        ("failed", False, {"code": "unreachable"}, "Provably not carried out, nothing was sent."),
        ("failed", True, {"code": "rate_limited"}, "provably not carried out. The provider asked"),
        ("withdrawn", False, {}, "Withdrawn by a person before anything was sent."),
        ("needs_review", True, {"code": "vanished"}, "a person has to decide. The provider does"),
    ],
)
def test_each_end_has_its_words(
    client: Client, state: str, asked: bool, facts: dict[str, Any], said: str
) -> None:
    login(client, "support")
    invoice, _ = one(state, asked=asked, **facts)
    assert said in sentence(client, invoice)


@pytest.mark.parametrize("state", [str(s) for s in State if s not in ("draft", "ineligible")])
@pytest.mark.parametrize("asked", [True, False])
def test_no_state_leaves_the_sentence_unfinished(client: Client, state: str, asked: bool) -> None:
    login(client, "support")
    invoice, made = one(state, asked=asked)
    told = sentence(client, invoice)
    assert told.endswith(f"Reason: duplicate invoice. Batch {made.batch_id} by mara.")
    assert "None" not in told
    assert "; ." not in told


def test_a_preview_is_no_attempt(client: Client) -> None:
    login(client, "support")
    invoice, _ = one("ineligible", code="paid")
    assert sentence(client, invoice).startswith("Nobody has asked")


def test_the_timeline_has_events_and_calls_newest_first(client: Client) -> None:
    login(client, "support")
    invoice, made = one("cancelled")
    event(made, "queued")
    call(invoice, made)
    event(made, "cancelled", from_state="sending")
    page = page_of(client, invoice)
    assert page.index("Sending → Cancelled") < page.index("https://provider.example/invoices/")
    for fact in ("HTTP 204", "412 ms", "debug-1", 'class="verb">POST<'):
        assert fact in page


def test_a_call_of_which_nothing_left_is_said_to_be_unsent(client: Client) -> None:
    login(client, "support")
    invoice, made = one("queued")
    call(
        invoice, made, status=None, sent=False, complete=False, fault="dns", detail="No such host."
    )
    page = page_of(client, invoice)
    assert "Nothing was sent: provably no byte left. No such host." in page
    assert "nothing has been sent yet" in sentence(client, invoice)


def test_a_call_without_an_answer_on_record_is_in_doubt(client: Client) -> None:
    login(client, "support")
    invoice, made = one("sending")
    request = call(invoice, made, answered=False)
    page = page_of(client, invoice)
    assert "No answer is on record; it may or may not have been sent." in page
    assert str(request.pk) in page


def test_ten_attempts_are_shown_on_a_page(client: Client) -> None:
    user = login(client, "support")
    invoice = InvoiceFactory.create()
    for number in range(15):
        batch = running(user, created_at=timezone.now() + timedelta(minutes=number))
        made = attempt(batch, invoice, "refused")
        event(made, "refused")
        call(invoice, made)
    first, second = timeline(invoice, 1), timeline(invoice, 2)
    assert (first.pages, len(first.entries), len(second.entries)) == (2, 20, 10)
    assert 'href="?p=2"' in page_of(client, invoice)
    assert timeline(invoice, 99).page == 2


def test_every_event_stands_on_exactly_one_page(client: Client) -> None:
    user = login(client, "support")
    invoice = InvoiceFactory.create()
    for number in range(15):
        at = timezone.now() + timedelta(minutes=10 * number)
        made = attempt(running(user, created_at=at), invoice, "refused")
        event(made, "refused")
        for kind, later in (("invoice_imported", 3), ("invoice_status", 4)):
            HistoryEvent.objects.create(
                kind=kind, invoice=invoice, at=at + timedelta(minutes=later)
            )
    HistoryEvent.objects.create(kind="invoice_imported", invoice=invoice, at="2020-01-01T00:00:00Z")
    seen = [e.event.pk for page in (1, 2) for e in timeline(invoice, page).entries if e.event]
    assert sorted(seen) == sorted(HistoryEvent.objects.values_list("pk", flat=True))


def test_the_page_takes_the_same_queries_however_much_happened(client: Client) -> None:
    user = login(client, "auditor")
    invoice = InvoiceFactory.create()
    text(client, LIST)
    counts = []
    for more in (1, 49):
        for _ in range(more):
            made = attempt(running(user), invoice, "refused")
            event(made, "refused", actor=user)
            for _ in range(4):
                call(invoice, made, body=b"x" * 1000)
        counts.append(queries(client, f"{LIST}{invoice.pk}/change/"))
    assert counts[0] == counts[1]
    page = text(client, f"{LIST}{invoice.pk}/change/")
    assert page.count("<summary>Answer</summary>") == 10 * 4
    assert len(page) < 150_000


def test_whatever_a_provider_or_payer_wrote_stays_text(client: Client) -> None:
    user = login(client, "auditor")
    invoice = InvoiceFactory.create(
        number=XSS, customer_name=XSS, customer_email=XSS, provider_status=XSS[:60], currency="<i>"
    )
    made = attempt(running(user, note=XSS), invoice, "refused", code=XSS[:40], message=XSS)
    event(made, XSS[:20], from_state=XSS[:20], code=XSS[:40], detail=XSS)
    evil: dict[str, Any] = {"fault": XSS[:32], "detail": XSS, "correlation_id": XSS}
    request = call(invoice, made, body=XSS.encode(), status=500, complete=False, **evil)
    other = call(invoice, made, body=b"{}", status=200, complete=True, correlation_id=XSS)
    text(client, f"{CALLS}{request.pk}/payload/request/")
    pages = (
        f"{LIST}{invoice.pk}/change/",
        f"{CALLS}{request.pk}/change/",
        f"{CALLS}{request.pk}/payload/answer/",
        f"{LIST}{invoice.pk}/compare/?first={request.pk}&second={other.pk}",
        CALLS,
        "/admin/invoices/historyevent/",
    )
    for address in pages:
        shown = text(client, address)
        assert "<script>alert" not in shown, address
        assert "<img src=x" not in shown, address


@pytest.mark.parametrize("pk", ["0", "99999", "abc", "9" * 40, "1_2F"])
def test_an_invoice_that_is_not_there_is_said_to_be_missing(client: Client, pk: str) -> None:
    login(client, "support")
    page = client.get(f"{LIST}{pk}/change/", follow=True)
    assert page.status_code == 200
    assert "There is no invoice" in page.content.decode()


@pytest.mark.parametrize("query", ["p=0", "p=x", "p=99999", "p=" + "9" * 40, "_popup=1"])
def test_no_address_breaks_the_page(client: Client, query: str) -> None:
    login(client, "support")
    invoice, _ = one("refused")
    text(client, f"{LIST}{invoice.pk}/change/?{query}")


def test_the_reason_of_a_batch_without_one_is_not_made_up(client: Client) -> None:
    login(client, "support")
    invoice, made = one("refused")
    CancellationBatch.objects.filter(pk=made.batch_id).update(state="draft", reason="")
    assert "Reason: not given." in sentence(client, invoice)
