"""Every fault, as a client sees it, and whether the provider carried the request out."""

from __future__ import annotations

import http.client
import socket
import time
import zlib
from collections.abc import Callable

import pytest

from providers.sandbox import PROVIDERS, SandboxServer
from providers.sandbox.faults import (
    ACCEPT,
    ANSWERS,
    NAMES,
    QUIET,
    SENT,
    TEOS,
    Fault,
    UnknownFaultError,
)
from tests.sandbox.client import Answer, client
from tests.sandbox.conftest import Open

CANCELLED = {
    "paypal-europe": "CANCELLED",
    "visa-harbour": "CANCELED",
    "monite-nord": "canceled",
    "kantata-studio": "cancelled",
    "teos-ledger": "Cancelled",
}
ACCOUNTS = tuple(CANCELLED)
CUT = (http.client.HTTPException, ConnectionError, TimeoutError)


def outcome(call: Callable[[], Answer]) -> Answer | type[BaseException]:
    try:
        return call()
    except CUT as error:
        return type(error)


def is_cancelled(sandbox: SandboxServer, account: str, invoice: str) -> bool:
    status: str = sandbox.control.invoice(account, invoice)["status"]
    return status == CANCELLED[account]


# -- the connection ends before the request is taken in ---------------------------


@pytest.mark.parametrize("name", ACCEPT)
@pytest.mark.parametrize("account", ACCOUNTS)
def test_a_connection_that_ends_at_accept_carries_nothing_out(
    sandbox: SandboxServer, at: Open, account: str, name: str
) -> None:
    provider, invoice = at(account), sandbox.control.add_invoice(account)
    provider.fetch(invoice)
    sandbox.control.set_fault(name, account, invoice)
    assert outcome(lambda: provider.cancel(invoice)) in (
        http.client.RemoteDisconnected,
        ConnectionResetError,
    )
    assert not is_cancelled(sandbox, account, invoice)
    assert provider.cancel(invoice).status < 300


@pytest.mark.parametrize("name", ["fin_at_accept", "rst_at_accept"])
def test_a_fault_of_no_account_ends_whichever_connection_comes_next(
    sandbox: SandboxServer, at: Open, name: str
) -> None:
    kantata = at("kantata-studio")
    before = len(sandbox.control.log())
    sandbox.control.set_fault(name)
    assert isinstance(outcome(lambda: kantata.fetch("1")), type)
    kantata.close()
    assert len(sandbox.control.log()) == before
    assert kantata.fetch("1").status == 404


# -- the request was read, the answer is missing or damaged ----------------------------


@pytest.mark.parametrize("applied", ["before", "after"])
@pytest.mark.parametrize("name", SENT)
def test_a_spoilt_answer_says_nothing_about_what_was_done(
    sandbox: SandboxServer, at: Open, name: str, applied: str
) -> None:
    account = "paypal-europe"
    invoice = sandbox.control.add_invoice(account)
    sandbox.control.set_fault(name, account, invoice, applied=applied, hold=1.0)
    paypal = at(account, timeout=0.4)
    paypal.fetch(invoice)
    result = outcome(lambda: paypal.cancel(invoice))
    assert isinstance(result, Answer) == (name in ("bad_gzip", "gzip_bomb", "oversize_body"))
    assert is_cancelled(sandbox, account, invoice) == (applied == "after")
    entry = sandbox.control.cancels(account, invoice)[0]
    assert entry["fault"] == name
    assert entry["applied"] == ([invoice] if applied == "after" else [])


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("name", ["short_body", "fin_after_request"])
def test_every_provider_can_act_and_then_be_cut_off(
    sandbox: SandboxServer, at: Open, account: str, name: str
) -> None:
    provider, invoice = at(account), sandbox.control.add_invoice(account)
    sandbox.control.set_fault(name, account, invoice, applied="after")
    assert isinstance(outcome(lambda: provider.cancel(invoice)), type)
    assert is_cancelled(sandbox, account, invoice)
    assert not sandbox.control.cancels(account, invoice)[0]["sent"]


