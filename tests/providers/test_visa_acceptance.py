"""Visa Acceptance: signatures by known vectors, everything else against sandbox and script."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.adapters import visa_acceptance
from providers.adapters.base import Found, Page, RemoteInvoice, Status
from providers.adapters.visa_acceptance import VisaAcceptance, jwt_headers, signature_headers
from providers.errors import (
    CredentialsRejected,
    NotSent,
    OutcomeUnknown,
    ProviderError,
    ReadToDecide,
    Refused,
    TryLater,
)
from providers.exchange import Wire
from providers.sandbox import running
from providers.sandbox.credentials import CREDENTIALS
from providers.sandbox.running import SandboxServer
from tests.providers.scripted import Asked, Kept, Reply, Scripted, scripted, speaking

ACCOUNT = "visa-harbour"
ID = "2675"
INVOICE: dict[str, Any] = {
    "id": ID,
    "submitTimeUtc": "2026-11-20T09:00:02.410896558Z",
    "status": "SENT",
    "customerInformation": {
        "name": "Ines Okafor",
        "email": "ines@example.com",
        "company": {"name": "Okafor Ltd"},
    },
    "invoiceInformation": {"invoiceNumber": "R-17", "dueDate": "2026-12-15"},
    "orderInformation": {
        "amountDetails": {"totalAmount": 860.5, "currency": "EUR", "balanceAmount": "60.50"}
    },
    "invoiceHistory": [
        {"event": "SEND", "date": "2026-11-03T10:11:19.09Z"},
        {"event": "CREATE", "date": "2026-11-02T10:11:18.76Z"},
    ],
}
CANCELED = INVOICE | {"status": "CANCELED"}

Adapted = tuple[VisaAcceptance, Kept]

# Made-up key; the values were produced by the official Python SDK
# (cybersource-rest-client-python 0.0.80) with its clock and network patched.
KEY = {
    "merchant_id": "backoffice_test_mid",
    "key_id": "11111111-2222-4333-8444-555555555555",
    "shared_secret": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
}
HOST = "apitest.visaacceptance.com"
DATE = "Fri, 20 Nov 2026 09:00:00 GMT"
IAT, JTI = 1795165200, "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
CANCEL = Wire("POST", HOST, "/invoicing/v2/invoices/2675/cancelation", b"{}")
GET = Wire("GET", HOST, "/invoicing/v2/invoices/2675", b"")
LIST = Wire("GET", HOST, "/invoicing/v2/invoices?offset=0&limit=100&status=SENT", b"")
DIGEST = "RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o="
TOKENS = {
    CANCEL: "eyJhbGciOiJIUzI1NiIsImtpZCI6IjExMTExMTExLTIyMjItNDMzMy04NDQ0LTU1NTU1NTU1NTU1NSIsInR5cC"
    "I6IkpXVCJ9.eyJkaWdlc3QiOiJSQk52bzFXelo0b1JScTBXOStoa25wVDdUOElmNTM2REVNQmc5aHlxLzRvPSIsImRp"
    "Z2VzdEFsZ29yaXRobSI6IlNIQS0yNTYiLCJleHAiOjE3OTUxNjUzMjAsImlhdCI6MTc5NTE2NTIwMCwiaXNzIjoiYmF"
    "ja29mZmljZV90ZXN0X21pZCIsImp0aSI6ImFhYWFhYWFhLWJiYmItNGNjYy04ZGRkLWVlZWVlZWVlZWVlZSIsInJlcX"
    "Vlc3QtaG9zdCI6ImFwaXRlc3QudmlzYWFjY2VwdGFuY2UuY29tIiwicmVxdWVzdC1tZXRob2QiOiJQT1NUIiwicmVxd"
    "WVzdC1yZXNvdXJjZS1wYXRoIjoiL2ludm9pY2luZy92Mi9pbnZvaWNlcy8yNjc1L2NhbmNlbGF0aW9uIiwidi1jLWp3"
    "dC12ZXJzaW9uIjoiMiIsInYtYy1tZXJjaGFudC1pZCI6ImJhY2tvZmZpY2VfdGVzdF9taWQifQ.49OBUTshZFViau-E"
    "zGpQEJietp_y4Jhpba7Vhe2Pq_4",
    LIST: "eyJhbGciOiJIUzI1NiIsImtpZCI6IjExMTExMTExLTIyMjItNDMzMy04NDQ0LTU1NTU1NTU1NTU1NSIsInR5cCI6"
    "IkpXVCJ9.eyJleHAiOjE3OTUxNjUzMjAsImlhdCI6MTc5NTE2NTIwMCwiaXNzIjoiYmFja29mZmljZV90ZXN0X21pZC"
    "IsImp0aSI6ImFhYWFhYWFhLWJiYmItNGNjYy04ZGRkLWVlZWVlZWVlZWVlZSIsInJlcXVlc3QtaG9zdCI6ImFwaXRlc"
    "3QudmlzYWFjY2VwdGFuY2UuY29tIiwicmVxdWVzdC1tZXRob2QiOiJHRVQiLCJyZXF1ZXN0LXJlc291cmNlLXBhdGgi"
    "OiIvaW52b2ljaW5nL3YyL2ludm9pY2VzP29mZnNldD0wJmxpbWl0PTEwMCZzdGF0dXM9U0VOVCIsInYtYy1qd3QtdmV"
    "yc2lvbiI6IjIiLCJ2LWMtbWVyY2hhbnQtaWQiOiJiYWNrb2ZmaWNlX3Rlc3RfbWlkIn0.wzWTPCxbyBXYK6UJ1O6d8b"
    "lvhwL3EqArmqDFSBOLYFU",
}


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with running() as started:
        yield started


@pytest.fixture
def sandbox(server: SandboxServer) -> Iterator[SandboxServer]:
    before = server.control.switches()
    server.control.reset()
    yield server
    server.control.switch(**before)


@pytest.fixture(params=["jwt", "http_signature"])
def adapted(request: pytest.FixtureRequest, sandbox: SandboxServer) -> Iterator[Adapted]:
    with at(sandbox, request.param) as pair:
        yield pair


def at(
    sandbox: SandboxServer, authentication: str = "jwt", **credentials: str
) -> AbstractContextManager[Adapted]:
    return speaking(
        VisaAcceptance,
        f"{sandbox.origin}/visa_acceptance",
        CREDENTIALS[ACCOUNT] | credentials,
        {"authentication": authentication},
    )


def against(provider: Scripted) -> AbstractContextManager[Adapted]:
    return speaking(VisaAcceptance, provider.url, KEY)


def cancel(adapter: VisaAcceptance, reference: str = ID) -> None:
    (answer,) = adapter.cancel([reference], {}).values()
    assert (answer.confirmed, answer.proven) == (True, True)


def outcome_of(answer: Reply) -> ProviderError:
    """What a cancel raises when it is answered in this way."""
    with (
        scripted(lambda asked: answer) as provider,
        against(provider) as (adapter, _),
        pytest.raises(ProviderError) as caught,
    ):
        adapter.cancel([ID], {})
    return caught.value


def read(raw: Any) -> RemoteInvoice:
    """The invoice as a read of it understands it."""
    with scripted(lambda asked: Reply(200, raw)) as provider, against(provider) as (adapter, _):
        return adapter.fetch([ID]).invoices[ID]


# Signatures


def decoded(segment: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))


def verified(token: str) -> dict[str, Any]:
    """The claims of a token, after its HMAC was checked with the vector's key."""
    header, claims, signature = token.split(".")
    expected = hmac.digest(bytes(range(32)), f"{header}.{claims}".encode(), "sha256")
    assert base64.urlsafe_b64encode(expected).rstrip(b"=").decode() == signature
    assert decoded(header) == {"alg": "HS256", "kid": KEY["key_id"], "typ": "JWT"}
    found: dict[str, Any] = decoded(claims)
    return found


