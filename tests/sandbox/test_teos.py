"""TEOS's dialect against its documentation."""

from __future__ import annotations

import json
import time
from urllib.parse import quote

import pytest

from providers.sandbox import SandboxServer
from tests.sandbox.client import Client
from tests.sandbox.conftest import Open

ACCOUNT = "teos-ledger"
V = "/odata/v1.1"
UNKNOWN = "5a4db0c5-0000-4000-8000-00000000dead"


def listed(teos: Client, query: str) -> list[str]:
    answer = teos.call("GET", f"{V}/Invoices?{quote(query, safe='=&$')}")
    assert answer.status == 200, answer.body
    return [row["Id"] for row in answer.json["value"]]


def test_cancelling_answers_202_with_a_transaction_and_takes_effect_later(
    sandbox: SandboxServer, at: Open
) -> None:
    sandbox.control.switch(teos_delay=0.2)
    teos, invoice = at(ACCOUNT), sandbox.control.add_invoice(ACCOUNT)
    answer = teos.cancel(invoice)
    assert (answer.status, answer.json["State"]) == (202, "Received")
    assert teos.fetch(invoice).json["Status"] == "Open"
    time.sleep(0.25)
    assert teos.fetch(invoice).json["Status"] == "Cancelled"
    transaction = teos.call("GET", f"{V}/Transactions({answer.json['Id']})").json
    assert transaction["State"] == "Confirmed"
    assert not transaction["OnConfirmed"].startswith("0001")
    assert sandbox.control.cancels(ACCOUNT, invoice)[0]["applied"] == [invoice]


def test_ids_that_are_not_open_are_ignored_without_any_sign(
    sandbox: SandboxServer, at: Open
) -> None:
    paid, opened = (sandbox.control.add_invoice(ACCOUNT, status=s) for s in ("paid", "open"))
    body = {"invoiceIds": [paid, UNKNOWN, opened]}
    answer = at(ACCOUNT).call("POST", f"{V}/Invoices/Cancel", body)
    assert answer.status == 202
    assert paid not in answer.body.decode()
    entry = sandbox.control.log()[-1]
    assert (entry["ids"], entry["applied"]) == ([paid, UNKNOWN, opened], [opened])
    assert sandbox.control.invoice(ACCOUNT, paid)["status"] == "Paid"


def test_paid_before_the_delay_is_over_it_stays_paid(sandbox: SandboxServer, at: Open) -> None:
    sandbox.control.switch(teos_delay=0.2)
    invoice = sandbox.control.add_invoice(ACCOUNT)
    at(ACCOUNT).cancel(invoice)
    sandbox.control.pay(ACCOUNT, invoice)
    time.sleep(0.25)
    assert sandbox.control.invoice(ACCOUNT, invoice)["status"] == "Paid"
    assert sandbox.control.cancels(ACCOUNT, invoice)[0]["applied"] == []


@pytest.mark.parametrize(
    "body",
    [
        {"InvoiceIds": [UNKNOWN]},
        {"invoiceIds": []},
        {"invoiceIds": ["not-a-guid"]},
        {"invoiceIds": UNKNOWN},
        [UNKNOWN],
    ],
)
def test_a_body_that_does_not_bind_is_12002(at: Open, body: object) -> None:
    answer = at(ACCOUNT).call("POST", f"{V}/Invoices/Cancel", body)
    assert (answer.status, answer.json["code"]) == (400, "12002")
    assert answer.json["clTraceId"] == answer.headers["cltraceid"]


@pytest.mark.parametrize("path", ["/odata/v1.0/Invoices/Cancel", "/odata/v1.1/invoices/cancel"])
def test_the_older_version_and_the_collections_spelling_work_too(
    sandbox: SandboxServer, at: Open, path: str
) -> None:
    body = {"invoiceIds": [sandbox.control.add_invoice(ACCOUNT)]}
    assert at(ACCOUNT).call("POST", path, body).status == 202


