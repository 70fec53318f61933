"""Monite: what its answers come to, against the sandbox and against scripted oddities."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any, TypeVar

import pytest

from providers.adapters.base import CancelAnswer, Status
from providers.adapters.monite import Monite
from providers.errors import (
    CredentialsRejected,
    NotSent,
    OutcomeUnknown,
    ProviderError,
    ReadToDecide,
    Refused,
    TryLater,
)
from providers.sandbox import BASE_PATHS, CREDENTIALS, Control, running
from tests.providers.scripted import Asked, Kept, Reply, Script, scripted, speaking

T = TypeVar("T")
ACCOUNT = "monite-nord"
CLIENT = CREDENTIALS[ACCOUNT]
ONE = "0b1d6f5e-7a44-4c1e-9a51-3f6f5f1f8a10"
TWO = "0b1d6f5e-7a44-4c1e-9a51-3f6f5f1f8a11"
INVOICE: dict[str, Any] = {
    "type": "invoice",
    "id": ONE,
    "document_id": "INV-00042",
    "status": "issued",
    "currency": "EUR",
    "total_amount": 120000,
    "total_amount_with_credit_notes": 120000,
    "amount_due": 20000,
    "issue_date": "2026-03-02T09:15:00+00:00",
    "due_date": "2026-04-01",
    "counterpart_name": "Nordlicht GmbH",
    "counterpart_contact": {"email": "ida@nordlicht.example"},
}
GRANTED = Reply(200, {"access_token": "token-0001", "expires_in": 1800, "token_type": "Bearer"})


def after_sign_in(script: Script) -> Script:
    """The script for everything but the token call, which is granted."""
    return lambda asked: GRANTED if asked.path == "/auth/token" else script(asked)


def page(*entries: Any, following: str | None = None) -> Reply:
    return Reply(200, {"data": list(entries), "next_pagination_token": following})


def trying(script: Script, act: Callable[[Monite], T]) -> tuple[T | ProviderError, Kept]:
    """What an act comes to when Monite answers by the script, and what was recorded."""
    with scripted(script) as server, speaking(Monite, server.url, CLIENT) as (adapter, kept):
        try:
            return act(adapter), kept
        except ProviderError as error:
            return error, kept


def cancelling(script: Script) -> Any:
    return trying(after_sign_in(script), lambda monite: monite.cancel([ONE], {})[ONE])[0]


def reading(*entries: Any, references: tuple[str, ...] = (ONE,), following: str = "") -> Any:
    reply = page(*entries, following=following or None)
    return trying(after_sign_in(lambda asked: reply), lambda monite: monite.fetch(references))[0]


@pytest.fixture
def sandbox() -> Iterator[Control]:
    with running() as server:
        yield server.control


@pytest.fixture
def monite(sandbox: Control) -> Iterator[Monite]:
    with speaking(Monite, sandbox.origin + BASE_PATHS["monite"], CLIENT) as (adapter, _):
        yield adapter


def test_a_204_is_a_yes_without_proof(sandbox: Control, monite: Monite) -> None:
    one = sandbox.add_invoice(ACCOUNT)
    assert monite.cancel([one], {}) == {one: CancelAnswer(confirmed=True, proven=False)}
    assert sandbox.invoice(ACCOUNT, one)["status"] == "canceled"
    assert monite.fetch([one]).invoices[one].status is Status.CANCELLED


def test_the_cancel_carries_three_headers_and_no_body() -> None:
    with (
        scripted(after_sign_in(lambda asked: Reply(204))) as server,
        speaking(Monite, server.url, CLIENT) as (adapter, _),
    ):
        adapter.cancel([ONE], {})
    token, cancel = server.asked
    assert json.loads(token.body) == {
        "grant_type": "client_credentials",
        "client_id": CLIENT["client_id"],
        "client_secret": CLIENT["client_secret"],
    }
    assert "authorization" not in token.headers
    assert (cancel.method, cancel.target, cancel.body) == (
        "POST",
        f"/receivables/{ONE}/cancel",
        b"",
    )
    assert cancel.headers["authorization"] == "Bearer token-0001"
    assert cancel.headers["x-monite-version"] == "2024-05-25"
    assert cancel.headers["x-monite-entity-id"] == CLIENT["entity_id"]


@pytest.mark.parametrize("reply", [Reply(200, {"status": "canceled"}), Reply(202), Reply(200)])
def test_any_other_success_is_neither_yes_nor_no(reply: Reply) -> None:
    error = cancelling(lambda asked: reply)
    assert isinstance(error, OutcomeUnknown)
    assert error.code == "unexpected_answer"


@pytest.mark.parametrize("status", [400, 405, 409, 422])
def test_a_refusal_without_a_reliable_reason_asks_for_a_read(status: int) -> None:
    error = cancelling(lambda asked: Reply(status, {"error": {"message": "Wrong status."}}))
    assert isinstance(error, ReadToDecide)
    assert error.message == "Wrong status."


def test_an_unknown_invoice_is_refused_for_good() -> None:
    error = cancelling(lambda asked: Reply(404, {"error": {"message": "Not found"}}))
    assert isinstance(error, Refused)
    assert error.code == "not_found"


def test_a_missing_permission_pauses_the_account() -> None:
    error = cancelling(lambda asked: Reply(403, {"error": {"message": "Forbidden"}}))
    assert isinstance(error, Refused)
    assert error.pause_account


def test_a_throttled_call_waits_as_long_as_it_is_told() -> None:
    error = cancelling(lambda asked: Reply(429, {}, {"Retry-After": "7"}))
    assert isinstance(error, TryLater)
    assert error.retry_after == 7.0


@pytest.mark.parametrize("said", ["Down for repairs", {"message": "Too large"}, ["x"], None])
def test_an_error_in_any_shape_is_survived(said: Any) -> None:
    assert isinstance(cancelling(lambda asked: Reply(500, said)), OutcomeUnknown)


def test_after_a_401_one_fresh_token_is_tried(sandbox: Control, monite: Monite) -> None:
    first, second = sandbox.add_invoice(ACCOUNT), sandbox.add_invoice(ACCOUNT)
    monite.cancel([first], {})
    sandbox.expire_tokens(ACCOUNT)
    assert monite.cancel([second], {})[second].confirmed
    assert len(sandbox.log(kind="token")) == 2


def test_after_a_second_401_the_credentials_count_as_rejected() -> None:
    result, kept = trying(
        after_sign_in(lambda asked: Reply(401, {})), lambda monite: monite.cancel([ONE], {})
    )
    assert isinstance(result, CredentialsRejected)
    assert kept.purposes == ["token", "cancel", "token", "cancel"]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(401, {"error": {"message": "No"}}), CredentialsRejected),
        (Reply(422, {"detail": [{"msg": "not a uuid"}]}), CredentialsRejected),
        (Reply(429, {}, {"Retry-After": "3"}), TryLater),
        (Reply(500, {}), NotSent),
        (Reply(403, b"<html>gateway</html>"), NotSent),
        (Reply(302, {}, {"Location": "/elsewhere"}), NotSent),
        (Reply(200, b"<html>hello</html>"), NotSent),
        (Reply(200, {"access_token": ""}), NotSent),
        (Reply(200, {"access_token": 5}), NotSent),
    ],
)
def test_without_a_token_the_cancel_is_provably_not_sent(
    reply: Reply, kind: type[ProviderError]
) -> None:
    result, kept = trying(lambda asked: reply, lambda monite: monite.cancel([ONE], {}))
    assert type(result) is kind
    assert kept.purposes == ["token"]
    if isinstance(result, NotSent):
        assert result.code == "no_token"


def test_a_token_answer_that_never_came_is_no_unknown_outcome(sandbox: Control) -> None:
    one = sandbox.add_invoice(ACCOUNT)
    sandbox.set_fault("fin_after_request", ACCOUNT, kind="token")
    base = sandbox.origin + BASE_PATHS["monite"]
    with speaking(Monite, base, CLIENT) as (adapter, kept):
        with pytest.raises(NotSent, match="no_token"):
            adapter.cancel([one], {})
        assert kept.purposes == ["token"]
    assert sandbox.cancels(ACCOUNT, one) == []


def test_many_threads_ask_for_one_token_and_share_its_failure() -> None:
    calls = 0
    slow = threading.Event()

    def script(asked: Asked) -> Reply:
        nonlocal calls
        calls += 1
        slow.wait(0.3)
        return Reply(500, {})

    errors: list[str] = []

    def work(adapter: Monite) -> None:
        try:
            adapter.cancel([ONE], {})
        except NotSent as error:
            errors.append(error.code)

    with scripted(script) as server, speaking(Monite, server.url, CLIENT) as (adapter, _):
        threads = [threading.Thread(target=work, args=[adapter]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == ["no_token"] * 8
    assert calls < 4


def test_neither_secret_nor_token_is_recorded(sandbox: Control) -> None:
    one = sandbox.add_invoice(ACCOUNT)
    with speaking(Monite, sandbox.origin + BASE_PATHS["monite"], CLIENT) as (adapter, kept):
        adapter.cancel([one], {})
        token = adapter._token.get(lambda: ("", 0.0))
    evidence = repr(kept.requests) + repr(kept.exchanges)
    assert token
    assert token not in evidence
    assert CLIENT["client_secret"] not in evidence


@pytest.mark.parametrize(
    "reference", ["", "..", ONE.upper(), ONE + "\n", ONE[:-1], f"{ONE}/..", "0" * 36, "%2e%2e"]
)
def test_nothing_but_a_uuid_gets_near_a_url(reference: str) -> None:
    with speaking(Monite, "http://127.0.0.1:9", CLIENT) as (adapter, kept):
        with pytest.raises(NotSent):
            adapter.cancel([reference], {})
        with pytest.raises(NotSent):
            adapter.fetch([reference])
        assert kept.requests == []


def test_an_entity_id_that_is_none_never_leaves() -> None:
    with speaking(Monite, "http://127.0.0.1:9", {**CLIENT, "entity_id": "../x"}) as (adapter, kept):
        for act in (lambda: adapter.cancel([ONE], {}), adapter.check):
            with pytest.raises(CredentialsRejected):
                act()
        assert kept.requests == []


def test_one_request_reads_many_and_names_what_is_missing(sandbox: Control, monite: Monite) -> None:
    first, second = sandbox.add_invoice(ACCOUNT), sandbox.add_invoice(ACCOUNT, status="paid")
    found = monite.fetch([first, second, ONE])
    assert {key: one.status for key, one in found.invoices.items()} == {
        first: Status.OPEN,
        second: Status.PAID,
    }
    assert (set(found.missing), set(found.unreadable)) == ({ONE}, set())
    assert len(sandbox.log(kind="fetch")) == 1


def test_reading_nothing_asks_nothing() -> None:
    with speaking(Monite, "http://127.0.0.1:9", CLIENT) as (adapter, kept):
        assert adapter.fetch([]).invoices == {}
        assert kept.requests == []


@pytest.mark.parametrize(
    "entry", [{**INVOICE, "type": "quote"}, {"id": ONE}, {**INVOICE, "status": None}]
)
def test_a_document_that_is_no_invoice_is_unreadable_and_not_missing(entry: Any) -> None:
    found = reading(entry, None, 5, [], {"id": None})
    assert (found.invoices, found.missing, found.unreadable) == ({}, frozenset(), {ONE})


@pytest.mark.parametrize("entry", [None, "done", {}, {"id": None}])
def test_beside_an_entry_that_names_no_document_nothing_is_missing(entry: Any) -> None:
    found = reading(INVOICE, entry, references=(ONE, TWO))
    assert (found.missing, found.unreadable) == (frozenset(), {TWO})


def test_a_read_with_more_to_come_calls_nothing_missing() -> None:
    found = reading(INVOICE, references=(ONE, TWO), following="abc")
    assert (found.missing, found.unreadable) == (frozenset(), {TWO})


def test_a_refused_or_senseless_read_is_a_failed_read() -> None:
    for reply in (Reply(404, {"error": {}}), Reply(409, {"error": {}}), Reply(200, []), Reply()):
        script = after_sign_in(lambda asked, reply=reply: reply)  # type: ignore[misc]
        assert isinstance(trying(script, lambda monite: monite.fetch([ONE]))[0], OutcomeUnknown)


def test_an_invoice_is_read_in_our_words() -> None:
    one = reading(INVOICE).invoices[ONE]
    assert (one.number, one.customer_name, one.customer_email) == (
        "INV-00042",
        "Nordlicht GmbH",
        "ida@nordlicht.example",
    )
    assert (one.currency, one.exponent, one.amount_minor, one.balance_minor) == (
        "EUR",
        2,
        120000,
        20000,
    )
    assert (one.issued_on, one.due_on) == (date(2026, 3, 2), date(2026, 4, 1))
    assert one.raw == INVOICE


def test_what_may_be_null_may_be_null() -> None:
    nothing = dict.fromkeys(
        ("document_id", "total_amount", "issue_date", "due_date", "counterpart_contact")
    )
    one = reading({**INVOICE, **nothing, "currency": "JPY"}).invoices[ONE]
    assert (one.number, one.amount_minor, one.exponent, one.issued_on) == ("", None, 0, None)
    assert one.customer_email == ""


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("issued", Status.OPEN),
        ("overdue", Status.OPEN),
        ("partially_paid", Status.PARTIALLY_PAID),
        ("canceled", Status.CANCELLED),
        ("cancelled", Status.UNKNOWN),
        ("failed", Status.UNKNOWN),
        ("a_new_word", Status.UNKNOWN),
    ],
)
def test_only_issued_and_overdue_may_be_cancelled(word: str, status: Status) -> None:
    one = reading({**INVOICE, "status": word}).invoices[ONE]
    assert (one.status, one.provider_status) == (status, word)
    assert (one.status in Monite.cancellable) == (word in ("issued", "overdue"))


def test_the_list_brings_every_invoice_once(sandbox: Control, monite: Monite) -> None:
    sandbox.reset({ACCOUNT: 230})
    pages = list(monite.list())
    references = [one.reference for page in pages for one in page.invoices]
    assert [len(page.invoices) for page in pages] == [100, 100, 30]
    assert sorted(references) == sorted(sandbox.ids(ACCOUNT))


def test_the_limit_goes_with_every_page_and_a_circle_ends() -> None:
    script = after_sign_in(lambda asked: page(INVOICE, None, following="again"))
    with (
        scripted(script) as server,
        speaking(Monite, server.url, CLIENT) as (adapter, _),
        pytest.raises(OutcomeUnknown, match="circle"),
    ):
        list(adapter.list())
    pages = [asked.query for asked in server.asked if asked.path == "/receivables"]
    assert pages == [
        {"type": ["invoice"], "limit": ["100"], "sort": ["created_at"], "order": ["asc"]},
        {"limit": ["100"], "pagination_token": ["again"]},
    ]


@pytest.mark.parametrize("flow", ["compliant", "non_compliant", "partially_compliant"])
def test_the_check_learns_whether_a_credit_note_is_sent(
    sandbox: Control, monite: Monite, flow: str
) -> None:
    sandbox.switch(monite_edit_flow=flow)
    assert monite.check().facts == {"receivable_edit_flow": flow}


def test_staff_are_told_what_the_customer_gets() -> None:
    def told(**facts: str) -> str:
        return Monite.consequences(facts, {})[0]

    assert "sends it to the customer" in told(receivable_edit_flow="compliant")
    assert "no credit note" in told(receivable_edit_flow="non_compliant")
    for facts in ({}, {"receivable_edit_flow": "partially_compliant"}):
        assert "may issue a credit note" in told(**facts)
        assert "not known" in told(**facts)