def test_an_unreadable_body_is_gzip_and_a_bomb_inflates_to_more_than_four_megabytes(
    sandbox: SandboxServer, at: Open
) -> None:
    paypal, invoice = at("paypal-europe"), sandbox.control.add_invoice("paypal-europe")
    sandbox.control.set_fault("bad_gzip", kind="fetch")
    answer = paypal.fetch(invoice)
    assert answer.headers["content-encoding"] == "gzip"
    with pytest.raises(zlib.error):
        zlib.decompress(answer.body, 31)
    sandbox.control.set_fault("gzip_bomb", kind="fetch")
    bomb = paypal.fetch(invoice).body
    assert len(bomb) < 200_000
    assert len(zlib.decompressobj(31).decompress(bomb, 5_000_000)) == 5_000_000


def test_a_dripping_head_gives_a_byte_now_and_then(sandbox: SandboxServer, at: Open) -> None:
    sandbox.control.set_fault("header_drip", kind="any", hold=1.0)
    kantata = at("kantata-studio")
    address = kantata.host.split(":")
    with socket.create_connection((address[0], int(address[1])), timeout=0.6) as raw:
        head = f"GET {kantata.base}/invoices HTTP/1.1\r\nHost: {kantata.host}\r\n"
        token = kantata.credentials["token"]
        raw.sendall(f"{head}Authorization: Bearer {token}\r\n\r\n".encode())
        assert b"".join(raw.recv(10) for _ in range(3)) == b"HTT"


def test_a_cut_chunk_leaves_the_status_and_part_of_the_body(
    sandbox: SandboxServer, at: Open
) -> None:
    kantata, invoice = at("kantata-studio"), sandbox.control.add_invoice("kantata-studio")
    sandbox.control.set_fault("chunked_cut", kind="fetch")
    kantata.connection.request(
        "GET", kantata.base + "/invoices/" + invoice, headers=kantata.headers("GET", "", None)
    )
    answer = kantata.connection.getresponse()
    assert (answer.status, answer.getheader("Transfer-Encoding")) == (200, "chunked")
    with pytest.raises(http.client.IncompleteRead):
        answer.read()


# -- a whole answer, but the wrong one ---------------------------------------------------


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("account", ACCOUNTS)
def test_a_wrong_answer_comes_whole_and_nothing_is_carried_out(
    sandbox: SandboxServer, at: Open, account: str, name: str
) -> None:
    provider, invoice = at(account), sandbox.control.add_invoice(account)
    sandbox.control.set_fault(name, account, invoice)
    answer = provider.cancel(invoice)
    expected = {"unknown_2xx": 209}.get(name, int(name[:3]) if name[:3].isdigit() else 200)
    throttled = account == "teos-ledger" and expected == 429
    assert answer.status == expected or throttled
    assert not is_cancelled(sandbox, account, invoice)
    assert sandbox.control.cancels(account, invoice)[0]["sent"]


@pytest.mark.parametrize("account", ACCOUNTS)
def test_json_of_another_or_of_the_open_invoice_looks_like_the_provider(
    sandbox: SandboxServer, at: Open, account: str
) -> None:
    provider, invoice = at(account), sandbox.control.add_invoice(account)
    other = sandbox.control.add_invoice(account, status="cancelled")
    sandbox.control.set_fault("json_other_invoice", account, invoice)
    answer = provider.cancel(invoice)
    assert other in answer.body.decode()
    assert invoice not in answer.body.decode()
    sandbox.control.set_fault("json_status_still_open", account, invoice, applied="after")
    shown = provider.cancel(invoice).body.decode()
    assert invoice in shown
    assert f'"{CANCELLED[account]}"' not in shown
    assert is_cancelled(sandbox, account, invoice)


def test_a_redirect_points_to_the_same_server_so_that_following_it_is_seen(
    sandbox: SandboxServer, at: Open
) -> None:
    monite, invoice = at("monite-nord"), sandbox.control.add_invoice("monite-nord")
    sandbox.control.set_fault("307", "monite-nord", invoice)
    assert monite.cancel(invoice).headers["location"].startswith("/monite/v1/moved/")


@pytest.mark.parametrize("retry_after", ["7", "Fri, 20 Nov 2026 09:00:00 GMT", None])
def test_retry_after_comes_as_asked_for(
    sandbox: SandboxServer, at: Open, retry_after: str | None
) -> None:
    invoice = sandbox.control.add_invoice("paypal-europe")
    sandbox.control.set_fault("429_then_ok", "paypal-europe", retry_after=retry_after)
    paypal = at("paypal-europe")
    first, second = paypal.cancel(invoice), paypal.cancel(invoice)
    assert (first.status, second.status) == (429, 204)
    assert first.headers.get("retry-after") == retry_after


