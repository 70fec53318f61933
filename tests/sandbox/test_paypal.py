"""PayPal's dialect against its reference."""

from __future__ import annotations

import time

import pytest

from providers.sandbox import SandboxServer
from tests.sandbox.conftest import Open

ACCOUNT = "paypal-europe"
INVOICES = "/v2/invoicing/invoices"


def test_cancelling_a_sent_invoice_answers_204_and_it_reads_cancelled(
    sandbox: SandboxServer, at: Open
) -> None:
    paypal, invoice = at(ACCOUNT), sandbox.control.add_invoice(ACCOUNT)
    answer = paypal.cancel(invoice)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["paypal-debug-id"]
    shown = paypal.fetch(invoice).json
    assert shown["status"] == "CANCELLED"
    assert shown["detail"]["metadata"]["cancel_time"].endswith("Z")


def test_a_cancel_at_one_account_leaves_the_other_accounts_invoice_of_the_same_id_alone(
    sandbox: SandboxServer, at: Open
) -> None:
    here, there = (
        sandbox.control.add_invoice(ACCOUNT),
        sandbox.control.add_invoice("paypal-america"),
    )
    assert here == there
    at(ACCOUNT).cancel(here)
    assert sandbox.control.invoice("paypal-america", there)["status"] == "SENT"


@pytest.mark.parametrize(
    ("status", "issue"),
    [
        ("draft", "CANNOT_CANCEL_DRAFT_INVOICE"),
        ("scheduled", "CANNOT_CANCEL_SCHEDULED_INVOICE"),
        ("paid", "CANNOT_CANCEL_PAID_INVOICE"),
        ("partially_paid", "CANNOT_CANCEL_PAID_INVOICE"),
        ("refunded", "CANNOT_CANCEL_REFUNDED_INVOICE"),
        ("cancelled", "INVOICE_CANCELED_ALREADY"),
        ("auto_cancelled", "INVOICE_CANCELED_ALREADY"),
    ],
)
def test_a_status_that_forbids_cancelling_is_refused_with_its_issue(
    sandbox: SandboxServer, at: Open, status: str, issue: str
) -> None:
    invoice = sandbox.control.add_invoice(ACCOUNT, status=status)
    answer = at(ACCOUNT).cancel(invoice)
    assert (answer.status, answer.json["name"]) == (422, "UNPROCESSABLE_ENTITY")
    assert answer.json["details"][0]["issue"] == issue
    assert answer.json["debug_id"] == answer.headers["paypal-debug-id"]
    assert sandbox.control.log()[-1]["applied"] == []


def test_an_unknown_invoice_is_404_and_another_accounts_is_403(
    sandbox: SandboxServer, at: Open
) -> None:
    foreign = sandbox.control.add_invoice("paypal-america", "INV2-AAAA-BBBB-CCCC-DDDD")
    paypal = at(ACCOUNT)
    assert paypal.cancel("INV2-NONE").json["name"] == "RESOURCE_NOT_FOUND"
    assert paypal.cancel(foreign).json["details"][0]["issue"] == "PERMISSION_DENIED"


def test_the_notification_object_is_required_and_checked(sandbox: SandboxServer, at: Open) -> None:
    paypal, path = at(ACCOUNT), f"{INVOICES}/{sandbox.control.add_invoice(ACCOUNT)}/cancel"
    headers = {"Authorization": f"Bearer {paypal.fetch_token()}"}
    assert paypal.raw("POST", path, b"{}", headers).status == 415
    headers["Content-Type"] = "application/json"
    assert paypal.raw("POST", path, b"", headers).status == 400
    too_long = paypal.call("POST", path, {"note": "x" * 4001})
    assert too_long.json["details"][0]["issue"] == "INVALID_STRING_MAX_LENGTH"
    many = paypal.call("POST", path, {"additional_recipients": ["a@b.example"] * 101})
    assert many.json["details"][0]["issue"] == "INVALID_ARRAY_MAX_ITEMS"


def test_who_is_mailed_about_a_cancellation_can_be_seen(sandbox: SandboxServer, at: Open) -> None:
    silent, loud = sandbox.control.add_invoice(ACCOUNT), sandbox.control.add_invoice(ACCOUNT)
    nobody = {"send_to_recipient": False, "send_to_invoicer": False, "additional_recipients": []}
    paypal = at(ACCOUNT)
    assert paypal.call("POST", f"{INVOICES}/{silent}/cancel", nobody).status == 204
    assert paypal.cancel(loud).status == 204
    assert sandbox.control.invoice(ACCOUNT, silent)["extra"]["mails"] == []
    mails = sandbox.control.invoice(ACCOUNT, loud)["extra"]["mails"]
    assert mails == ["recipient:billing@customer.example", "all-cc"]


def test_a_wrong_secret_is_invalid_client_and_a_wrong_token_invalid_token(at: Open) -> None:
    paypal = at(ACCOUNT)
    paypal.credentials["client_secret"] = "wrong"
    refused = paypal.paypal_token()
    assert (refused.status, refused.json["error"]) == (401, "invalid_client")
    answer = paypal.raw("GET", INVOICES, None, {"Authorization": "Bearer A21AA-wrong"})
    assert (answer.status, answer.json["error"]) == (401, "invalid_token")
    assert paypal.raw("GET", INVOICES).json["name"] == "AUTHENTICATION_FAILURE"