@pytest.mark.parametrize("wire", TOKENS, ids=["cancel", "list"])
def test_a_jwt_claims_and_signs_what_the_official_one_does(wire: Wire) -> None:
    headers = dict(jwt_headers(wire, KEY, IAT, JTI))
    scheme, _, token = headers.pop("Authorization").partition(" ")
    assert scheme == "Bearer"
    assert headers == {}
    assert verified(token) == verified(TOKENS[wire])


@pytest.mark.parametrize(
    ("wire", "signature", "signed"),
    [
        (CANCEL, "hKjsHh+EME6uFgl/2te5R8MP1O7f/xbGqCIGEHlauTM=", "request-target digest"),
        (GET, "D4xGjREG7B3Dov6Vl8cctvDk/cP4JhJAmCgj94qmsEQ=", "request-target"),
        (LIST, "+GCR6WZ97iOvFZLhZeZFOoWFgAn5hXRYaNuj4uVFJSU=", "request-target"),
    ],
    ids=["cancel", "get", "list"],
)
def test_an_http_signature_is_the_official_one(wire: Wire, signature: str, signed: str) -> None:
    headers = dict(signature_headers(wire, KEY, DATE))
    assert headers.pop("Signature") == (
        f'keyid="{KEY["key_id"]}", algorithm="HmacSHA256",'
        f' headers="host date {signed} v-c-merchant-id", signature="{signature}"'
    )
    digest = {"Digest": f"SHA-256={DIGEST}"} if wire.body else {}
    assert headers == {"Date": DATE, "v-c-merchant-id": KEY["merchant_id"]} | digest


