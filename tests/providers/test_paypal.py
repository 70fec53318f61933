"""PayPal: against the sandbox what it documents, against a script what it never should say."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.adapters import paypal
from providers.adapters.base import Found, Page, RemoteInvoice, Status
from providers.adapters.paypal import PayPal
from providers.errors import (
    CredentialsRejected,
    NotSent,
    OutcomeUnknown,
    ProviderError,
    ReadToDecide,
    Refused,
    TryLater,
)
from providers.sandbox import running
from providers.sandbox.credentials import CREDENTIALS
from providers.sandbox.running import SandboxServer
from tests.providers.scripted import Asked, Kept, Reply, Scripted, scripted, speaking

ACCOUNT = "paypal-europe"
ID = "INV2-7QX2-LM4D-9RTA-K3ZP"
TOKEN = {"access_token": "A21AA-made-up", "token_type": "Bearer", "expires_in": 32400}
INVOICE: dict[str, Any] = {
    "id": ID,
    "status": "SENT",
    "detail": {
        "invoice_number": "BO-2026-0417",
        "currency_code": "USD",
        "invoice_date": "2026-11-03",
        "payment_term": {"term_type": "DUE_ON_DATE_SPECIFIED", "due_date": "2026-12-03"},
    },
    "primary_recipients": [
        {
            "billing_info": {
                "business_name": "Alder & Finch",
                "name": {"given_name": "Mara", "surname": "Finch", "full_name": "Mara Finch"},
                "email_address": "mara@example.com",
            }
        }
    ],
    "amount": {"currency_code": "USD", "value": "1240.00"},
    "due_amount": {"currency_code": "USD", "value": "240.50"},
}

Adapted = tuple[PayPal, Kept]


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with running() as started:
        yield started


@pytest.fixture
def sandbox(server: SandboxServer) -> SandboxServer:
    server.control.reset()
    return server


@pytest.fixture
def adapted(sandbox: SandboxServer) -> Iterator[Adapted]:
    with at(sandbox) as pair:
        yield pair


def at(sandbox: SandboxServer, **credentials: str) -> AbstractContextManager[Adapted]:
    return speaking(PayPal, f"{sandbox.origin}/paypal", CREDENTIALS[ACCOUNT] | credentials)


def against(provider: Scripted) -> AbstractContextManager[Adapted]:
    return speaking(PayPal, provider.url, CREDENTIALS[ACCOUNT])


def cancel(adapter: PayPal, reference: str = ID, **options: bool) -> None:
    (answer,) = adapter.cancel([reference], options).values()
    assert (answer.confirmed, answer.proven) == (True, False)


def after_token(answer: Callable[[Asked], Reply] | Reply) -> Callable[[Asked], Reply]:
    def script(asked: Asked) -> Reply:
        if asked.path == "/v1/oauth2/token":
            return Reply(200, TOKEN)
        return answer if isinstance(answer, Reply) else answer(asked)

    return script


def outcome_of(answer: Reply) -> ProviderError:
    """What a cancel raises when PayPal answers it in this way."""
    with (
        scripted(after_token(answer)) as provider,
        against(provider) as (adapter, _),
        pytest.raises(ProviderError) as caught,
    ):
        adapter.cancel([ID], {})
    return caught.value


def read(raw: Any) -> RemoteInvoice:
    """The invoice as a read of it understands it."""
    with scripted(after_token(Reply(200, raw))) as provider, against(provider) as (adapter, _):
        return adapter.fetch([ID]).invoices[ID]


# Cancelling


@pytest.mark.parametrize("status", ["open", "unpaid"])
def test_a_payable_invoice_is_cancelled(
    sandbox: SandboxServer, adapted: Adapted, status: str
) -> None:
    reference = sandbox.control.add_invoice(ACCOUNT, status=status)
    cancel(adapted[0], reference)
    assert sandbox.control.invoice(ACCOUNT, reference)["status"] == "CANCELLED"
    assert adapted[1].purposes == ["token", "cancel"]
    assert adapted[1].requests[1].references == (reference,)


@pytest.mark.parametrize(
    ("options", "mailed"),
    [
        ({}, []),
        ({"notify_merchant": True}, ["invoicer"]),
        ({"notify_payer": True}, ["recipient:billing@customer.example", "all-cc"]),
    ],
)
def test_only_those_are_mailed_whom_the_operator_chose(
    sandbox: SandboxServer, adapted: Adapted, options: dict[str, bool], mailed: list[str]
) -> None:
    reference = sandbox.control.add_invoice(ACCOUNT)
    cancel(adapted[0], reference, **options)
    assert sandbox.control.invoice(ACCOUNT, reference)["extra"].get("mails", []) == mailed


def test_both_switches_are_always_sent_because_leaving_one_out_mails_the_customer() -> None:
    with scripted(after_token(Reply(204))) as provider, against(provider) as (adapter, _):
        cancel(adapter)
        cancel(adapter, notify_payer=True, notify_merchant=True)
    silent, loud = (json.loads(asked.body) for asked in provider.asked[1:])
    assert silent == {
        "send_to_recipient": False,
        "send_to_invoicer": False,
        "additional_recipients": [],
    }
    assert loud == {"send_to_recipient": True, "send_to_invoicer": True}
    assert provider.asked[1].headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("draft", "draft"),
        ("scheduled", "scheduled"),
        ("paid", "paid"),
        ("partially_paid", "paid"),
        ("paid_outside", "paid"),
        ("refunded", "refunded"),
        ("partially_refunded", "refunded"),
        ("cancelled", "already_cancelled"),
        ("auto_cancelled", "already_cancelled"),
    ],
)
def test_a_no_with_a_known_reason_is_a_no_for_good(
    sandbox: SandboxServer, adapted: Adapted, status: str, code: str
) -> None:
    reference = sandbox.control.add_invoice(ACCOUNT, status=status)
    with pytest.raises(Refused) as caught:
        cancel(adapted[0], reference)
    assert (caught.value.code, caught.value.status) == (code, 422)
    assert caught.value.provider_code in paypal.REFUSALS
    assert "debug id" in caught.value.message


def test_an_invoice_nobody_has_is_not_found(sandbox: SandboxServer, adapted: Adapted) -> None:
    with pytest.raises(Refused) as caught:
        cancel(adapted[0], ID)
    assert caught.value.code == "not_found"


def test_an_invoice_of_another_account_is_forbidden(
    sandbox: SandboxServer, adapted: Adapted
) -> None:
    reference = sandbox.control.add_invoice("paypal-america", "INV2-AAAA-BBBB-CCCC-DDDD")
    with pytest.raises(Refused) as caught:
        cancel(adapted[0], reference)
    assert (caught.value.code, caught.value.provider_code) == ("forbidden", "PERMISSION_DENIED")
    assert caught.value.pause_account


def problem(*issues: str, name: str = "UNPROCESSABLE_ENTITY") -> dict[str, object]:
    details = [{"issue": issue, "description": "may change"} for issue in issues]
    return {"name": name, "message": "No.", "debug_id": "ca447d91dfb3e", "details": details}


@pytest.mark.parametrize(
    ("answer", "kind", "provider_code"),
    [
        (Reply(422, problem("SOMETHING_NEW")), ReadToDecide, "SOMETHING_NEW"),
        (Reply(422, problem()), ReadToDecide, "UNPROCESSABLE_ENTITY"),
        (Reply(422, b"<html>"), OutcomeUnknown, "HTTP 422"),
        (
            Reply(422, problem("INVOICE_CANCELED_ALREADY", "CANNOT_CANCEL_PAID_INVOICE")),
            ReadToDecide,
            "INVOICE_CANCELED_ALREADY CANNOT_CANCEL_PAID_INVOICE",
        ),
        (Reply(400, problem("INVALID_STRING_MAX_LENGTH")), ReadToDecide, None),
        (Reply(400, problem("INVOICE_CANCELED_ALREADY")), ReadToDecide, None),
        (Reply(409, problem(name="RESOURCE_CONFLICT")), ReadToDecide, "RESOURCE_CONFLICT"),
        (Reply(415, problem(name="UNSUPPORTED_MEDIA_TYPE")), ReadToDecide, None),
        (Reply(403, b"<html>blocked</html>"), OutcomeUnknown, None),
        (Reply(404, b"<html>gone</html>"), OutcomeUnknown, None),
        (Reply(429, problem(name="RATE_LIMIT_REACHED"), {"Retry-After": "7"}), TryLater, None),
        (Reply(500, problem(name="INTERNAL_SERVER_ERROR")), OutcomeUnknown, None),
        (Reply(503, b"<html>"), OutcomeUnknown, None),
        (Reply(408, b""), OutcomeUnknown, None),
        (Reply(200, {"id": ID, "status": "CANCELLED"}), OutcomeUnknown, None),
        (Reply(202, b""), OutcomeUnknown, None),
        (Reply(200, b"<html>"), OutcomeUnknown, None),
        (Reply(302, b"", {"Location": "/login"}), OutcomeUnknown, None),
        (Reply(401, {"error": "invalid_token"}), CredentialsRejected, None),
        (Reply(401, problem(name="AUTHENTICATION_FAILURE")), CredentialsRejected, None),
    ],
)
def test_only_an_explicit_answer_is_a_yes_or_a_no(
    answer: Reply, kind: type[ProviderError], provider_code: str | None
) -> None:
    error = outcome_of(answer)
    assert type(error) is kind
    if provider_code is not None:
        assert error.provider_code == provider_code
    if isinstance(error, TryLater):
        assert error.retry_after == 7.0


@pytest.mark.parametrize("details", ["x", 5, None, [1, None, "x"], [{"issue": ["x"]}], {"a": 1}])
def test_details_of_any_shape_are_no_crash(details: object) -> None:
    body = {"name": "UNPROCESSABLE_ENTITY", "details": details}
    assert isinstance(outcome_of(Reply(422, body)), ReadToDecide)


@pytest.mark.parametrize("applied", ["before", "after"])
@pytest.mark.parametrize("fault", ["fin_after_request", "partial_status_line", "500_html", "504"])
def test_a_fault_leaves_the_outcome_unknown_whatever_became_of_it(
    sandbox: SandboxServer, adapted: Adapted, fault: str, applied: str
) -> None:
    reference = sandbox.control.add_invoice(ACCOUNT)
    sandbox.control.set_fault(fault, ACCOUNT, reference, applied=applied)
    with pytest.raises(OutcomeUnknown):
        cancel(adapted[0], reference)
    assert len(sandbox.control.cancels(ACCOUNT, reference)) == 1


# Signing in


def test_one_token_serves_many_calls(sandbox: SandboxServer, adapted: Adapted) -> None:
    for _ in range(3):
        cancel(adapted[0], sandbox.control.add_invoice(ACCOUNT))
    assert adapted[1].purposes == ["token", "cancel", "cancel", "cancel"]


@pytest.mark.parametrize("shape", ["invalid_token", "AUTHENTICATION_FAILURE"])
def test_an_expired_token_is_replaced_once(sandbox: SandboxServer, shape: str) -> None:
    sandbox.control.switch(paypal_bearer_refusal=shape)
    with at(sandbox) as (adapter, kept):
        cancel(adapter, sandbox.control.add_invoice(ACCOUNT))
        sandbox.control.expire_tokens()
        cancel(adapter, sandbox.control.add_invoice(ACCOUNT))
    sandbox.control.switch(paypal_bearer_refusal="invalid_token")
    assert kept.purposes == ["token", "cancel", "cancel", "token", "cancel"]


def test_a_wrong_secret_is_rejected_and_nothing_is_cancelled(sandbox: SandboxServer) -> None:
    reference = sandbox.control.add_invoice(ACCOUNT)
    with at(sandbox, client_secret="wrong-secret") as (adapter, kept):
        with pytest.raises(CredentialsRejected, match="invalid_client") as caught:
            cancel(adapter, reference)
        assert caught.value.pause_account
    assert kept.purposes == ["token"]
    assert sandbox.control.cancels(ACCOUNT, reference) == []


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Reply(401, {"error": "invalid_client"}), CredentialsRejected),
        (Reply(401, problem(name="AUTHENTICATION_FAILURE")), CredentialsRejected),
        (Reply(401, b"<html>"), CredentialsRejected),
        (Reply(400, {"error": "unauthorized_client"}), CredentialsRejected),
        (Reply(403, problem(name="NOT_AUTHORIZED")), CredentialsRejected),
        (Reply(403, b"<html>"), NotSent),
        (Reply(400, {"error": "unsupported_grant_type"}), NotSent),
        (Reply(429, b"", {"Retry-After": "30"}), TryLater),
        (Reply(500, b""), NotSent),
        (Reply(503, {"name": "SERVICE_UNAVAILABLE"}), NotSent),
        (Reply(302, b"", {"Location": "/"}), NotSent),
        (Reply(200, b"<html>"), NotSent),
        (Reply(200, []), NotSent),
        (Reply(200, {"access_token": None}), NotSent),
        (Reply(200, {"access_token": ""}), NotSent),
        (Reply(200, {"access_token": "a\r\nX: y"}), NotSent),
        (Reply(200, {"access_token": ["a"]}), NotSent),
        (Reply(201, TOKEN), NotSent),
    ],
)
def test_without_a_token_the_cancellation_is_provably_not_sent(
    answer: Reply, kind: type[ProviderError]
) -> None:
    with (
        scripted(lambda asked: answer) as provider,
        against(provider) as (adapter, kept),
        pytest.raises(ProviderError) as caught,
    ):
        cancel(adapter)
    assert type(caught.value) is kind
    if isinstance(caught.value, NotSent):
        assert caught.value.code == "no_token"
    assert kept.purposes == ["token"]


def test_a_token_answer_that_never_comes_is_a_cancellation_not_sent(
    sandbox: SandboxServer, adapted: Adapted
) -> None:
    sandbox.control.set_fault("fin_after_request", ACCOUNT, kind="token")
    with pytest.raises(NotSent, match="no_token"):
        cancel(adapted[0], sandbox.control.add_invoice(ACCOUNT))
    assert sandbox.control.log(kind="cancel") == []


def test_a_401_without_a_second_token_is_not_carried_out() -> None:
    def script(asked: Asked) -> Reply:
        if asked.path != "/v1/oauth2/token":
            return Reply(401, {"error": "invalid_token"})
        first = sum(one.path == asked.path for one in provider.asked) == 1
        return Reply(200, TOKEN) if first else Reply(503)

    with (
        scripted(script) as provider,
        against(provider) as (adapter, kept),
        pytest.raises(NotSent, match="no_token"),
    ):
        cancel(adapter)
    assert kept.purposes == ["token", "cancel", "token"]


@pytest.mark.parametrize("life", [None, "x", 0, -5, 10**30, [], True, "3600", 32400])
def test_any_life_of_a_token_will_do(life: object) -> None:
    def script(asked: Asked) -> Reply:
        known = asked.path == "/v1/oauth2/token"
        return Reply(200, TOKEN | {"expires_in": life}) if known else Reply(204)

    with scripted(script) as provider, against(provider) as (adapter, kept):
        cancel(adapter)
        cancel(adapter)
    assert kept.purposes == ["token", "cancel", "cancel"]


def test_neither_secret_nor_token_is_in_the_record(
    sandbox: SandboxServer, adapted: Adapted
) -> None:
    cancel(adapted[0], sandbox.control.add_invoice(ACCOUNT))
    recorded = repr((adapted[1].requests, adapted[1].exchanges))
    assert CREDENTIALS[ACCOUNT]["client_secret"] not in recorded
    assert "A21AA" not in recorded
    assert "Basic " not in recorded


def test_what_we_signed_in_with_is_masked_even_where_an_answer_repeats_it() -> None:
    def script(asked: Asked) -> Reply:
        if asked.path == "/v1/oauth2/token":
            seen.append(asked.headers["authorization"].partition(" ")[2])
            return Reply(200, TOKEN)
        return Reply(500, f"<p>{seen[0]} {TOKEN['access_token']}</p>".encode())

    seen: list[str] = []
    with scripted(script) as provider, against(provider) as (adapter, kept):
        with pytest.raises(OutcomeUnknown):
            cancel(adapter)
        body = kept.exchanges[1].body
    assert body.count(b"[masked ") == 2
    assert seen[0].encode() not in body


# Reading


def test_an_invoice_is_read_in_our_words() -> None:
    invoice = read(INVOICE)
    assert (invoice.reference, invoice.number) == (ID, "BO-2026-0417")
    assert (invoice.customer_name, invoice.customer_email) == ("Alder & Finch", "mara@example.com")
    assert (invoice.currency, invoice.exponent) == ("USD", 2)
    assert (invoice.amount_minor, invoice.balance_minor) == (124000, 24050)
    assert (invoice.status, invoice.provider_status) == (Status.OPEN, "SENT")
    assert (invoice.issued_on, invoice.due_on) == (date(2026, 11, 3), date(2026, 12, 3))
    assert invoice.raw == INVOICE


@pytest.mark.parametrize(
    ("billing", "name"),
    [
        ({"name": {"full_name": "Mara Finch"}}, "Mara Finch"),
        ({"name": {"given_name": "Mara", "surname": "Finch"}}, "Mara Finch"),
        ({"name": {"surname": "Finch"}}, "Finch"),
        ({"business_name": "  ", "name": {"full_name": "Mara"}}, "Mara"),
        ({}, ""),
        (None, ""),
        ("x", ""),
    ],
)
def test_a_customer_is_whoever_is_named_first(billing: object, name: str) -> None:
    assert read(INVOICE | {"primary_recipients": [{"billing_info": billing}]}).customer_name == name


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ({"currency_code": "JPY", "value": "1240"}, "JPY", 1240),
        ({"currency_code": "TND", "value": "1.234"}, "TND", 1234),
        ({"currency_code": "USD", "value": "1.234"}, "USD", None),
        ({"currency_code": "usd$", "value": "1.00"}, "", None),
        ({"value": "1.00"}, "USD", 100),
        ({"currency_code": "USD", "value": 12}, "USD", 1200),
        ({"currency_code": "USD"}, "USD", None),
        ([], "USD", None),
    ],
)
def test_an_amount_is_exact_or_none(amount: object, currency: str, minor: int | None) -> None:
    invoice = read(INVOICE | {"amount": amount})
    assert (invoice.currency, invoice.amount_minor) == (currency, minor)


def test_a_balance_in_another_currency_is_none() -> None:
    assert (
        read(INVOICE | {"due_amount": {"currency_code": "EUR", "value": "1"}}).balance_minor is None
    )


@pytest.mark.parametrize("word", ["OVERDUE", "sent", "", None, 5, ["SENT"], "SHARED", "x\0y"])
def test_a_word_we_do_not_know_is_unknown_and_never_cancellable(word: object) -> None:
    invoice = read(INVOICE | {"status": word})
    assert invoice.status is Status.UNKNOWN
    assert invoice.status not in PayPal.cancellable
    assert "\0" not in invoice.provider_status


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "status", "amount", "value"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(INVOICE)), json_values))
def test_no_damage_to_an_entry_is_a_crash(damage: dict[str, object]) -> None:
    page = paypal._page([INVOICE | damage, damage, INVOICE])
    assert len(page.invoices) + page.unreadable == 3
    assert page.invoices[-1].reference == ID


def test_a_missing_invoice_is_named(adapted: Adapted) -> None:
    assert adapted[0].fetch([ID]) == Found({}, missing=frozenset({ID}))


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Reply(200, INVOICE | {"id": "INV2-OTHER"}), "unexpected_answer"),
        (Reply(200, []), "unexpected_answer"),
        (Reply(200, b"<html>"), "unexpected_answer"),
        (Reply(404, b"<html>"), "unexpected_answer"),
        (Reply(403, problem("PERMISSION_DENIED", name="NOT_AUTHORIZED")), "read_failed"),
        (Reply(422, problem("INVOICE_CANCELED_ALREADY")), "read_failed"),
        (Reply(500, b""), "server_error"),
        (Reply(302, b"", {"Location": "/"}), "redirect"),
    ],
)
def test_a_read_that_failed_says_nothing_about_the_invoice(answer: Reply, code: str) -> None:
    with (
        scripted(after_token(answer)) as provider,
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


def test_all_invoices_are_listed_page_by_page(sandbox: SandboxServer, adapted: Adapted) -> None:
    sandbox.control.reset({ACCOUNT: 230})
    references, unreadable = listed(adapted[0].list())
    assert references == sandbox.control.ids(ACCOUNT)
    assert unreadable == 0
    assert adapted[1].purposes == ["token", "list", "list", "list"]


def test_a_list_entry_says_the_same_as_a_read(sandbox: SandboxServer, adapted: Adapted) -> None:
    reference = sandbox.control.add_invoice(ACCOUNT, status="partially_paid", currency="KWD")
    ((entry,),) = (page.invoices for page in adapted[0].list())
    full = adapted[0].fetch([reference]).invoices[reference]
    for name in RemoteInvoice.__slots__:
        assert name == "raw" or getattr(entry, name) == getattr(full, name), name


def test_an_empty_account_has_no_pages(sandbox: SandboxServer, adapted: Adapted) -> None:
    assert list(adapted[0].list()) == []


def test_an_account_without_any_items_at_all_has_no_pages() -> None:
    with (
        scripted(after_token(Reply(200, {"total_items": 0, "total_pages": 0}))) as provider,
        against(provider) as (adapter, _),
    ):
        assert list(adapter.list()) == []


def test_without_totals_only_an_empty_page_is_the_end() -> None:
    def script(asked: Asked) -> Reply:
        page = int(asked.query["page"][0])
        return Reply(200, {"items": [INVOICE, {"id": "../x"}, 5][: 4 - page]})

    with scripted(after_token(script)) as provider, against(provider) as (adapter, kept):
        references, unreadable = listed(adapter.list())
    assert (len(references), unreadable) == (3, 3)
    assert kept.purposes.count("list") == 4


def test_more_invoices_than_one_query_can_reach_are_found_by_slices_of_their_date(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paypal, "PAGE_SIZE", 4)
    monkeypatch.setattr(paypal, "REACHABLE", 20)
    monkeypatch.setattr(paypal, "LAST_PAGE", 5)
    for age in range(60):
        sandbox.control.add_invoice(ACCOUNT, age_days=age * 3)
    with at(sandbox) as (adapter, _):
        references, _ = listed(adapter.list())
    assert len(references) == 60
    assert sorted(references) == sorted(sandbox.control.ids(ACCOUNT))


def test_a_list_that_cannot_be_shown_in_full_is_never_taken_for_all(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paypal, "PAGE_SIZE", 2)
    monkeypatch.setattr(paypal, "REACHABLE", 4)
    monkeypatch.setattr(paypal, "LAST_PAGE", 2)
    for _ in range(5):
        sandbox.control.add_invoice(ACCOUNT)
    with at(sandbox) as (adapter, _), pytest.raises(OutcomeUnknown, match="a day"):
        list(adapter.list())


# Testing the connection, and what is said beforehand


def test_a_check_reads_one_entry_and_changes_nothing(
    sandbox: SandboxServer, adapted: Adapted
) -> None:
    sandbox.control.add_invoice(ACCOUNT)
    assert "1 invoices are visible" in adapted[0].check().summary
    assert adapted[1].purposes == ["token", "check"]
    assert adapted[1].requests[1].method == "GET"


def test_a_check_explains_that_invoicing_is_not_switched_on() -> None:
    answer = Reply(403, problem(name="NOT_AUTHORIZED"))
    with (
        scripted(after_token(answer)) as provider,
        against(provider) as (adapter, _),
        pytest.raises(Refused, match="may not use Invoicing"),
    ):
        adapter.check()


def test_the_consequences_say_who_is_mailed() -> None:
    assert any("not to mail the customer" in line for line in PayPal.consequences({}, {}))
    loud = PayPal.consequences({}, {"notify_payer": True})
    assert any(line.startswith("PayPal mails the customer") for line in loud)
    assert all(not option.default for option in PayPal.options)


# Ids


@pytest.mark.parametrize("reference", [ID, "INV2", "a", "0" * 30])
def test_ids_of_its_form_are_accepted(reference: str) -> None:
    assert PayPal.accepts(reference)


@pytest.mark.parametrize(
    "reference",
    ["", "-", "-a", "a-", "0" * 31, "a b", "a\n", "..", "a/b", "a?b", "ä", "a_b", "\u0660", "a\0"],
)
def test_anything_else_never_gets_near_an_address(reference: str) -> None:
    with (
        scripted(after_token(Reply(204))) as provider,
        against(provider) as (adapter, _),
        pytest.raises(NotSent, match="bad_reference"),
    ):
        cancel(adapter, reference)
    assert provider.asked == []


@given(st.text(max_size=40))
def test_an_accepted_id_is_plain(reference: str) -> None:
    if PayPal.accepts(reference):
        assert reference.replace("-", "").isascii()
        assert reference.replace("-", "").isalnum()
        assert len(reference) <= 30
