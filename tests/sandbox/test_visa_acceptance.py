"""Visa Acceptance's dialect, above all its signatures."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import pytest

from providers.sandbox import SandboxServer
from providers.sandbox.dialects.visa_signatures import (
    Key,
    Signed,
    http_signature_fault,
    jwt_fault,
    signing_string,
)
from tests.sandbox.client import Client, jws
from tests.sandbox.conftest import Open

ACCOUNT = "visa-harbour"
INVOICES = "/invoicing/v2/invoices"

# Values produced by CyberSource's Python SDK 0.0.80 for a made-up key.
SDK_KEY = Key(
    "backoffice_test_mid",
    "11111111-2222-4333-8444-555555555555",
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
)
SDK_HOST = "apitest.visaacceptance.com"
SDK_DATE = "Fri, 20 Nov 2026 09:00:00 GMT"
SDK_NOW = 1795165200
SDK_TARGET = "/invoicing/v2/invoices/2675/cancelation"
SDK_DIGEST = "RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o="
SDK_JWT = (
    "eyJhbGciOiJIUzI1NiIsImtpZCI6IjExMTExMTExLTIyMjItNDMzMy04NDQ0LTU1NTU1NTU1NTU1NSIsInR5cCI6"
    "IkpXVCJ9.eyJkaWdlc3QiOiJSQk52bzFXelo0b1JScTBXOStoa25wVDdUOElmNTM2REVNQmc5aHlxLzRvPSIsImRp"
    "Z2VzdEFsZ29yaXRobSI6IlNIQS0yNTYiLCJleHAiOjE3OTUxNjUzMjAsImlhdCI6MTc5NTE2NTIwMCwiaXNzIjoi"
    "YmFja29mZmljZV90ZXN0X21pZCIsImp0aSI6ImFhYWFhYWFhLWJiYmItNGNjYy04ZGRkLWVlZWVlZWVlZWVlZSIs"
    "InJlcXVlc3QtaG9zdCI6ImFwaXRlc3QudmlzYWFjY2VwdGFuY2UuY29tIiwicmVxdWVzdC1tZXRob2QiOiJQT1NU"
    "IiwicmVxdWVzdC1yZXNvdXJjZS1wYXRoIjoiL2ludm9pY2luZy92Mi9pbnZvaWNlcy8yNjc1L2NhbmNlbGF0aW9u"
    "Iiwidi1jLWp3dC12ZXJzaW9uIjoiMiIsInYtYy1tZXJjaGFudC1pZCI6ImJhY2tvZmZpY2VfdGVzdF9taWQifQ"
    ".49OBUTshZFViau-EzGpQEJietp_y4Jhpba7Vhe2Pq_4"
)


def sdk_signed(body: bytes = b"{}") -> Signed:
    return Signed("POST", SDK_TARGET, SDK_HOST, body)


def sdk_headers(method: str, signature: str) -> dict[str, str]:
    digest = "digest " if method == "POST" else ""
    return {
        "date": SDK_DATE,
        "digest": f"SHA-256={SDK_DIGEST}",
        "v-c-merchant-id": SDK_KEY.merchant_id,
        "signature": (
            f'keyid="{SDK_KEY.key_id}", algorithm="HmacSHA256",'
            f' headers="host date request-target {digest}v-c-merchant-id",'
            f' signature="{signature}"'
        ),
    }


@pytest.mark.parametrize(
    ("method", "target", "body", "signature"),
    [
        ("POST", SDK_TARGET, b"{}", "hKjsHh+EME6uFgl/2te5R8MP1O7f/xbGqCIGEHlauTM="),
        ("GET", f"{INVOICES}/2675", b"", "D4xGjREG7B3Dov6Vl8cctvDk/cP4JhJAmCgj94qmsEQ="),
        (
            "GET",
            f"{INVOICES}?offset=0&limit=100&status=SENT",
            b"",
            "+GCR6WZ97iOvFZLhZeZFOoWFgAn5hXRYaNuj4uVFJSU=",
        ),
    ],
)
def test_the_signatures_of_the_official_sdk_are_good(
    method: str, target: str, body: bytes, signature: str
) -> None:
    signed = Signed(method, target, SDK_HOST, body)
    headers = sdk_headers(method, signature)
    assert http_signature_fault(headers, signed, SDK_KEY, SDK_NOW, 300) is None
    assert http_signature_fault(headers, signed, SDK_KEY, SDK_NOW + 301, 300) == "date"


def test_the_signing_string_is_that_of_the_official_sdk() -> None:
    assert signing_string(SDK_HOST, sdk_headers("POST", ""), sdk_signed()) == (
        "host: apitest.visaacceptance.com\n"
        "date: Fri, 20 Nov 2026 09:00:00 GMT\n"
        "request-target: post /invoicing/v2/invoices/2675/cancelation\n"
        "digest: SHA-256=RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=\n"
        "v-c-merchant-id: backoffice_test_mid"
    )


def test_the_jwt_of_the_official_sdk_is_good_for_its_request_and_its_time_only() -> None:
    assert jwt_fault(SDK_JWT, sdk_signed(), SDK_KEY, SDK_NOW + 1, 300) is None
    assert jwt_fault(SDK_JWT, sdk_signed(), SDK_KEY, SDK_NOW + 121, 300) == "exp"
    assert jwt_fault(SDK_JWT, sdk_signed(b"{ }"), SDK_KEY, SDK_NOW, 300) == "digest"
    assert jwt_fault(SDK_JWT[:-2] + "xx", sdk_signed(), SDK_KEY, SDK_NOW, 300) == "signature"


def test_cancelling_answers_200_with_the_whole_invoice_and_a_self_link_only(
    sandbox: SandboxServer, at: Open
) -> None:
    visa, invoice = at(ACCOUNT), sandbox.control.add_invoice(ACCOUNT)
    answer = visa.cancel(invoice)
    assert (answer.status, answer.json["status"]) == (200, "CANCELED")
    assert list(answer.json["_links"]) == ["self"]
    assert answer.headers["v-c-correlation-id"]
    shown = visa.fetch(invoice).json
    assert shown["status"] == "CANCELED"
    assert shown["invoiceHistory"][0]["event"] == "CANCEL"


@pytest.mark.parametrize("status", ["paid", "partially_paid", "cancelled", "payment_pending"])
def test_what_cannot_be_cancelled_is_400_action_not_allowed(
    sandbox: SandboxServer, at: Open, status: str
) -> None:
    answer = at(ACCOUNT).cancel(sandbox.control.add_invoice(ACCOUNT, status=status))
    assert (answer.status, answer.json["reason"]) == (400, "ACTION_NOT_ALLOWED")


@pytest.mark.parametrize("status", ["draft", "created", "open"])
def test_what_is_unpaid_can_be_cancelled(sandbox: SandboxServer, at: Open, status: str) -> None:
    assert at(ACCOUNT).cancel(sandbox.control.add_invoice(ACCOUNT, status=status)).status == 200


def test_an_unknown_invoice_is_404(at: Open) -> None:
    answer = at(ACCOUNT).cancel("999")
    assert (answer.status, answer.json["message"]) == (404, "Invoice does not exist.")


def test_an_http_signature_is_good_with_the_port_in_the_host(
    sandbox: SandboxServer, at: Open
) -> None:
    visa, path = at(ACCOUNT), f"{INVOICES}/{sandbox.control.add_invoice(ACCOUNT)}/cancelation"
    headers = {**visa.signature("POST", path, b"{}"), "Content-Type": "application/json"}
    assert visa.raw("POST", path, b"{}", headers).status == 200


def test_an_old_date_a_changed_path_and_a_changed_body_are_401(at: Open) -> None:
    visa, path = at(ACCOUNT), f"{INVOICES}?offset=0&limit=5"
    old = visa.signature("GET", path, b"", formatdate(time.time() - 360, usegmt=True))
    assert_unauthorized(visa, "GET", path, None, old)
    other = visa.signature("GET", f"{INVOICES}?offset=0&limit=6", b"")
    assert_unauthorized(visa, "GET", path, None, other)
    signed = visa.signature("POST", f"{INVOICES}/1/cancelation", b"{}")
    assert_unauthorized(visa, "POST", f"{INVOICES}/1/cancelation", b"{ }", signed)


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1},
        {"iat": 1},
        {"request_host": "elsewhere.example"},
        {"request_method": "PUT"},
        {"request_resource_path": INVOICES},
        {"v_c_merchant_id": "another"},
        {"iss": "another"},
        {"v_c_jwt_version": "1"},
        {"jti": ""},
    ],
)
def test_a_jwt_with_one_wrong_claim_is_401(at: Open, claims: dict[str, Any]) -> None:
    visa, path = at(ACCOUNT), f"{INVOICES}/1"
    token = visa.jwt("GET", path, b"", **claims)
    assert_unauthorized(visa, "GET", path, None, {"Authorization": f"Bearer {token}"})


def test_a_jwt_signed_with_another_key_or_by_no_algorithm_is_401(at: Open) -> None:
    visa, path = at(ACCOUNT), f"{INVOICES}/1"
    visa.credentials["shared_secret"] = "d3Jvbmc="
    forged = visa.jwt("GET", path, b"")
    assert_unauthorized(visa, "GET", path, None, {"Authorization": f"Bearer {forged}"})
    none = jws(visa.credentials["key_id"], "d3Jvbmc=", {}, alg="none")
    assert_unauthorized(visa, "GET", path, None, {"Authorization": f"Bearer {none}"})
    assert_unauthorized(visa, "GET", path, None, {})


def assert_unauthorized(
    visa: Client, method: str, path: str, body: bytes | None, headers: dict[str, str]
) -> None:
    answer = visa.raw(method, path, body, headers)
    assert answer.status == 401
    assert answer.json == {"response": {"rmsg": "Authentication Failed"}}


def test_a_jwt_is_good_without_the_port_in_the_host(at: Open) -> None:
    visa, path = at(ACCOUNT), f"{INVOICES}/1"
    token = visa.jwt("GET", path, b"", request_host="127.0.0.1")
    assert visa.raw("GET", path, None, {"Authorization": f"Bearer {token}"}).status == 404


def test_a_list_needs_offset_and_limit_and_counts_invoices(
    sandbox: SandboxServer, at: Open
) -> None:
    made = [sandbox.control.add_invoice(ACCOUNT, age_days=day) for day in range(5)]
    visa = at(ACCOUNT)
    assert visa.call("GET", INVOICES).status == 400
    assert visa.call("GET", f"{INVOICES}?offset=0&limit=1001").status == 400
    shown = visa.call("GET", f"{INVOICES}?offset=3&limit=2").json
    assert [row["id"] for row in shown["invoices"]] == made[3:]
    assert shown["totalInvoices"] == 5
    assert "next" not in shown["_links"]


def test_a_list_filters_by_one_known_status(sandbox: SandboxServer, at: Open) -> None:
    paid = sandbox.control.add_invoice(ACCOUNT, status="paid")
    sandbox.control.add_invoice(ACCOUNT)
    visa = at(ACCOUNT)
    shown = visa.call("GET", f"{INVOICES}?offset=0&limit=10&status=PAID").json["invoices"]
    assert [row["id"] for row in shown] == [paid]
    unknown = visa.call("GET", f"{INVOICES}?offset=0&limit=10&status=OVERDUE")
    assert unknown.json["message"] == "Invalid invoice status"


def test_an_empty_list_is_404_or_an_empty_page_by_switch(sandbox: SandboxServer, at: Open) -> None:
    visa, path = at(ACCOUNT), f"{INVOICES}?offset=0&limit=10"
    assert visa.call("GET", path).json["message"] == "No invoices found."
    sandbox.control.switch(visa_empty_list=200)
    assert visa.call("GET", path).json["invoices"] == []


def test_list_entries_lack_mail_balance_and_history(sandbox: SandboxServer, at: Open) -> None:
    sandbox.control.add_invoice(ACCOUNT)
    entry = at(ACCOUNT).call("GET", f"{INVOICES}?offset=0&limit=1").json["invoices"][0]
    assert set(entry["customerInformation"]) == {"name"}
    assert "balanceAmount" not in entry["orderInformation"]["amountDetails"]
    assert "invoiceHistory" not in entry
    assert "createdDate" not in entry


def test_amounts_are_numbers_or_text_by_switch(sandbox: SandboxServer, at: Open) -> None:
    invoice = sandbox.control.add_invoice(ACCOUNT, amount=86050, status="partially_paid", paid=50)
    visa = at(ACCOUNT)
    amounts = visa.fetch(invoice).json["orderInformation"]["amountDetails"]
    assert (amounts["totalAmount"], amounts["balanceAmount"]) == (860.5, 860.0)
    sandbox.control.switch(visa_amounts="string")
    amounts = visa.fetch(invoice).json["orderInformation"]["amountDetails"]
    assert amounts["totalAmount"] == "860.50"


def test_invoicing_that_is_not_enabled_is_a_400_of_its_own(
    sandbox: SandboxServer, at: Open
) -> None:
    sandbox.control.switch(visa_invoicing_enabled=False)
    answer = at(ACCOUNT).fetch(sandbox.control.add_invoice(ACCOUNT))
    assert (answer.status, answer.json["message"]) == (400, "Invoicing service is not enabled.")