@pytest.mark.parametrize(
    ("variant", "status", "empty"),
    [("202", 202, False), ("200", 200, False), ("201", 201, False), ("empty", 202, True)],
)
def test_the_answer_to_a_cancel_varies_by_switch(
    sandbox: SandboxServer, at: Open, variant: str, status: int, empty: bool
) -> None:
    sandbox.control.switch(teos_cancel_answer=variant)
    invoice = sandbox.control.add_invoice(ACCOUNT)
    answer = at(ACCOUNT).cancel(invoice)
    assert (answer.status, answer.body == b"") == (status, empty)
    assert sandbox.control.invoice(ACCOUNT, invoice)["status"] == "Cancelled"


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        ("teos_revoked_by_user", "RevokedByUser"),
        ("teos_revoked_by_tx_server", "RevokedByTxServer"),
        ("teos_revoked_by_blockchain", "RevokedByBlockchain"),
        ("teos_never_signed", "Received"),
        ("teos_confirmed_but_open", "Confirmed"),
    ],
)
def test_an_asynchronous_end_other_than_cancelled(
    sandbox: SandboxServer, at: Open, fault: str, state: str
) -> None:
    teos, invoice = at(ACCOUNT), sandbox.control.add_invoice(ACCOUNT)
    sandbox.control.set_fault(fault, ACCOUNT, invoice)
    answer = teos.cancel(invoice)
    assert answer.status == 202
    transaction = teos.call("GET", f"{V}/Transactions({answer.json['Id']})").json
    assert transaction["State"] == state
    assert teos.fetch(invoice).json["Status"] == "Open"


def test_a_202_may_come_without_an_id_and_states_as_numbers(
    sandbox: SandboxServer, at: Open
) -> None:
    sandbox.control.switch(teos_state="number")
    sandbox.control.set_fault("teos_no_id", ACCOUNT)
    answer = at(ACCOUNT).cancel(sandbox.control.add_invoice(ACCOUNT)).json
    assert "Id" not in answer
    assert answer["State"] in ("0", "3")


def test_reading_by_ids_skips_missing_ones_and_counts_as_a_fetch(
    sandbox: SandboxServer, at: Open
) -> None:
    ids = [sandbox.control.add_invoice(ACCOUNT) for _ in range(2)]
    found = listed(at(ACCOUNT), f"$filter=Id in ({', '.join([*ids, UNKNOWN])})")
    assert set(found) == set(ids)
    entry = sandbox.control.log()[-1]
    assert (entry["kind"], entry["ids"]) == ("fetch", [*ids, UNKNOWN])


def test_a_page_has_at_most_fifty_rows_and_a_link_to_the_next(
    sandbox: SandboxServer, at: Open
) -> None:
    made = {sandbox.control.add_invoice(ACCOUNT) for _ in range(60)}
    teos = at(ACCOUNT)
    first = teos.call("GET", f"{V}/Invoices?$count=true&$top=1000").json
    assert (len(first["value"]), first["@odata.count"]) == (50, 60)
    path = first["@odata.nextLink"].removeprefix(sandbox.origin + "/teos")
    second = teos.call("GET", path).json
    assert "@odata.nextLink" not in second
    assert {row["Id"] for row in first["value"] + second["value"]} == made


def test_a_list_may_be_a_bare_array(sandbox: SandboxServer, at: Open) -> None:
    sandbox.control.switch(teos_list="bare")
    invoice = sandbox.control.add_invoice(ACCOUNT)
    assert [row["Id"] for row in at(ACCOUNT).call("GET", f"{V}/Invoices").json] == [invoice]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Status eq 'Open'", 2),
        ("Status ne 'Open'", 1),
        ("Status in ('Paid','Open')", 3),
        ("Status eq 'Paid' and UpdatedOn gt 2000-01-01T00:00:00Z", 1),
        ("UpdatedOn gt 2999-01-01T00:00:00Z", 0),
    ],
)
def test_filters_find_what_they_should(
    sandbox: SandboxServer, at: Open, text: str, count: int
) -> None:
    for status in ("open", "open", "paid"):
        sandbox.control.add_invoice(ACCOUNT, status=status)
    assert len(listed(at(ACCOUNT), f"$filter={text}")) == count


@pytest.mark.parametrize(
    "text", ["Id in (no-guid)", "Status eq Open", "Colour eq 'red'", "nonsense", "id eq 'x'"]
)
def test_a_filter_that_is_not_odata_is_12000(at: Open, text: str) -> None:
    answer = at(ACCOUNT).call("GET", f"{V}/Invoices?$filter={quote(text)}")
    assert (answer.status, answer.json["code"]) == (400, "12000")


