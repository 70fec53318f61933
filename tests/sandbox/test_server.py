"""Sockets, the log, the control API, and what the seed makes."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from providers.sandbox import (
    CREDENTIALS,
    PROVIDERS,
    Options,
    RemoteControl,
    SandboxServer,
    Switches,
    read_log,
    running,
)
from providers.sandbox.control_api import ACTS, LOOKS, ControlApi, RemoteControlError
from providers.sandbox.switches import UnknownSwitchError
from providers.sandbox.wire import Request as WireRequest
from tests.sandbox.client import client
from tests.sandbox.conftest import Open


def talk(server: SandboxServer, sent: bytes) -> bytes:
    host, port = server.origin.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=2) as raw:
        raw.sendall(sent)
        raw.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: raw.recv(65536), b""))


# -- sockets -------------------------------------------------------------------------


def test_requests_sent_in_one_go_are_answered_in_order(sandbox: SandboxServer) -> None:
    one = b"GET /kantata/api/v1/invoices HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    received = talk(sandbox, one + one + last)
    assert received.count(b"HTTP/1.1 401") == 2
    assert received.index(b"HTTP/1.1 404") > received.rindex(b"HTTP/1.1 401")


def test_a_connection_is_kept_alive(sandbox: SandboxServer, at: Open) -> None:
    kantata = at("kantata-studio")
    for _ in range(3):
        kantata.fetch("1")
    assert len({entry["connection"] for entry in sandbox.control.log()}) == 1


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nbroken header\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: " + b"x" * 70_000,
    ],
)
def test_what_is_no_request_is_400_and_not_logged(sandbox: SandboxServer, sent: bytes) -> None:
    assert talk(sandbox, sent).startswith(b"HTTP/1.1 400")
    assert sandbox.control.log() == []


def test_a_request_cut_short_is_neither_answered_nor_logged(sandbox: SandboxServer) -> None:
    head = b"POST /kantata/api/v1/invoices HTTP/1.1\r\nContent-Length: 10\r\n\r\n12345"
    assert talk(sandbox, head) == b""
    assert sandbox.control.log() == []


def test_a_body_as_big_as_the_provider_likes_arrives_whole_and_is_logged_as_sent(
    sandbox: SandboxServer, at: Open
) -> None:
    sandbox.control.set_fault("oversize_body", kind="fetch")
    kantata, invoice = at("kantata-studio"), sandbox.control.add_invoice("kantata-studio")
    assert len(kantata.fetch(invoice).body) > 5_000_000


# -- the log -----------------------------------------------------------------------------


def test_an_entry_says_who_asked_what_and_what_was_sent_but_no_secret(
    sandbox: SandboxServer, at: Open
) -> None:
    paypal, invoice = at("paypal-europe"), sandbox.control.add_invoice("paypal-europe")
    paypal.extra["X-Request-Id"] = "attempt-7"
    answer = paypal.fetch(invoice)
    token, fetch = sandbox.control.log()
    assert (token["kind"], token["account"], token["status"]) == ("token", "paypal-europe", 200)
    assert token["body_sha256"] == hashlib.sha256(b"grant_type=client_credentials").hexdigest()
    assert (fetch["kind"], fetch["ids"], fetch["request_id"]) == ("fetch", [invoice], "attempt-7")
    assert fetch["sent_sha256"] == hashlib.sha256(answer.body).hexdigest()
    assert fetch["sent"]
    assert token["started"] <= token["finished"] <= fetch["started"] <= fetch["finished"]
    text = json.dumps(sandbox.control.log())
    assert paypal.token not in text
    assert CREDENTIALS["paypal-europe"]["client_secret"] not in text


def test_the_log_goes_on_from_an_index(sandbox: SandboxServer, at: Open) -> None:
    kantata = at("kantata-studio")
    for _ in range(3):
        kantata.fetch("1")
    second = sandbox.control.log()[1]["seq"]
    assert [entry["seq"] for entry in sandbox.control.log(second)] == [second + 1]
    sandbox.control.clear()
    kantata.fetch("1")
    assert [entry["seq"] for entry in sandbox.control.log(second)] == [second + 2]


def test_the_log_file_holds_every_entry_in_its_last_state(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with running(log=path, teos_delay=0.1) as server, client(server, "teos-ledger") as teos:
        invoice = server.control.add_invoice("teos-ledger")
        teos.cancel(invoice)
        assert read_log(path)[0]["applied"] == []
        time.sleep(0.25)
        assert len(path.read_text().splitlines()) == 3
        assert read_log(path) == server.control.log()
    assert read_log(path)[0]["applied"] == [invoice]


def test_the_log_file_tells_what_somebody_else_changed(tmp_path: Path) -> None:
    path, account = tmp_path / "log.jsonl", "visa-harbour"
    with running(log=path) as server, client(server, account) as visa:
        paid, cancelled = (server.control.add_invoice(account) for _ in range(2))
        server.control.pay(account, paid)
        server.control.set_fault("none", account, cancelled, kind="fetch", world="cancel_elsewhere")
        visa.fetch(cancelled)
        seen = server.control.log()
        assert [one["kind"] for one in seen] == ["fetch"]
        assert server.control.log(seen[-1]["seq"]) == []
    changes = [one for one in read_log(path) if one["kind"] == "outside"]
    told = [(one["path"], one["ids"], one["applied"]) for one in changes]
    assert told == [("pay", [paid], []), ("cancel_elsewhere", [cancelled], [cancelled])]


def test_many_clients_at_once_are_all_answered_and_logged(sandbox: SandboxServer) -> None:
    account = "visa-harbour"
    ids = [sandbox.control.add_invoice(account) for _ in range(40)]

    def cancel(invoices: list[str]) -> list[int]:
        with client(sandbox, account) as visa:
            return [visa.cancel(invoice).status for invoice in invoices]

    with ThreadPoolExecutor(8) as pool:
        statuses = Counter(s for row in pool.map(cancel, [ids] * 8) for s in row)
    assert statuses == {200: 40, 400: 280}
    applied = Counter(i for entry in sandbox.control.log() for i in entry["applied"])
    assert applied == dict.fromkeys(ids, 1)
    assert [e["seq"] for e in sandbox.control.log()] == sorted(
        e["seq"] for e in sandbox.control.log()
    )


def test_overlapping_requests_can_be_told_from_the_log(sandbox: SandboxServer) -> None:
    account = "visa-harbour"
    sandbox.control.switch(latency=0.1)
    invoice = sandbox.control.add_invoice(account)

    def fetch(_: int) -> int:
        with client(sandbox, account) as visa:
            return visa.fetch(invoice).status

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(fetch, range(2))) == [200, 200]
    first, second = sandbox.control.log()
    assert first["started"] <= second["started"] < first["finished"]


# -- control -------------------------------------------------------------------------------


def test_the_control_api_does_what_the_python_control_does(sandbox: SandboxServer) -> None:
    remote = RemoteControl(sandbox.origin)
    invoice = remote.add_invoice(account="visa-harbour", amount=5, customer="Ünï")
    assert remote.invoice(account="visa-harbour", external_id=invoice)["customer"] == "Ünï"
    remote.pay(account="visa-harbour", external_id=invoice)
    remote.set_fault(name="503", account="visa-harbour", kind="fetch")
    remote.switch(latency=0.0)
    assert remote.stats()["invoices"]["visa-harbour"] == {"PAID": 1}
    assert remote.faults()[0]["name"] == "503"
    with client(sandbox, "visa-harbour") as visa:
        assert visa.fetch(invoice).status == 503
    assert remote.log(since=0)[0]["fault"] == "503"
    with urlopen(f"{sandbox.origin}/_control/log?since=0") as answer:  # noqa: S310
        assert json.load(answer)["result"] == remote.log()
    remote.reset(invoices=3)
    assert len(remote.ids(account="visa-harbour")) == 3
    assert remote.log() == []


def test_a_mistake_in_a_control_call_is_explained(sandbox: SandboxServer) -> None:
    remote = RemoteControl(sandbox.origin)
    with pytest.raises(RemoteControlError, match="gremlins"):
        remote.set_fault(name="gremlins")
    with pytest.raises(RemoteControlError, match="no such operation"):
        remote.dance()
    with pytest.raises(RemoteControlError, match="KeyError"):
        remote.pay(account="nobody", external_id="1")
    with pytest.raises(RemoteControlError, match="is one of"):
        remote.switch(visa_empty_list=500)


def test_the_control_api_refuses_other_machines_and_browsers(sandbox: SandboxServer) -> None:
    api = ControlApi(sandbox.control)
    assert api(WireRequest("GET", "/_control/stats", {}, peer="10.0.0.7")).status == 403
    browser = {"origin": "http://elsewhere.example"}
    assert api(WireRequest("GET", "/_control/stats", browser, peer="127.0.0.1")).status == 403
    assert api(WireRequest("GET", "/_control/reset", {}, peer="127.0.0.1")).status == 405


def test_every_operation_of_the_control_api_exists(sandbox: SandboxServer) -> None:
    assert all(callable(getattr(sandbox.control, name)) for name in ACTS | LOOKS)


def test_a_switch_that_does_not_exist_changes_nothing() -> None:
    switches = Switches()
    with pytest.raises(UnknownSwitchError):
        switches.set(latency=5.0, nonsense=1)
    assert switches == Switches()


def test_a_change_can_be_put_off(sandbox: SandboxServer) -> None:
    invoice = sandbox.control.add_invoice("visa-harbour")
    sandbox.control.change("visa-harbour", invoice, "pay", after=0.1)
    assert sandbox.control.stats()["pending"] == 1
    time.sleep(0.15)
    assert sandbox.control.invoice("visa-harbour", invoice)["status"] == "PAID"


def test_an_account_can_be_added_and_its_credentials_changed(sandbox: SandboxServer) -> None:
    sandbox.control.add_account("kantata-two", "kantata", {"token": "made-up-two"}, invoices=2)
    headers = {"Authorization": "Bearer made-up-two"}
    request = Request(f"{sandbox.origin}/kantata/api/v1/invoices", headers=headers)  # noqa: S310
    with urlopen(request) as answer:  # noqa: S310
        assert json.load(answer)["count"] == 2
    sandbox.control.set_credentials("kantata-studio", token="made-up-new")
    with client(sandbox, "kantata-studio") as kantata:
        assert kantata.fetch("1").status == 401


# -- the seed ----------------------------------------------------------------------------------


def test_the_same_seed_makes_the_same_world_and_another_one_another() -> None:
    def world(seed: int) -> list[object]:
        control = SandboxServer(Options(invoices=30, seed=seed)).control
        return [control.invoices(name) for name in PROVIDERS]

    assert world(1) == world(1)
    assert world(1) != world(2)


def test_the_seeded_world_has_what_a_back_office_must_survive() -> None:
    control = SandboxServer(Options(invoices=200)).control
    rows = [row for name in PROVIDERS for row in control.invoices(name)]
    assert {"EUR", "USD", "GBP", "JPY", "KWD"} == {row["currency"] for row in rows}
    customers = {row["customer"] for row in rows}
    assert any("<script>" in name for name in customers)
    assert any(len(name) > 200 for name in customers)
    assert any(row["email"] is None for row in rows)
    assert any(row["number"] is None for row in control.invoices("monite-nord"))
    assert any(not row["due_on"] for row in rows)
    shared = set(control.ids("paypal-europe")) & set(control.ids("paypal-america"))
    assert len(shared) == 200


@pytest.mark.parametrize(
    ("account", "words"),
    [
        ("paypal-europe", {"SENT", "UNPAID"}),
        ("visa-harbour", {"SENT", "CREATED"}),
        ("monite-nord", {"issued", "overdue"}),
        ("teos-ledger", {"Open"}),
    ],
)
def test_two_thirds_of_the_seeded_invoices_are_open_and_every_status_occurs(
    account: str, words: set[str]
) -> None:
    control = SandboxServer(Options(invoices={account: 200})).control
    counts: dict[str, int] = control.stats()["invoices"][account]
    assert sum(counts[word] for word in words) == 130
    assert len(control.ids(account)) == 200
    assert len(counts) > 5


# -- processes -----------------------------------------------------------------------------------


def test_as_a_process_it_prints_its_port_ends_on_sigterm_and_remembers(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    for expected in ("SENT", "CANCELED"):
        process = start("--port", "0", "--invoices", "5", "--state", str(state))
        try:
            assert process.stdout
            origin = process.stdout.readline().split()[-1]
            remote = RemoteControl(origin)
            invoice = sorted(remote.ids(account="visa-harbour"))[0]
            shown = remote.invoice(account="visa-harbour", external_id=invoice)
            assert shown["status"] == expected
            remote.cancel_elsewhere(account="visa-harbour", external_id=invoice)
        finally:
            process.terminate()
            assert process.wait(5) == 0


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "providers.sandbox", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_the_credentials_can_be_printed() -> None:
    process = start("--print-credentials")
    printed = json.loads(process.communicate(timeout=10)[0])
    assert {row["name"]: row["credentials"] for row in printed} == CREDENTIALS
    assert printed[0]["base_url"] == "http://127.0.0.1:9000/paypal"


def test_a_port_in_use_is_an_error(sandbox: SandboxServer) -> None:
    port = int(sandbox.origin.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"), running(port=port):
        pass


def test_nothing_in_the_sandbox_knows_django_or_the_adapters() -> None:
    code = (
        "import sys, providers.sandbox, providers.sandbox.cli;"
        "print([m for m in sys.modules if m.split('.')[0] in ('django', 'requests')"
        " or m.startswith('providers.') and not m.startswith('providers.sandbox')])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