def test_the_same_token_is_handed_out_until_it_expires(sandbox: SandboxServer, at: Open) -> None:
    sandbox.control.switch(paypal_token_life=1.2)
    paypal = at(ACCOUNT)
    paypal.token = paypal.fetch_token()
    assert paypal.fetch_token() == paypal.token
    time.sleep(1.3)
    assert paypal.call("GET", INVOICES).status == 401
    assert paypal.fetch_token() != paypal.token


def test_the_token_call_takes_exactly_one_body(at: Open) -> None:
    paypal = at(ACCOUNT)
    pair = "Basic U0FOREJPWC1wYXlwYWwtZXVyb3BlLWNsaWVudDpub3QtYS1yZWFsLXNlY3JldC1ldXJvcGU="
    headers = {"Authorization": pair, "Content-Type": "application/x-www-form-urlencoded"}
    assert paypal.raw("POST", "/v1/oauth2/token", b"grant_type=password", headers).status == 400
    headers["Content-Type"] = "application/json"
    body = b"grant_type=client_credentials"
    assert paypal.raw("POST", "/v1/oauth2/token", body, headers).status == 415


def test_a_list_is_paged_and_its_totals_come_only_when_asked_for(
    sandbox: SandboxServer, at: Open
) -> None:
    made = {sandbox.control.add_invoice(ACCOUNT) for _ in range(25)}
    paypal = at(ACCOUNT)
    first = paypal.call("GET", INVOICES).json
    assert len(first["items"]) == 20
    assert "total_items" not in first
    second = paypal.call("GET", f"{INVOICES}?page=2&page_size=20&total_required=true").json
    assert (second["total_items"], second["total_pages"]) == (25, 2)
    assert {row["id"] for row in first["items"] + second["items"]} == made
    assert paypal.call("GET", f"{INVOICES}?page_size=101").status == 400


def test_list_entries_are_condensed(sandbox: SandboxServer, at: Open) -> None:
    invoice, paypal = sandbox.control.add_invoice(ACCOUNT), at(ACCOUNT)
    entry = paypal.call("GET", INVOICES).json["items"][0]
    assert "items" not in entry
    assert "breakdown" not in entry["amount"]
    assert "breakdown" in paypal.fetch(invoice).json["amount"]


@pytest.mark.parametrize(
    ("currency", "text"), [("EUR", "123.45"), ("JPY", "12345"), ("KWD", "12.345")]
)
def test_amounts_are_text_with_the_currencys_decimals(
    sandbox: SandboxServer, at: Open, currency: str, text: str
) -> None:
    invoice = sandbox.control.add_invoice(ACCOUNT, amount=12345, currency=currency)
    shown = at(ACCOUNT).fetch(invoice).json
    assert shown["amount"]["value"] == shown["due_amount"]["value"] == text


def test_a_search_finds_by_status_list_and_text(sandbox: SandboxServer, at: Open) -> None:
    paid = sandbox.control.add_invoice(ACCOUNT, status="paid", customer="Bäckerei Groß")
    sandbox.control.add_invoice(ACCOUNT)
    paypal = at(ACCOUNT)

    def found(**wanted: object) -> list[str]:
        answer = paypal.call("POST", "/v2/invoicing/search-invoices", wanted)
        return [row["id"] for row in answer.json["items"]]

    assert found(status=["PAID", "REFUNDED"]) == [paid]
    assert found(recipient_business_name="groß") == [paid]
    assert len(found()) == 2
    assert found(creation_date_range={"start": "2999-01-01T00:00:00Z"}) == []
    assert len(found(total_amount_range={"lower_amount": {"value": "123.45"}})) == 2
    assert len(found(total_amount_range={"upper_amount": {"value": "123.44"}})) == 0
    no_range = paypal.call("POST", "/v2/invoicing/search-invoices", {"due_date_range": "2026"})
    assert no_range.status == 400
    assert paypal.call("POST", "/v2/invoicing/search-invoices", {"status": "PAID"}).status == 400


def test_a_share_link_invoice_has_no_mail_address(sandbox: SandboxServer, at: Open) -> None:
    invoice = sandbox.control.add_invoice(ACCOUNT, status="unpaid")
    billing = at(ACCOUNT).fetch(invoice).json["primary_recipients"][0]["billing_info"]
    assert "email_address" not in billing


def test_a_draft_is_deleted_and_a_sent_one_is_not(sandbox: SandboxServer, at: Open) -> None:
    draft = sandbox.control.add_invoice(ACCOUNT, status="draft")
    sent, paypal = sandbox.control.add_invoice(ACCOUNT), at(ACCOUNT)
    assert paypal.call("DELETE", f"{INVOICES}/{draft}").status == 204
    assert paypal.fetch(draft).status == 404
    assert paypal.call("DELETE", f"{INVOICES}/{sent}").status == 422