def test_a_host_with_a_port_is_signed_as_it_is_sent() -> None:
    wire = Wire("GET", "127.0.0.1:8999", "/visa_acceptance/invoicing/v2/invoices/1", b"")
    token = jwt_headers(wire, KEY, IAT, JTI)["Authorization"].partition(" ")[2]
    assert verified(token)["request-host"] == "127.0.0.1:8999"
    assert verified(token)["request-resource-path"] == wire.target


@given(st.binary(max_size=40))
def test_the_bytes_that_are_sent_are_the_bytes_that_are_signed(body: bytes) -> None:
    wire = Wire("POST", HOST, "/x", body)
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    assert signature_headers(wire, KEY, DATE)["Digest"] == f"SHA-256={digest}"
    token = jwt_headers(wire, KEY, IAT, JTI)["Authorization"].partition(" ")[2]
    assert verified(token)["digest"] == digest


@pytest.mark.parametrize("secret", ["", "not base64!", "abc", "\u00e4\u00f6", "AAEC AwQF", "===="])
@pytest.mark.parametrize("authentication", ["jwt", "http_signature"])
def test_a_secret_that_is_no_base64_is_told_before_anything_is_sent(
    sandbox: SandboxServer, secret: str, authentication: str
) -> None:
    with (
        at(sandbox, authentication, shared_secret=secret) as (adapter, kept),
        pytest.raises(CredentialsRejected, match="nothing was sent"),
    ):
        cancel(adapter)
    assert kept.requests == []
    assert sandbox.control.log() == []


def test_a_secret_pasted_with_a_line_end_is_the_same_secret(sandbox: SandboxServer) -> None:
    secret = CREDENTIALS[ACCOUNT]["shared_secret"]
    with at(sandbox, shared_secret=f" {secret}\n") as (adapter, _):
        adapter.check()


@pytest.mark.parametrize("authentication", ["jwt", "http_signature"])
@pytest.mark.parametrize("wrong", [{"shared_secret": "QUJDRA=="}, {"key_id": "other"}])
def test_a_wrong_key_is_rejected_after_one_more_signature(
    sandbox: SandboxServer, authentication: str, wrong: dict[str, str]
) -> None:
    reference = sandbox.control.add_invoice(ACCOUNT)
    with (
        at(sandbox, authentication, **wrong) as (adapter, kept),
        pytest.raises(CredentialsRejected, match="Authentication Failed"),
    ):
        cancel(adapter, reference)
    assert kept.purposes == ["cancel", "cancel"]
    assert sandbox.control.invoice(ACCOUNT, reference)["status"] == "SENT"


def test_the_second_attempt_after_a_401_is_signed_afresh() -> None:
    def script(asked: Asked) -> Reply:
        first = len(provider.asked) == 1
        return Reply(401, {"response": {"rmsg": "Authentication Failed"}}) if first else answer

    answer = Reply(200, CANCELED)
    with scripted(script) as provider, against(provider) as (adapter, _):
        cancel(adapter)
    one, two = (verified(asked.headers["authorization"][7:]) for asked in provider.asked)
    assert one["jti"] != two["jti"]


def test_neither_secret_nor_signature_is_in_the_record(
    sandbox: SandboxServer, adapted: Adapted
) -> None:
    cancel(adapted[0], sandbox.control.add_invoice(ACCOUNT))
    recorded = repr((adapted[1].requests, adapted[1].exchanges))
    assert CREDENTIALS[ACCOUNT]["shared_secret"] not in recorded
    assert "a made-up secret" not in recorded
    assert "eyJ" not in recorded
    assert 'signature="' not in recorded


# Cancelling


@pytest.mark.parametrize("status", ["open", "created", "draft"])
def test_a_draft_or_unpaid_invoice_is_cancelled_and_the_answer_proves_it(
    sandbox: SandboxServer, adapted: Adapted, status: str
) -> None:
    reference = sandbox.control.add_invoice(ACCOUNT, status=status)
    cancel(adapted[0], reference)
    assert sandbox.control.invoice(ACCOUNT, reference)["status"] == "CANCELED"
    (request,) = adapted[1].requests
    assert (request.body, request.references) == (b"{}", (reference,))