def test_one_invoice_is_read_by_a_bare_guid(sandbox: SandboxServer, at: Open) -> None:
    invoice, teos = sandbox.control.add_invoice(ACCOUNT, amount=1250), at(ACCOUNT)
    shown = teos.fetch(invoice).json
    assert shown["DesiredAmount"].isdecimal()
    assert "Currency" not in shown
    assert teos.call("GET", f"{V}/Invoices(%27{invoice}%27)").status == 400
    assert teos.call("GET", f"{V}/Invoices({UNKNOWN})").status == 404
    assert teos.call("GET", f"{V}/Invoices%28{invoice}%29?$select=Id").json == {"Id": invoice}


def test_assets_say_how_to_read_an_amount(sandbox: SandboxServer, at: Open) -> None:
    teos = at(ACCOUNT)
    rows = teos.call("GET", f"{V}/Assets").json["value"]
    euro = next(row for row in rows if row.get("CurrencyCode") == "EUR")
    path = f"{V}/Assets('{euro['UniqueAssetId']}')"
    selected = teos.call("GET", f"{path}?$select=SparkFactor").json
    assert selected == {"SparkFactor": "100000"}
    assert any("CurrencyCode" not in row for row in rows)
    assert any(row["SparkFactor"] == "3" for row in rows)
    assert teos.call("GET", f"{V}/Assets({euro['UniqueAssetId']})").status == 404


def test_amounts_are_sparks_of_their_asset(sandbox: SandboxServer, at: Open) -> None:
    asset = "0x096d45a5c311f13c97fca0001"
    invoice = sandbox.control.add_invoice(ACCOUNT, amount=12_50, extra={"asset": asset})
    assert at(ACCOUNT).fetch(invoice).json["DesiredAmount"] == "1250000"


def test_the_description_is_json_or_words(sandbox: SandboxServer, at: Open) -> None:
    text = "Ärger, Nr. 7"
    invoice = sandbox.control.add_invoice(ACCOUNT, extra={"description": text})
    assert at(ACCOUNT).fetch(invoice).json["Description"] == text
    sandbox.control.reset(40)
    kinds = {row["extra"]["description"][0] == "{" for row in sandbox.control.invoices(ACCOUNT)}
    assert kinds == {True, False}


def test_a_ping_says_whether_the_key_is_good(at: Open) -> None:
    teos = at(ACCOUNT)
    assert teos.call("GET", f"{V}/Ping").status == 200
    teos.credentials["api_key"] = "wrong"
    assert teos.call("GET", f"{V}/Ping").status == 401
    assert teos.raw("GET", f"{V}/Ping").json["code"].startswith("11")


@pytest.mark.parametrize("status", [429, 400])
def test_too_many_requests_are_13000_and_still_count(
    sandbox: SandboxServer, at: Open, status: int
) -> None:
    sandbox.control.switch(teos_throttle_status=status)
    sandbox.control.limit(ACCOUNT, 1, 0.5)
    teos = at(ACCOUNT)
    answers = [teos.call("GET", f"{V}/Ping") for _ in range(2)]
    assert [answer.status for answer in answers] == [200, status]
    assert answers[1].json["code"] == "13000"
    assert len(answers[1].headers["x-rate-limit-reset"].partition(".")[2]) == len("0000000Z")
    time.sleep(0.3)
    assert teos.call("GET", f"{V}/Ping").status == status
    time.sleep(0.3)
    assert teos.call("GET", f"{V}/Ping").status == status
    time.sleep(0.55)
    assert teos.call("GET", f"{V}/Ping").status == 200


def test_reads_may_lag_behind(sandbox: SandboxServer, at: Open) -> None:
    sandbox.control.switch(teos_read_lag=0.2)
    teos, invoice = at(ACCOUNT), sandbox.control.add_invoice(ACCOUNT)
    teos.cancel(invoice)
    assert teos.fetch(invoice).json["Status"] == "Open"
    assert listed(teos, f"$filter=Id in ({invoice}) and Status eq 'Open'") == [invoice]
    time.sleep(0.25)
    assert teos.fetch(invoice).json["Status"] == "Cancelled"


def test_the_content_type_of_a_cancel_must_be_json(sandbox: SandboxServer, at: Open) -> None:
    teos, invoice = at(ACCOUNT), sandbox.control.add_invoice(ACCOUNT)
    headers = teos.headers("POST", "", None)
    body = json.dumps({"invoiceIds": [invoice]}).encode()
    assert teos.raw("POST", f"{V}/Invoices/Cancel", body, headers).status == 400