def test_401_for_ever_stays_and_401_once_goes(sandbox: SandboxServer, at: Open) -> None:
    paypal, invoice = at("paypal-europe"), sandbox.control.add_invoice("paypal-europe")
    sandbox.control.set_fault("401_once", kind="fetch")
    assert [paypal.fetch(invoice).status for _ in range(2)] == [401, 200]
    sandbox.control.set_fault("401_forever", kind="fetch")
    assert {paypal.fetch(invoice).status for _ in range(5)} == {401}
    sandbox.control.clear_faults()
    assert paypal.fetch(invoice).status == 200


# -- when, how often, on what ---------------------------------------------------------------


def test_applied_later_the_provider_acts_after_its_answer(sandbox: SandboxServer, at: Open) -> None:
    account = "visa-harbour"
    visa, invoice = at(account), sandbox.control.add_invoice(account)
    sandbox.control.set_fault("504", account, invoice, applied="later", delay=0.2)
    assert visa.cancel(invoice).status == 504
    assert not is_cancelled(sandbox, account, invoice)
    time.sleep(0.25)
    assert is_cancelled(sandbox, account, invoice)
    assert sandbox.control.cancels(account, invoice)[0]["applied"] == [invoice]


def test_what_is_applied_later_is_not_when_it_was_paid_in_between(
    sandbox: SandboxServer, at: Open
) -> None:
    account = "visa-harbour"
    visa, invoice = at(account), sandbox.control.add_invoice(account)
    sandbox.control.set_fault("504", account, invoice, applied="later", delay=0.2)
    visa.cancel(invoice)
    sandbox.control.pay(account, invoice)
    time.sleep(0.25)
    assert sandbox.control.invoice(account, invoice)["status"] == "PAID"


def test_a_fault_strikes_as_often_as_asked_and_only_what_it_names(
    sandbox: SandboxServer, at: Open
) -> None:
    struck, spared = (sandbox.control.add_invoice("visa-harbour") for _ in range(2))
    visa = at("visa-harbour")
    sandbox.control.set_fault("500_json", "visa-harbour", struck, kind="fetch", times=3)
    assert visa.fetch(spared).status == 200
    assert [visa.fetch(struck).status for _ in range(4)] == [500, 500, 500, 200]
    assert sandbox.control.faults()[0]["fired"] == 3


def test_a_fault_of_one_account_spares_another_of_the_same_provider(
    sandbox: SandboxServer, at: Open
) -> None:
    invoice = sandbox.control.add_invoice("paypal-europe")
    sandbox.control.add_invoice("paypal-america")
    sandbox.control.set_fault("503", "paypal-america", kind="any", times=None)
    assert at("paypal-europe").fetch(invoice).status == 200
    assert at("paypal-america").paypal_token().status == 503


def test_a_fault_can_strike_the_token_call(sandbox: SandboxServer, at: Open) -> None:
    sandbox.control.set_fault("html_200", "monite-nord", kind="token")
    monite = at("monite-nord")
    assert monite.monite_token().headers["content-type"].startswith("text/html")
    assert monite.monite_token().status == 200


def test_a_stale_read_shows_the_state_before_the_last_change_once(
    sandbox: SandboxServer, at: Open
) -> None:
    for account in ACCOUNTS:
        provider, invoice = at(account), sandbox.control.add_invoice(account)
        provider.cancel(invoice)
        sandbox.control.set_fault("stale_once", account, invoice, kind="fetch")
        assert f'"{CANCELLED[account]}"' not in provider.fetch(invoice).body.decode()
        assert f'"{CANCELLED[account]}"' in provider.fetch(invoice).body.decode()


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ("pay", "PAID"),
        ("pay_part", "PARTIAL"),
        ("draft", "DRAFT"),
        ("cancel_elsewhere", "CANCELED"),
    ],
)
def test_the_world_can_change_right_after_a_read(
    sandbox: SandboxServer, at: Open, change: str, status: str
) -> None:
    account = "visa-harbour"
    visa, invoice = at(account), sandbox.control.add_invoice(account)
    sandbox.control.set_fault(
        "none", account, invoice, kind="fetch", world=change, world_when="after"
    )
    assert visa.fetch(invoice).json["status"] == "SENT"
    assert visa.fetch(invoice).json["status"] == status