@pytest.mark.parametrize("status", ["paid", "partially_paid", "payment_pending", "cancelled"])
def test_every_no_looks_alike_and_has_to_be_read(
    sandbox: SandboxServer, adapted: Adapted, status: str
) -> None:
    reference = sandbox.control.add_invoice(ACCOUNT, status=status)
    with pytest.raises(ReadToDecide) as caught:
        cancel(adapted[0], reference)
    assert caught.value.provider_code == "ACTION_NOT_ALLOWED"
    assert caught.value.message == "Requested action is not allowed."


def test_an_invoice_nobody_has_is_not_found(adapted: Adapted) -> None:
    with pytest.raises(Refused) as caught:
        cancel(adapted[0])
    assert (caught.value.code, caught.value.provider_code) == ("not_found", "NOT_FOUND")


def problem(reason: str) -> dict[str, object]:
    return {"status": "X", "reason": reason, "message": "No.", "details": []}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Reply(200, INVOICE), OutcomeUnknown),
        (Reply(200, CANCELED | {"id": "2676"}), OutcomeUnknown),
        (Reply(200, CANCELED | {"id": None}), OutcomeUnknown),
        (Reply(200, CANCELED | {"status": "CANCELLED"}), OutcomeUnknown),
        (Reply(200, CANCELED | {"status": ["CANCELED"]}), OutcomeUnknown),
        (Reply(200, [CANCELED]), OutcomeUnknown),
        (Reply(200, b""), OutcomeUnknown),
        (Reply(200, b"<html>CANCELED</html>"), OutcomeUnknown),
        (Reply(202, CANCELED), OutcomeUnknown),
        (Reply(204), OutcomeUnknown),
        (Reply(302, b"", {"Location": "/login"}), OutcomeUnknown),
        (Reply(502, problem("SYSTEM_ERROR")), OutcomeUnknown),
        (Reply(500, b"<html>"), OutcomeUnknown),
        (Reply(400, b""), OutcomeUnknown),
        (Reply(400, problem("VALIDATION_ERROR")), ReadToDecide),
        (Reply(409, problem("DUPLICATE_RECORD")), ReadToDecide),
        (Reply(404, b"<html>"), OutcomeUnknown),
        (Reply(403, b"<html>"), OutcomeUnknown),
        (Reply(403, problem("FORBIDDEN")), Refused),
        (Reply(404, problem("NOT_FOUND")), Refused),
        (Reply(429, b"", {"Retry-After": "9"}), TryLater),
        (Reply(401, {"response": {"rmsg": "Authentication Failed"}}), CredentialsRejected),
    ],
)
def test_only_this_invoice_as_canceled_is_a_yes(answer: Reply, kind: type[ProviderError]) -> None:
    assert type(outcome_of(answer)) is kind


def test_an_id_of_digits_without_quotes_is_the_same_id() -> None:
    with (
        scripted(lambda asked: Reply(200, CANCELED | {"id": 2675})) as provider,
        against(provider) as (adapter, _),
    ):
        cancel(adapter)


@pytest.mark.parametrize("applied", ["before", "after"])
@pytest.mark.parametrize("fault", ["fin_after_request", "short_body", "html_200", "502"])
def test_a_fault_leaves_the_outcome_unknown_whatever_became_of_it(
    sandbox: SandboxServer, fault: str, applied: str
) -> None:
    reference = sandbox.control.add_invoice(ACCOUNT)
    sandbox.control.set_fault(fault, ACCOUNT, reference, applied=applied)
    with at(sandbox) as (adapter, _), pytest.raises(OutcomeUnknown):
        cancel(adapter, reference)
    assert len(sandbox.control.cancels(ACCOUNT, reference)) == 1


# Reading


def test_an_invoice_is_read_in_our_words() -> None:
    invoice = read(INVOICE)
    assert (invoice.reference, invoice.number) == (ID, "R-17")
    assert (invoice.customer_name, invoice.customer_email) == ("Ines Okafor", "ines@example.com")
    assert (invoice.currency, invoice.exponent) == ("EUR", 2)
    assert (invoice.amount_minor, invoice.balance_minor) == (86050, 6050)
    assert (invoice.status, invoice.provider_status) == (Status.OPEN, "SENT")
    assert (invoice.issued_on, invoice.due_on) == (date(2026, 11, 2), date(2026, 12, 15))
    assert invoice.raw["invoiceHistory"] == INVOICE["invoiceHistory"]


