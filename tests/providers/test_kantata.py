"""Kantata OX: what its answers come to, against the sandbox and against scripted oddities."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from providers.adapters.base import CancelAnswer, Status
from providers.adapters.kantata import Kantata
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
from tests.providers.scripted import Reply, Script, scripted, speaking

ACCOUNT = "kantata-studio"
TOKEN = CREDENTIALS[ACCOUNT]
INVOICE = {
    "id": "77",
    "user_invoice_number": 1042,
    "title": "Invoice #1042",
    "status": "new",
    "draft": False,
    "balance_in_cents": 1250000,
    "currency": "USD",
    "currency_base_unit": 100,
    "invoice_date": "2026-03-01",
    "due_date": "2026-03-31",
    "recipient_id": "88",
    "workspace_ids": ["501"],
}
SIDE_LOADED = {
    "users": {"88": {"id": "88", "full_name": "Ana Ruiz", "email_address": "ana@acme.example"}},
    "workspaces": {"501": {"id": "501", "title": "Acme rollout"}},
}


def envelope(*entries: Any, **more: Any) -> dict[str, Any]:
    results = [{"key": "invoices", "id": entry["id"]} for entry in entries]
    invoices = {entry["id"]: entry for entry in entries}
    body = {"count": len(entries), "results": results, "invoices": invoices}
    return {**body, **SIDE_LOADED, **more}


def errors(status: int, kind: str, message: str = "No.") -> Reply:
    return Reply(status, {"errors": [{"type": kind, "message": message}]})


@pytest.fixture
def sandbox() -> Iterator[Control]:
    with running() as server:
        yield server.control


@pytest.fixture
def kantata(sandbox: Control) -> Iterator[Kantata]:
    with speaking(Kantata, sandbox.origin + BASE_PATHS["kantata"], TOKEN) as (adapter, _):
        yield adapter


def cancelling(script: Script) -> CancelAnswer | ProviderError:
    """What cancelling invoice 77 comes to when Kantata answers by the script."""
    with scripted(script) as server, speaking(Kantata, server.url, TOKEN) as (adapter, _):
        try:
            return adapter.cancel(["77"], {})["77"]
        except ProviderError as error:
            return error


def reading(entry: Any) -> Any:
    """The invoice 77 as read from this entry."""
    with (
        scripted(lambda asked: Reply(200, envelope(entry))) as server,
        speaking(Kantata, server.url, TOKEN) as (adapter, _),
    ):
        return adapter.fetch(["77"]).invoices["77"]


def test_an_answer_that_shows_the_invoice_cancelled_is_proof(
    sandbox: Control, kantata: Kantata
) -> None:
    one = sandbox.add_invoice(ACCOUNT)
    assert kantata.cancel([one], {}) == {one: CancelAnswer(confirmed=True, proven=True)}
    assert sandbox.invoice(ACCOUNT, one)["status"] == "cancelled"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Please sign in</html>",
        [],
        {"ok": True},
        envelope(INVOICE),
        envelope({**INVOICE, "id": "78", "status": "cancelled"}),
        envelope({**INVOICE, "status": "canceled"}),
        {"results": [], "invoices": {"77": {**INVOICE, "status": "cancelled"}}},
        {"results": [{"key": "invoices", "id": "77"}], "invoices": {"77": None}},
    ],
)
def test_a_success_that_does_not_show_it_is_neither_yes_nor_no(body: Any) -> None:
    error = cancelling(lambda asked: Reply(200, body))
    assert isinstance(error, OutcomeUnknown)
    assert (error.code, error.status) == ("unexpected_answer", 200)


@pytest.mark.parametrize("status", [400, 409, 422])
def test_a_refusal_without_a_reliable_reason_asks_for_a_read(status: int) -> None:
    error = cancelling(lambda asked: errors(status, "validation", "Already cancelled"))
    assert isinstance(error, ReadToDecide)
    assert not error.pause_account
    assert "Already cancelled" in error.message


def test_a_404_says_that_it_may_be_a_matter_of_permission() -> None:
    for kind in ("validation", "system"):
        error = cancelling(lambda asked, kind=kind: errors(404, kind))  # type: ignore[misc]
        assert isinstance(error, Refused)
        assert error.code == "not_found"
        assert "permission" in error.message


def test_a_404_page_of_some_gateway_proves_nothing() -> None:
    assert isinstance(cancelling(lambda asked: Reply(404, b"<html>")), OutcomeUnknown)


def test_a_problem_with_the_account_is_not_taken_for_one_with_the_invoice() -> None:
    error = cancelling(lambda asked: errors(422, "system", "Your account has been canceled"))
    assert isinstance(error, ReadToDecide)
    assert error.pause_account


def test_a_rejected_token_is_not_tried_twice(sandbox: Control) -> None:
    one = sandbox.add_invoice(ACCOUNT)
    base = sandbox.origin + BASE_PATHS["kantata"]
    with speaking(Kantata, base, {"token": "a-revoked-token"}) as (adapter, kept):
        with pytest.raises(CredentialsRejected):
            adapter.cancel([one], {})
        assert kept.purposes == ["cancel"]


def test_a_throttled_call_is_to_be_made_later() -> None:
    error = cancelling(lambda asked: errors(429, "system"))
    assert isinstance(error, TryLater)
    assert error.retry_after is None


def test_a_server_error_leaves_the_outcome_open() -> None:
    assert isinstance(cancelling(lambda asked: errors(503, "system")), OutcomeUnknown)


def test_the_token_is_sent_and_never_recorded(sandbox: Control) -> None:
    one = sandbox.add_invoice(ACCOUNT)
    with speaking(Kantata, sandbox.origin + BASE_PATHS["kantata"], TOKEN) as (adapter, kept):
        adapter.fetch([one])
    assert TOKEN["token"] not in repr(kept.requests) + repr(kept.exchanges)


@pytest.mark.parametrize(
    "reference", ["", "0", "012", "12345678901", "..", "1/2", "1?x=1", "1\r\nX: y", "٣", "1042 "]
)
def test_nothing_but_a_plain_id_gets_near_a_url(reference: str) -> None:
    with speaking(Kantata, "http://127.0.0.1:9", TOKEN) as (adapter, kept):
        with pytest.raises(NotSent):
            adapter.cancel([reference], {})
        with pytest.raises(NotSent):
            adapter.fetch([reference])
        assert kept.requests == []


def test_one_request_reads_many_and_names_what_is_missing(
    sandbox: Control, kantata: Kantata
) -> None:
    first, second = sandbox.add_invoice(ACCOUNT), sandbox.add_invoice(ACCOUNT, status="paid")
    found = kantata.fetch([first, second, "9999999"])
    assert {key: one.status for key, one in found.invoices.items()} == {
        first: Status.OPEN,
        second: Status.PAID,
    }
    assert (set(found.missing), set(found.unreadable)) == ({"9999999"}, set())
    assert len(sandbox.log(kind="fetch")) == 1


def test_a_read_that_was_cut_short_calls_nothing_missing() -> None:
    body = {**envelope(INVOICE), "count": 2}
    with (
        scripted(lambda asked: Reply(200, body)) as server,
        speaking(Kantata, server.url, TOKEN) as (adapter, _),
    ):
        found = adapter.fetch(["77", "78"])
    assert (set(found.missing), set(found.unreadable)) == (set(), {"78"})


@pytest.mark.parametrize("result", [None, "done", {"key": "invoices"}, {"key": "users", "id": "9"}])
def test_beside_a_result_that_names_no_invoice_nothing_is_missing(result: Any) -> None:
    body = envelope(INVOICE)
    body = {**body, "results": [*body["results"], result]}
    with (
        scripted(lambda asked: Reply(200, body)) as server,
        speaking(Kantata, server.url, TOKEN) as (adapter, _),
    ):
        found = adapter.fetch(["77", "78"])
    assert (set(found.missing), set(found.unreadable)) == (set(), {"78"})


@pytest.mark.parametrize("damaged", [{"id": "77"}, {**INVOICE, "id": "78"}, [], None, "text"])
def test_an_entry_without_sense_is_unreadable_and_not_missing(damaged: Any) -> None:
    body = {**envelope(INVOICE), "invoices": {"77": damaged}}
    with (
        scripted(lambda asked: Reply(200, body)) as server,
        speaking(Kantata, server.url, TOKEN) as (adapter, _),
    ):
        found = adapter.fetch(["77"])
    assert (dict(found.invoices), set(found.missing), set(found.unreadable)) == ({}, set(), {"77"})


def test_a_refused_read_is_a_failed_read() -> None:
    for status in (400, 403, 404, 422):
        with (
            scripted(lambda asked, status=status: errors(status, "x")) as server,  # type: ignore[misc]
            speaking(Kantata, server.url, TOKEN) as (adapter, _),
            pytest.raises(OutcomeUnknown, match="read_failed"),
        ):
            adapter.fetch(["77"])


def test_an_invoice_is_read_with_all_that_came_along() -> None:
    one = reading(INVOICE)
    assert (one.number, one.customer_name, one.customer_email) == (
        "1042",
        "Ana Ruiz",
        "ana@acme.example",
    )
    assert (one.currency, one.exponent, one.amount_minor, one.balance_minor) == (
        "USD",
        2,
        1250000,
        1250000,
    )
    assert (one.issued_on, one.due_on) == (date(2026, 3, 1), date(2026, 3, 31))
    assert (one.status, one.provider_status, one.raw) == (Status.OPEN, "new", INVOICE)


def test_without_a_recipient_the_project_names_the_customer() -> None:
    assert reading({**INVOICE, "recipient_id": None}).customer_name == "Acme rollout"


@pytest.mark.parametrize(
    ("word", "draft", "status"),
    [
        ("new", False, Status.OPEN),
        ("new", True, Status.DRAFT),
        (None, True, Status.DRAFT),
        ("new", None, Status.UNKNOWN),
        ("accepted payment", False, Status.PAID),
        ("cancelled", False, Status.CANCELLED),
        ("cancelled", True, Status.UNKNOWN),
        ("canceled", False, Status.UNKNOWN),
        ("New", False, Status.UNKNOWN),
    ],
)
def test_a_status_is_told_by_word_and_draft_flag(word: Any, draft: Any, status: Status) -> None:
    one = reading({**INVOICE, "status": word, "draft": draft})
    assert one.status is status
    assert (word or "") in one.provider_status


@pytest.mark.parametrize(
    ("unit", "exponent", "amount"),
    [(1, 0, 1250000), (1000, 3, 1250000), (100, 2, 1250000), (5, 2, None), (None, 2, None)],
)
def test_the_base_unit_tells_the_decimal_places(unit: Any, exponent: int, amount: Any) -> None:
    one = reading({**INVOICE, "currency_base_unit": unit})
    assert (one.exponent, one.amount_minor, one.balance_minor) == (exponent, amount, amount)


@pytest.mark.parametrize(
    ("status", "balance", "amount"),
    [("accepted payment", 0, None), ("accepted payment", 900, 900), ("cancelled", 900, 900)],
)
def test_a_balance_of_nought_after_payment_is_no_amount(
    status: str, balance: int, amount: int | None
) -> None:
    one = reading({**INVOICE, "status": status, "balance_in_cents": balance})
    assert (one.amount_minor, one.balance_minor) == (amount, balance)


def test_the_list_brings_every_invoice_once(sandbox: Control, kantata: Kantata) -> None:
    sandbox.reset({ACCOUNT: 230})
    pages = list(kantata.list())
    references = [one.reference for page in pages for one in page.invoices]
    assert [len(page.invoices) for page in pages] == [100, 100, 30]
    assert sorted(references) == sorted(sandbox.ids(ACCOUNT))


def test_the_list_can_be_told_to_bring_only_what_changed(
    sandbox: Control, kantata: Kantata
) -> None:
    sandbox.reset({ACCOUNT: 5})
    changed = sandbox.ids(ACCOUNT, "open")[0]
    sandbox.pay(ACCOUNT, changed)
    since = datetime.now(UTC) - timedelta(minutes=1)
    pages = list(kantata.list(since))
    assert [one.reference for page in pages for one in page.invoices] == [changed]


def test_the_check_says_how_many_invoices_the_user_can_see(
    sandbox: Control, kantata: Kantata
) -> None:
    sandbox.reset({ACCOUNT: 3})
    assert "3 invoices" in kantata.check().summary


def test_staff_are_told_what_becomes_of_the_project() -> None:
    words = " ".join(Kantata.consequences({}, {}))
    assert "billable again" in words
    assert "activity feed" in words


def test_what_is_recorded_names_the_invoice_concerned(sandbox: Control) -> None:
    one = sandbox.add_invoice(ACCOUNT)
    base = sandbox.origin + BASE_PATHS["kantata"]
    with speaking(Kantata, base, TOKEN) as (adapter, kept):
        adapter.cancel([one], {})
    assert [request.references for request in kept.requests] == [(one,)]