def test_an_invoice_can_vanish_between_a_read_and_the_cancel(
    sandbox: SandboxServer, at: Open
) -> None:
    monite, invoice = at("monite-nord"), sandbox.control.add_invoice("monite-nord")
    sandbox.control.set_fault("none", "monite-nord", invoice, world="delete")
    assert monite.fetch(invoice).status == 200
    assert monite.cancel(invoice).status == 404


def test_what_somebody_else_cancelled_is_told_apart_from_what_a_call_did(
    sandbox: SandboxServer, at: Open
) -> None:
    mine, theirs = (sandbox.control.add_invoice("visa-harbour") for _ in range(2))
    at("visa-harbour").cancel(mine)
    sandbox.control.cancel_elsewhere("visa-harbour", theirs)
    seq = sandbox.control.cancels("visa-harbour", mine)[0]["seq"]
    assert sandbox.control.invoice("visa-harbour", mine)["cancelled_by"] == [seq]
    assert sandbox.control.invoice("visa-harbour", theirs)["cancelled_by"] == [0]


def test_a_slow_answer_is_a_good_one(sandbox: SandboxServer, at: Open) -> None:
    visa, invoice = at("visa-harbour"), sandbox.control.add_invoice("visa-harbour")
    sandbox.control.set_fault("slow", "visa-harbour", invoice, delay=0.2)
    start = time.monotonic()
    assert visa.cancel(invoice).status == 200
    assert time.monotonic() - start >= 0.2


def test_a_fault_can_wait_for_another_call_about_the_same_invoice(
    sandbox: SandboxServer, at: Open
) -> None:
    struck, spared = (sandbox.control.add_invoice("visa-harbour") for _ in range(2))
    visa = at("visa-harbour")
    for invoice in (struck, spared):
        sandbox.control.set_fault(
            "503", "visa-harbour", invoice, kind="fetch", once_seen="cancel", times=2
        )
    assert visa.fetch(struck).status == 200
    visa.cancel(struck)
    assert [visa.fetch(struck).status for _ in range(3)] == [503, 503, 200]
    assert visa.fetch(spared).status == 200


def test_of_several_faults_the_one_asked_for_first_strikes(
    sandbox: SandboxServer, at: Open
) -> None:
    invoice = sandbox.control.add_invoice("visa-harbour")
    sandbox.control.set_fault("503", "visa-harbour", kind="fetch")
    sandbox.control.set_fault("404", "visa-harbour", invoice, kind="fetch")
    assert [at("visa-harbour").fetch(invoice).status for _ in range(3)] == [503, 404, 200]


def test_no_fault_is_without_a_place_and_none_is_accepted_that_does_not_exist() -> None:
    assert {*ACCEPT, *SENT, *ANSWERS, *TEOS, *QUIET} == NAMES
    with pytest.raises(UnknownFaultError):
        Fault("gremlins")
    with pytest.raises(UnknownFaultError):
        Fault("503", kind="everything")
    with pytest.raises(UnknownFaultError):
        Fault("503", once_seen="everything")
    with pytest.raises(UnknownFaultError):
        Fault("fin_at_accept", applied="after")


def test_a_stalled_connection_ends_when_the_client_gives_up(
    sandbox: SandboxServer,
) -> None:
    account = "kantata-studio"
    invoice = sandbox.control.add_invoice(account)
    sandbox.control.set_fault("read_timeout", account, invoice, applied="after")
    with client(sandbox, account, timeout=0.2) as kantata:
        assert outcome(lambda: kantata.cancel(invoice)) is TimeoutError
        assert sandbox.control.cancels(account, invoice)[0]["finished"] is None
    time.sleep(0.1)
    entry = sandbox.control.cancels(account, invoice)[0]
    assert (entry["status"], entry["sent"], entry["applied"]) == (None, False, [invoice])
    assert entry["finished"] - entry["started"] >= 0.2


def test_the_accounts_of_the_tests_cover_every_provider() -> None:
    assert {PROVIDERS[account] for account in ACCOUNTS} == set(PROVIDERS.values())
