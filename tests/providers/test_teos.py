"""TEOS: what its answers come to, against the sandbox and against scripted oddities."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

import pytest

from providers.adapters.base import CancelAnswer, Status
from providers.adapters.teos import Teos, reset_seconds
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
ACCOUNT = "teos-ledger"
KEY = CREDENTIALS[ACCOUNT]
ONE = "262fced5-70e0-41fa-3d70-08da3285184e"
TWO = "262fced5-70e0-41fa-3d70-08da3285184f"
TRANSACTION = "37514be7-d096-4bb8-95da-edb03b723bb2"
ASSET = "0x096d45a5c311f13c97fca0001"
NEVER = "0001-01-01T00:00:00Z"
INVOICE: dict[str, Any] = {
    "Id": ONE,
    "Status": "Open",
    "UniqueAssetId": ASSET,
    "DesiredAmount": "12500000",
    "Description": '{"number":"T-118","customer":"Acme"}',
    "CreatedOn": "2026-03-01T09:40:23.263Z",
    "UpdatedOn": "2026-03-01T09:40:23.263Z",
    "DueOn": "2026-04-01T00:00:00Z",
    "TransactionId": "00000000-0000-0000-0000-000000000000",
}
EURO = {"Name": "Euro token", "SparkFactor": "100000", "CurrencyCode": "EUR"}


def with_asset(script: Script, asset: Any = EURO) -> Script:
    """The script for everything but the asset, which is shown as given."""

    def answer(asked: Asked) -> Reply:
        if "/Assets(" not in asked.path:
            return script(asked)
        return asset if isinstance(asset, Reply) else Reply(200, asset)

    return answer


def trying(script: Script, act: Callable[[Teos], T]) -> tuple[T | ProviderError, Kept]:
    """What an act comes to when TEOS answers by the script, and what was recorded."""
    with scripted(script) as server, speaking(Teos, server.url, KEY) as (adapter, kept):
        try:
            return act(adapter), kept
        except ProviderError as error:
            return error, kept


def cancelling(reply: Reply) -> Any:
    return trying(lambda asked: reply, lambda teos: teos.cancel([ONE, TWO], {}))[0]


def reading(entry: Any, asset: Any = EURO) -> Any:
    script = with_asset(lambda asked: Reply(200, {"value": [entry]}), asset)
    found: Any = trying(script, lambda teos: teos.fetch([ONE]))[0]
    return found.invoices[ONE]


@pytest.fixture
def sandbox() -> Iterator[Control]:
    with running() as server:
        yield server.control


@pytest.fixture
def teos(sandbox: Control) -> Iterator[Teos]:
    with speaking(Teos, sandbox.origin + BASE_PATHS["teos"], KEY) as (adapter, _):
        yield adapter


def test_a_202_confirms_nothing_and_only_reading_tells(sandbox: Control, teos: Teos) -> None:
    sandbox.switch(teos_delay=0.2)
    first, second = sandbox.add_invoice(ACCOUNT), sandbox.add_invoice(ACCOUNT, status="paid")
    answers = teos.cancel([first, second], {})
    assert {one.confirmed for one in answers.values()} == {False}
    assert list(answers) == [first, second]
    assert len(sandbox.log(kind="cancel")) == 1
    assert teos.fetch([first]).invoices[first].status is Status.OPEN
    time.sleep(0.4)
    now = teos.fetch([first, second]).invoices
    assert (now[first].status, now[second].status) == (Status.CANCELLED, Status.PAID)


@pytest.mark.parametrize("answer", ["202", "200", "201", "empty"])
def test_every_success_is_taken_alike(sandbox: Control, teos: Teos, answer: str) -> None:
    sandbox.switch(teos_cancel_answer=answer)
    one = sandbox.add_invoice(ACCOUNT)
    given = teos.cancel([one], {})[one]
    assert (given.confirmed, given.proven) == (False, False)


@pytest.mark.parametrize(
    ("body", "advice"),
    [
        ({"Id": TRANSACTION, "State": "Received"}, TRANSACTION),
        ({"id": TRANSACTION.upper()}, TRANSACTION),
        ({"Id": 7}, ""),
        ({"Id": "../x"}, ""),
        ({}, ""),
        ([], ""),
        (None, ""),
        (b"", ""),
    ],
)
def test_the_transaction_is_advice_and_may_be_absent(body: Any, advice: str) -> None:
    answer = CancelAnswer(confirmed=False, proven=False, advice=advice)
    assert cancelling(Reply(202, body)) == {ONE: answer, TWO: answer}


def test_a_page_that_is_not_teos_proves_nothing() -> None:
    assert isinstance(cancelling(Reply(202, b"<html>")), OutcomeUnknown)


def test_the_cancel_names_all_ids_in_one_body() -> None:
    with (
        scripted(lambda asked: Reply(202)) as server,
        speaking(Teos, server.url, KEY) as (adapter, kept),
    ):
        adapter.cancel([ONE, TWO], {})
    (asked,) = server.asked
    assert (asked.method, asked.target) == ("POST", "/odata/v1.1/Invoices/Cancel")
    assert json.loads(asked.body) == {"invoiceIds": [ONE, TWO]}
    assert asked.headers["authorization"] == f"Bearer {KEY['api_key']}"
    assert kept.requests[0].references == (ONE, TWO)
    assert KEY["api_key"] not in repr(kept.requests) + repr(kept.exchanges)


def test_the_version_is_a_setting_and_no_other_text_gets_into_the_path() -> None:
    with scripted(lambda asked: Reply(200)) as server:
        with speaking(Teos, server.url, KEY, {"version": "v1.0"}) as (adapter, _):
            adapter.check()
        with (
            speaking(Teos, server.url, KEY, {"version": "v1/../x"}) as (adapter, _),
            pytest.raises(NotSent),
        ):
            adapter.check()
    assert [asked.target for asked in server.asked] == ["/odata/v1.0/Ping"]


def test_a_rejected_request_asks_for_a_read() -> None:
    error = cancelling(Reply(400, {"code": "21000", "message": "Preconditions failed"}))
    assert isinstance(error, ReadToDecide)
    assert error.provider_code == "21000"


def test_a_404_to_a_cancel_is_about_the_address_and_not_about_any_invoice() -> None:
    error = cancelling(Reply(404, {"code": "12000", "message": "No such resource"}))
    assert isinstance(error, ReadToDecide)
    assert error.pause_account


def test_a_403_pauses_the_account() -> None:
    error = cancelling(Reply(403, {"code": "11001", "message": "No"}))
    assert isinstance(error, Refused)
    assert error.pause_account


def test_a_rejected_key_needs_a_person(sandbox: Control) -> None:
    base = sandbox.origin + BASE_PATHS["teos"]
    with (
        speaking(Teos, base, {"api_key": "an-expired-key"}) as (adapter, _),
        pytest.raises(CredentialsRejected),
    ):
        adapter.check()


@pytest.mark.parametrize("status", [400, 403, 429])
@pytest.mark.parametrize("code", ["13000", 13000])
def test_throttling_is_told_by_its_code_whatever_the_status(status: int, code: Any) -> None:
    reset = (datetime.now(UTC) + timedelta(seconds=40)).strftime("%Y-%m-%dT%H:%M:%S.%f") + "7Z"
    headers = {"X-Rate-Limit-Reset": reset, "Retry-After": "5"}
    error = cancelling(Reply(status, {"code": code, "message": "Too many"}, headers))
    assert isinstance(error, TryLater)
    assert error.retry_after is not None
    assert 30 < error.retry_after <= 40


def test_without_a_reset_moment_retry_after_counts() -> None:
    error = cancelling(Reply(429, b"", {"Retry-After": "5", "X-Rate-Limit-Reset": "soon"}))
    assert isinstance(error, TryLater)
    assert error.retry_after == 5.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2026-11-20T09:00:30.1234567Z", 30.123456),
        ("2026-11-20T09:00:30.1234567", 30.123456),
        ("2026-11-20T10:00:30+01:00", 30.0),
        ("2026-11-20T08:00:00Z", 1.0),
        ("2026-11-22T08:00:00Z", 3600.0),
        ("", None),
        ("30", None),
        ("never", None),
    ],
)
def test_a_reset_moment_becomes_seconds_within_an_hour(value: str, seconds: float | None) -> None:
    assert reset_seconds(value, datetime(2026, 11, 20, 9, tzinfo=UTC)) == seconds


def test_the_sandbox_throttles_and_says_until_when(sandbox: Control, teos: Teos) -> None:
    sandbox.limit(ACCOUNT, 2, 60)
    teos.check()
    teos.check()
    with pytest.raises(TryLater) as caught:
        teos.check()
    assert caught.value.retry_after is not None


@pytest.mark.parametrize("shape", ["envelope", "bare"])
def test_one_read_names_what_is_there_and_what_is_missing(
    sandbox: Control, teos: Teos, shape: str
) -> None:
    sandbox.switch(teos_list=shape)
    first, second = sandbox.add_invoice(ACCOUNT), sandbox.add_invoice(ACCOUNT)
    found = teos.fetch([first, second, ONE])
    assert set(found.invoices) == {first, second}
    assert (set(found.missing), set(found.unreadable)) == ({ONE}, set())


def test_pages_cut_short_are_read_on_before_anything_is_called_missing() -> None:
    rows = [{**INVOICE, "Id": ONE}, {**INVOICE, "Id": TWO}]

    def script(asked: Asked) -> Reply:
        start = int(asked.query.get("$skip", ["0"])[0])
        return Reply(200, rows[start : start + 1])

    found: Any = trying(with_asset(script), lambda teos: teos.fetch([ONE, TWO, TRANSACTION]))[0]
    assert (set(found.invoices), found.missing) == ({ONE, TWO}, {TRANSACTION})


def test_a_server_that_repeats_its_page_makes_nothing_missing() -> None:
    script = with_asset(lambda asked: Reply(200, [INVOICE]))
    found: Any = trying(script, lambda teos: teos.fetch([ONE, TWO]))[0]
    assert (set(found.invoices), found.missing, found.unreadable) == ({ONE}, frozenset(), {TWO})


def test_a_first_page_of_nonsense_makes_nothing_missing() -> None:
    def script(asked: Asked) -> Reply:
        if "$skip" in asked.query:
            return Reply(200, {"value": [], "@odata.count": 1})
        return Reply(200, ["done", None, 1])

    found: Any = trying(script, lambda teos: teos.fetch([ONE]))[0]
    assert (found.invoices, found.missing, found.unreadable) == ({}, frozenset(), {ONE})


def test_a_link_to_the_next_page_is_a_sign_and_never_followed() -> None:
    def script(asked: Asked) -> Reply:
        if "$skip" in asked.query:
            return Reply(200, {"value": [{**INVOICE, "Id": TWO}]})
        link = "http://127.0.0.1:9/evil?$skip=1"
        return Reply(200, {"value": [INVOICE], "@odata.nextLink": link})

    with (
        scripted(with_asset(script)) as server,
        speaking(Teos, server.url, KEY) as (adapter, _),
    ):
        assert set(adapter.fetch([ONE, TWO]).invoices) == {ONE, TWO}
    reads = [asked for asked in server.asked if asked.path.endswith("/Invoices")]
    assert [asked.query["$filter"] for asked in reads] == [[f"Id in ({ONE},{TWO})"]] * 2
    assert [asked.query.get("$skip") for asked in reads] == [None, ["1"]]


def test_damaged_entries_are_unreadable_and_never_a_crash() -> None:
    rows: Any = [None, 5, [], {"Id": None}, {"Id": ONE}, {"Id": "x", "Status": "Open"}]
    body = {"value": rows, "@odata.count": len(rows)}
    found: Any = trying(lambda asked: Reply(200, body), lambda teos: teos.fetch([ONE, TWO]))[0]
    # One of those that name no invoice may have been the other.
    assert (found.invoices, found.missing, found.unreadable) == ({}, frozenset(), {ONE, TWO})
    pages: Any = trying(lambda asked: Reply(200, body), lambda teos: list(teos.list()))[0]
    assert [(len(page.invoices), page.unreadable) for page in pages] == [(0, 6)]


@pytest.mark.parametrize("body", [b"<html>", {"value": None}, {"code": "1"}, "text", None])
def test_a_senseless_read_is_a_failed_read(body: Any) -> None:
    result, _ = trying(lambda asked: Reply(200, body), lambda teos: teos.fetch([ONE]))
    assert isinstance(result, OutcomeUnknown)


def test_a_refused_read_is_a_failed_read() -> None:
    for status in (400, 403, 404):
        reply = Reply(status, {"code": "12000", "message": "No"})
        result, _ = trying(lambda asked, reply=reply: reply, lambda teos: teos.fetch([ONE]))  # type: ignore[misc]
        assert isinstance(result, OutcomeUnknown)
        assert result.code == "read_failed"


@pytest.mark.parametrize("reference", ["", "..", ONE.upper(), ONE + "\n", f"{ONE})", "a,b", "'"])
def test_nothing_but_a_uuid_gets_near_a_request(reference: str) -> None:
    with speaking(Teos, "http://127.0.0.1:9", KEY) as (adapter, kept):
        for act in (adapter.fetch, lambda references: adapter.cancel(references, {})):
            with pytest.raises(NotSent):
                act([ONE, reference])
        assert kept.requests == []


def test_an_invoice_is_read_in_our_words() -> None:
    one = reading(INVOICE)
    assert (one.number, one.customer_name) == ("T-118", "Acme")
    assert (one.currency, one.exponent, one.amount_minor) == ("EUR", 5, 12500000)
    assert (one.issued_on, one.due_on) == (date(2026, 3, 1), date(2026, 4, 1))
    assert (one.status, one.provider_status, one.raw) == (Status.OPEN, "Open", INVOICE)


def test_an_id_in_capitals_is_the_same_invoice() -> None:
    assert reading({**INVOICE, "Id": ONE.upper()}).reference == ONE


@pytest.mark.parametrize(
    ("factor", "amount", "exponent", "minor"),
    [
        ("100", "12500000", 2, 12500000),
        (1, 7, 0, 7),
        ("1000000000000000000", "5", 18, 5),
        ("250", "12500000", 0, None),
        ("0.5", "12500000", 0, None),
        (None, "12500000", 0, None),
        ("100", "12.5", 2, None),
        ("100", str(2**63), 2, None),
    ],
)
def test_sparks_are_minor_units_only_by_a_power_of_ten(
    factor: Any, amount: Any, exponent: int, minor: int | None
) -> None:
    one = reading({**INVOICE, "DesiredAmount": amount}, {**EURO, "SparkFactor": factor})
    assert (one.exponent, one.amount_minor) == (exponent, minor)


def test_an_asset_without_a_currency_goes_by_its_name() -> None:
    assert reading(INVOICE, {"Name": "Gold", "SparkFactor": "100"}).currency == "Gold"


@pytest.mark.parametrize(
    ("description", "number", "customer"),
    [
        ('{"number": 118, "customer": null}', "118", ""),
        ('{"customer": "Acme"}', ONE[:8], "Acme"),
        ("Rent for May", "Rent for May", ""),
        ("{not json", "{not json", ""),
        ("[1, 2]", ONE[:8], ""),
        ("[" * 5000, ("[" * 5000)[:150], ""),
        ("", ONE[:8], ""),
        (None, ONE[:8], ""),
        ({"number": "x"}, ONE[:8], ""),
    ],
)
def test_number_and_customer_are_taken_out_of_the_description(
    description: Any, number: str, customer: str
) -> None:
    one = reading({**INVOICE, "Description": description})
    assert (one.number, one.customer_name) == (number, customer)


def test_an_asset_is_asked_for_once() -> None:
    script = with_asset(lambda asked: Reply(200, {"value": [INVOICE, {**INVOICE, "Id": TWO}]}))
    with scripted(script) as server, speaking(Teos, server.url, KEY) as (adapter, _):
        adapter.fetch([ONE, TWO])
        adapter.fetch([ONE, TWO])
    assets = [asked for asked in server.asked if "Assets" in asked.path]
    assert [asked.path for asked in assets] == [f"/odata/v1.1/Assets(%27{ASSET}%27)"]


def test_an_asset_that_is_refused_leaves_the_amount_open() -> None:
    one = reading(INVOICE, Reply(404, {"code": "12000", "message": "No"}))
    assert (one.status, one.amount_minor, one.currency) == (Status.OPEN, None, "")


def test_an_asset_that_fails_fails_the_read_so_that_no_amount_seems_changed() -> None:
    script = with_asset(lambda asked: Reply(200, [INVOICE]), Reply(500, {}))
    assert isinstance(trying(script, lambda teos: teos.fetch([ONE]))[0], OutcomeUnknown)


def test_an_asset_id_of_another_form_is_never_asked_for() -> None:
    script = with_asset(lambda asked: Reply(200, [{**INVOICE, "UniqueAssetId": "x')/../"}]))
    found, kept = trying(script, lambda teos: teos.fetch([ONE]))
    assert not isinstance(found, ProviderError)
    assert found.invoices[ONE].amount_minor is None
    assert len(kept.requests) == 1


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("Open", Status.OPEN),
        ("Processing", Status.PAYMENT_PENDING),
        ("Paid", Status.PAID),
        ("Expired", Status.EXPIRED),
        ("Cancelled", Status.CANCELLED),
        ("Failed", Status.UNKNOWN),
        ("canceled", Status.UNKNOWN),
        ("3", Status.UNKNOWN),
    ],
)
def test_only_open_may_be_cancelled(word: str, status: Status) -> None:
    one = reading({**INVOICE, "Status": word})
    assert (one.status, one.provider_status) == (status, word)
    assert (one.status in Teos.cancellable) == (word == "Open")


@pytest.mark.parametrize("shape", ["envelope", "bare"])
def test_the_list_brings_every_invoice_once(sandbox: Control, teos: Teos, shape: str) -> None:
    sandbox.reset({ACCOUNT: 120})
    sandbox.switch(teos_list=shape)
    pages = list(teos.list())
    references = [one.reference for page in pages for one in page.invoices]
    assert sorted(references) == sorted(sandbox.ids(ACCOUNT))
    assert sum(page.unreadable for page in pages) == 0


def test_the_list_can_be_told_to_bring_only_what_changed(sandbox: Control, teos: Teos) -> None:
    sandbox.reset({ACCOUNT: 5})
    changed = sandbox.ids(ACCOUNT, "open")[0]
    sandbox.pay(ACCOUNT, changed)
    pages = list(teos.list(datetime.now(UTC) - timedelta(minutes=1)))
    assert [one.reference for page in pages for one in page.invoices] == [changed]


def test_a_server_that_ignores_the_skip_does_not_hold_the_list_for_ever() -> None:
    script = with_asset(lambda asked: Reply(200, [INVOICE]))
    result, _ = trying(script, lambda teos: list(teos.list()))
    assert isinstance(result, OutcomeUnknown)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"State": "3", "OnCreated": "2026-03-01T09:40:23Z", "OnConfirmed": NEVER}, "received"),
        ({"State": "Confirmed", "OnConfirmed": "2026-03-01T09:40:23Z"}, "confirmed"),
        (
            {
                "OnConfirmed": "2026-03-01T09:40:23Z",
                "OnRevokedByBlockchain": "2026-03-02T09:40:23Z",
            },
            "revoked by the blockchain",
        ),
        ({"State": "Committed"}, "Committed"),
        ([], ""),
    ],
)
def test_a_transaction_is_told_by_its_moments(said: Any, words: str) -> None:
    result, _ = trying(lambda asked: Reply(200, said), lambda teos: teos.transaction(TRANSACTION))
    assert isinstance(result, str)
    assert result.startswith(words)


def test_the_check_accepts_a_good_key(teos: Teos) -> None:
    assert "accepted" in teos.check().summary


def test_staff_are_told_that_only_reading_confirms() -> None:
    words = " ".join(Teos.consequences({}, {}))
    assert "only once reading" in words
    assert "silently ignores" in words