@pytest.mark.parametrize("amounts", ["number", "string"])
@pytest.mark.parametrize(("currency", "amount"), [("EUR", 86050), ("JPY", 1240), ("KWD", 12345)])
def test_amounts_are_exact_as_numbers_and_as_text(
    sandbox: SandboxServer, adapted: Adapted, amounts: str, currency: str, amount: int
) -> None:
    sandbox.control.switch(visa_amounts=amounts)
    reference = sandbox.control.add_invoice(ACCOUNT, currency=currency, amount=amount)
    invoice = adapted[0].fetch([reference]).invoices[reference]
    assert (invoice.amount_minor, invoice.balance_minor) == (amount, amount)


@pytest.mark.parametrize(
    ("changes", "issued"),
    [
        ({"createdDate": "2026-10-31T23:59:59.410896558Z"}, date(2026, 10, 31)),
        ({"createdDate": "yesterday"}, date(2026, 11, 2)),
        ({"invoiceHistory": []}, None),
        ({"invoiceHistory": [{"event": "SEND"}, 5, None]}, None),
        ({"invoiceHistory": {"date": "2026-11-02"}}, None),
    ],
)
def test_the_issue_date_is_that_of_its_making(changes: dict[str, Any], issued: date | None) -> None:
    assert read(INVOICE | changes).issued_on == issued


@pytest.mark.parametrize("word", ["CANCELLED", "OVERDUE", "sent", "", None, 5, "x\0y"])
def test_a_word_we_do_not_know_is_unknown_and_never_cancellable(word: object) -> None:
    invoice = read(INVOICE | {"status": word})
    assert invoice.status is Status.UNKNOWN
    assert invoice.status not in VisaAcceptance.cancellable
    assert "\0" not in invoice.provider_status


def test_a_company_or_the_id_stands_in_for_what_is_missing() -> None:
    customer = {"company": {"name": "Okafor Ltd"}}
    invoice = read({"id": ID, "customerInformation": customer})
    assert (invoice.number, invoice.customer_name, invoice.currency) == (ID, "Okafor Ltd", "")
    assert (invoice.amount_minor, invoice.balance_minor, invoice.due_on) == (None, None, None)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "date", "name", "amountDetails", "totalAmount", "currency"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(INVOICE)), json_values))
def test_no_damage_to_an_invoice_is_a_crash(damage: dict[str, object]) -> None:
    for raw in (INVOICE | damage, damage):
        invoice = visa_acceptance._invoice(raw)
        assert invoice is None or VisaAcceptance.accepts(invoice.reference)


def test_a_missing_invoice_is_named(adapted: Adapted) -> None:
    assert adapted[0].fetch([ID]) == Found({}, missing=frozenset({ID}))


def test_a_read_while_invoicing_is_switched_off_says_nothing_about_the_invoice(
    sandbox: SandboxServer, adapted: Adapted
) -> None:
    reference = sandbox.control.add_invoice(ACCOUNT)
    sandbox.control.switch(visa_invoicing_enabled=False)
    with pytest.raises(OutcomeUnknown, match="Invoicing service is not enabled") as caught:
        adapted[0].fetch([reference])
    assert caught.value.code == "read_failed"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Reply(200, INVOICE | {"id": "2676"}), "unexpected_answer"),
        (Reply(200, b"<html>"), "unexpected_answer"),
        (Reply(404, b"<html>"), "unexpected_answer"),
        (Reply(403, problem("FORBIDDEN")), "read_failed"),
        (Reply(502, problem("SERVER_TIMEOUT")), "server_error"),
    ],
)
def test_a_read_that_failed_says_nothing_about_the_invoice(answer: Reply, code: str) -> None:
    with (
        scripted(lambda asked: answer) as provider,
        against(provider) as (adapter, _),
        pytest.raises(OutcomeUnknown) as caught,
    ):
        adapter.fetch([ID])
    assert caught.value.code == code


# Listing


def listed(pages: Iterator[Page]) -> tuple[list[str], int]:
    shown = list(pages)
    references = [invoice.reference for page in shown for invoice in page.invoices]
    return references, sum(page.unreadable for page in shown)


@pytest.mark.parametrize("empty", [404, 200])
def test_all_invoices_are_listed_with_what_only_a_read_tells(
    sandbox: SandboxServer, empty: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visa_acceptance, "PAGE_SIZE", 4)
    sandbox.control.reset({ACCOUNT: 10})
    sandbox.control.switch(visa_empty_list=empty)
    with at(sandbox) as (adapter, kept):
        pages = list(adapter.list())
    references, unreadable = listed(iter(pages))
    assert references == sandbox.control.ids(ACCOUNT)
    assert unreadable == 0
    assert kept.purposes.count("list") == 4
    assert all(one.balance_minor is not None for page in pages for one in page.invoices)
    assert all(one.issued_on is not None for page in pages for one in page.invoices)


@pytest.mark.parametrize("empty", [404, 200])
def test_an_empty_account_has_no_pages(sandbox: SandboxServer, empty: int) -> None:
    sandbox.control.switch(visa_empty_list=empty)
    with at(sandbox) as (adapter, _):
        assert list(adapter.list()) == []


def entries(asked: Asked, *rows: object) -> Reply:
    offset, limit = (int(asked.query[name][0]) for name in ("offset", "limit"))
    return Reply(200, {"totalInvoices": 1, "invoices": rows[offset : offset + limit]})


def test_what_makes_no_sense_is_counted_and_what_vanished_meanwhile_is_not() -> None:
    rows = [{"id": ID}, {"id": "../x"}, 5, {}, {"id": "gone"}, {"id": "odd"}]
    answers = {
        "gone": Reply(404, problem("NOT_FOUND")),
        "odd": Reply(200, INVOICE),
        ID: Reply(200, INVOICE),
    }

    def script(asked: Asked) -> Reply:
        if asked.path.endswith("/invoices"):
            return entries(asked, *rows)
        return answers[asked.path.rpartition("/")[2]]

    with scripted(script) as provider, against(provider) as (adapter, _):
        assert listed(adapter.list()) == ([ID], 4)


def test_a_provider_that_fails_within_a_list_is_not_taken_for_an_entry_without_sense() -> None:
    def script(asked: Asked) -> Reply:
        return entries(asked, {"id": ID}) if asked.path.endswith("/invoices") else Reply(502)

    with (
        scripted(script) as provider,
        against(provider) as (adapter, _),
        pytest.raises(OutcomeUnknown, match="server_error"),
    ):
        list(adapter.list())


def test_a_provider_that_shows_one_page_for_ever_does_not_keep_us_for_ever() -> None:
    def script(asked: Asked) -> Reply:
        whole = asked.path.endswith("/invoices")
        return Reply(200, {"invoices": [{"id": ID}]}) if whole else Reply(200, INVOICE)

    with (
        scripted(script) as provider,
        against(provider) as (adapter, _),
        pytest.raises(OutcomeUnknown, match="same page"),
    ):
        list(adapter.list())


@pytest.mark.parametrize("answer", [Reply(200, b"<html>"), Reply(200, {}), Reply(404, b"<html>")])
def test_a_list_that_is_none_is_not_an_empty_one(answer: Reply) -> None:
    with (
        scripted(lambda asked: answer) as provider,
        against(provider) as (adapter, _),
        pytest.raises(OutcomeUnknown),
    ):
        list(adapter.list())


# Testing the connection, what is said beforehand, ids


def test_a_check_reads_one_entry_and_changes_nothing(
    sandbox: SandboxServer, adapted: Adapted
) -> None:
    assert "accepts the key" in adapted[0].check().summary
    assert [(one.purpose, one.method) for one in adapted[1].requests] == [("check", "GET")]


def test_the_consequences_say_that_mailing_is_not_documented() -> None:
    said = " ".join(VisaAcceptance.consequences({}, {}))
    assert "cannot be undone" in said
    assert "does not document whether it mails" in said


@pytest.mark.parametrize(
    "reference", ["", "a-b", "0" * 27, "a b", "2675\n", "..", "a/b", "a?b", "ä", "\u0660", "a\0"]
)
def test_an_id_of_another_form_never_gets_near_an_address(reference: str) -> None:
    with (
        scripted(lambda asked: Reply(200, CANCELED)) as provider,
        against(provider) as (adapter, _),
        pytest.raises(NotSent, match="bad_reference"),
    ):
        cancel(adapter, reference)
    assert provider.asked == []


@given(st.from_regex(VisaAcceptance.reference_pattern, fullmatch=True))
def test_an_accepted_id_is_plain(reference: str) -> None:
    assert reference.isascii()
    assert reference.isalnum()
    assert len(reference) <= 26
