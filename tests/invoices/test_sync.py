"""Imports over real sockets: what is stored, what is left alone, and how an import ends."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from invoices import patience, sync
from invoices.models import (
    CallSubject,
    HistoryEvent,
    Invoice,
    InvoiceSnapshot,
    ProviderRequest,
    ProviderResponse,
    SyncRun,
)
from providers.adapters.base import Page, RemoteInvoice, Status
from providers.adapters.paypal import PayPal
from providers.models import ProviderAccount
from providers.sandbox.running import SandboxServer, running
from tests.factories import AccountFactory, UserFactory

pytestmark = pytest.mark.django_db

ONE_EACH = [
    "paypal-europe",
    "visa-harbour",
    "monite-nord",
    "kantata-studio",
    "teos-ledger",
]


@pytest.fixture
def sandbox(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[SandboxServer]:
    monkeypatch.setattr(patience, "WAITS", (0.0, 0.0, 0.0))
    with running() as server:
        settings.PROVIDER_EXTRA_ORIGINS = [server.origin]
        yield server


def account_at(sandbox: SandboxServer, name: str = "paypal-europe", **how: Any) -> ProviderAccount:
    return AccountFactory.create(name=name, origin=sandbox.origin, **how)


def carried_out(account: ProviderAccount, **what: Any) -> SyncRun:
    run = sync.request(account, None, **what)
    sync.run(run.pk)
    run.refresh_from_db()
    return run


def counts(run: SyncRun) -> tuple[int, int, int, int]:
    return run.created, run.updated, run.unchanged, run.failed


@pytest.mark.parametrize("name", ONE_EACH)
def test_it_imports_all_invoices_of_each_provider(sandbox: SandboxServer, name: str) -> None:
    sandbox.control.reset({name: 40})
    account = account_at(sandbox, name)
    run = carried_out(account)
    assert (run.state, run.error) == ("finished", "")
    assert counts(run) == (40, 0, 0, 0)
    assert set(Invoice.objects.values_list("external_id", flat=True)) == set(
        sandbox.control.ids(name)
    )
    assert InvoiceSnapshot.objects.count() == 40


@pytest.mark.parametrize("name", ONE_EACH)
def test_a_second_import_finds_everything_unchanged(sandbox: SandboxServer, name: str) -> None:
    sandbox.control.reset({name: 12})
    account = account_at(sandbox, name)
    carried_out(account)
    assert counts(carried_out(account)) == (0, 0, 12, 0)


@pytest.mark.parametrize("name", ONE_EACH)
def test_a_change_of_status_at_the_provider_is_an_event_of_the_invoice(
    sandbox: SandboxServer, name: str
) -> None:
    changed = sandbox.control.add_invoice(name, status="open")
    sandbox.control.add_invoice(name, status="open")
    account = account_at(sandbox, name)
    carried_out(account)
    sandbox.control.cancel_elsewhere(name, changed)
    assert counts(carried_out(account)) == (0, 1, 1, 0)
    event = HistoryEvent.objects.get(kind="invoice_status")
    invoice = Invoice.objects.get(external_id=changed)
    assert (event.from_state, event.to_state) == ("open", "cancelled")
    assert (event.invoice, invoice.status) == (invoice, "cancelled")


def test_creating_invoices_writes_no_event_for_each(sandbox: SandboxServer) -> None:
    sandbox.control.reset({"paypal-europe": 30})
    carried_out(account_at(sandbox))
    assert not HistoryEvent.objects.filter(invoice__isnull=False).exists()
    kinds = list(HistoryEvent.objects.order_by("id").values_list("kind", "to_state"))
    assert kinds == [("sync_requested", ""), ("invoice_imported", "finished")]
    assert "30 created" in HistoryEvent.objects.get(kind="invoice_imported").detail


def test_the_same_ids_at_two_accounts_are_two_invoices(sandbox: SandboxServer) -> None:
    sandbox.control.reset({"paypal-europe": 5, "paypal-america": 5})
    for name in ("paypal-europe", "paypal-america"):
        carried_out(account_at(sandbox, name))
    assert Invoice.objects.count() == 10
    assert Invoice.objects.values("external_id").distinct().count() == 5


@pytest.mark.parametrize("name", ONE_EACH)
def test_a_refresh_reads_the_named_invoices_and_no_others(
    sandbox: SandboxServer, name: str
) -> None:
    sandbox.control.reset({name: 6})
    account = account_at(sandbox, name)
    carried_out(account)
    chosen = sandbox.control.ids(name)[:3]
    before = ProviderRequest.objects.filter(purpose="list").count()
    run = carried_out(account, external_ids=chosen)
    assert counts(run) == (0, 0, 3, 0)
    assert ProviderRequest.objects.filter(purpose="list").count() == before
    about = CallSubject.objects.values_list("invoice__external_id", flat=True)
    assert set(about) == set(chosen)


@pytest.mark.parametrize("name", ONE_EACH)
def test_an_invoice_that_vanished_counts_as_failed_and_stays_as_it_was(
    sandbox: SandboxServer, name: str
) -> None:
    gone = sandbox.control.add_invoice(name, status="open")
    account = account_at(sandbox, name)
    carried_out(account)
    sandbox.control.delete(name, gone)
    run = carried_out(account, external_ids=[gone])
    assert (run.state, counts(run)) == ("finished", (0, 0, 0, 1))
    assert Invoice.objects.get(external_id=gone).status == "open"


@pytest.mark.parametrize(
    "reference", ["../../v1/tokens", "a/b", "x\r\nHost: evil", "\0", "\ud800", "", "é"]
)
def test_an_id_that_is_none_counts_as_failed_and_is_never_sent(
    sandbox: SandboxServer, reference: str
) -> None:
    run = carried_out(account_at(sandbox), external_ids=[reference])
    assert (run.state, counts(run)) == ("finished", (0, 0, 0, 1))
    assert sandbox.control.log() == []


def test_a_status_that_nobody_knows_is_stored_as_unknown(sandbox: SandboxServer) -> None:
    reference = sandbox.control.add_invoice("paypal-europe", status="open")
    sandbox.control.set_status("paypal-europe", reference, "TELEPORTED")
    carried_out(account_at(sandbox))
    invoice = Invoice.objects.get()
    assert (invoice.status, invoice.provider_status) == ("unknown", "TELEPORTED")


def test_it_keeps_the_providers_own_json(sandbox: SandboxServer) -> None:
    reference = sandbox.control.add_invoice("paypal-europe", customer="Größe & Söhne 株式会社")
    carried_out(account_at(sandbox))
    raw = bytes(InvoiceSnapshot.objects.get().raw)
    assert json.loads(raw)["id"] == reference
    assert "株式会社".encode() in raw


def test_a_row_that_was_read_later_is_left_alone(sandbox: SandboxServer) -> None:
    reference = sandbox.control.add_invoice("paypal-europe", status="open")
    account = account_at(sandbox)
    carried_out(account)
    later = timezone.now() + timedelta(minutes=5)
    Invoice.objects.update(status="cancelled", synced_at=later)
    assert counts(carried_out(account)) == (0, 0, 1, 0)
    invoice = Invoice.objects.get(external_id=reference)
    assert (invoice.status, invoice.synced_at) == ("cancelled", later)


def test_wrong_credentials_end_the_import_with_a_sentence(sandbox: SandboxServer) -> None:
    sandbox.control.set_credentials("paypal-europe", client_secret="rotated")
    run = carried_out(account_at(sandbox))
    assert run.state == "failed"
    assert "rejected" in run.error
    assert "What was read before is kept." in run.error
    assert run.finished_at is not None


@pytest.mark.parametrize("held", [{}, {"client_id": "only-this"}])
def test_an_account_without_complete_credentials_is_refused_at_once(
    sandbox: SandboxServer, held: dict[str, str]
) -> None:
    account = account_at(sandbox, credentials=held)
    with pytest.raises(sync.SyncRefused, match=r"lacks credentials: .*Nothing was read\."):
        sync.request(account, None)
    assert not SyncRun.objects.exists()


def test_credentials_that_no_key_opens_are_refused_in_words(sandbox: SandboxServer) -> None:
    account = account_at(sandbox)
    account.sealed_credentials = b"damaged"
    account.save()
    with pytest.raises(sync.SyncRefused, match="cannot be read"):
        sync.request(account, None)


def test_a_paused_account_is_not_read(sandbox: SandboxServer) -> None:
    account = account_at(sandbox, paused_at=timezone.now())
    with pytest.raises(sync.SyncRefused, match="paused"):
        sync.request(account, None)


def test_an_account_paused_before_its_turn_ends_the_waiting_import(sandbox: SandboxServer) -> None:
    account = account_at(sandbox)
    run = sync.request(account, None)
    ProviderAccount.objects.update(paused_at=timezone.now())
    sync.run(run.pk)
    run.refresh_from_db()
    assert (run.state, sandbox.control.log()) == ("failed", [])
    assert "paused" in run.error


def test_an_address_that_is_no_longer_allowed_is_not_called(
    sandbox: SandboxServer, settings: Settings
) -> None:
    account = account_at(sandbox)
    settings.PROVIDER_EXTRA_ORIGINS = []
    run = carried_out(account)
    assert run.state == "failed"
    assert "PROVIDER_EXTRA_ORIGINS" in run.error


def test_a_lost_answer_is_asked_for_again(sandbox: SandboxServer) -> None:
    sandbox.control.reset({"paypal-europe": 3})
    sandbox.control.set_fault("500_json", kind="list")
    run = carried_out(account_at(sandbox))
    assert (run.state, run.created) == ("finished", 3)
    assert ProviderResponse.objects.filter(status=500).count() == 1


def test_a_provider_that_keeps_failing_ends_the_import_and_what_was_read_stays(
    sandbox: SandboxServer,
) -> None:
    sandbox.control.reset({"kantata-studio": 3})
    account = account_at(sandbox, "kantata-studio")
    carried_out(account)
    sandbox.control.set_fault("500_json", kind="list", times=100)
    run = carried_out(account)
    assert run.state == "failed"
    assert run.error.endswith("What was read before is kept.")
    assert Invoice.objects.count() == 3


def test_a_second_wake_up_does_nothing(sandbox: SandboxServer) -> None:
    sandbox.control.reset({"paypal-europe": 2})
    run = carried_out(account_at(sandbox))
    asked = ProviderRequest.objects.count()
    sync.run(run.pk)
    assert ProviderRequest.objects.count() == asked


def test_a_run_in_other_hands_is_left_to_them_until_they_fall_silent(
    sandbox: SandboxServer,
) -> None:
    sandbox.control.reset({"paypal-europe": 2})
    run = sync.request(account_at(sandbox), None)
    lately = timezone.now() - timedelta(seconds=90)
    SyncRun.objects.update(state="running", started_at=lately, seen_at=lately, created=7)
    sync.run(run.pk)
    assert SyncRun.objects.get().created == 7
    SyncRun.objects.update(seen_at=timezone.now() - timedelta(seconds=130))
    assert list(sync.due()) == [run]
    sync.run(run.pk)
    run.refresh_from_db()
    assert (run.state, counts(run)) == ("finished", (2, 0, 0, 0))


def test_a_worker_whose_run_was_taken_over_stops_quietly(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.control.reset({"paypal-europe": 2})
    run = sync.request(account_at(sandbox), None)
    monkeypatch.setattr(patience, "BEAT_SECONDS", 0.0)
    before = patience.PacedRecorder.before

    def taken_over(self: Any, request: Any) -> None:
        SyncRun.objects.update(started_at=timezone.now(), created=99)
        before(self, request)

    monkeypatch.setattr(patience.PacedRecorder, "before", taken_over)
    sync.run(run.pk)
    run.refresh_from_db()
    assert (run.state, run.created, sandbox.control.log()) == ("running", 99, [])


def test_it_asks_no_faster_than_the_accounts_rate(sandbox: SandboxServer) -> None:
    sandbox.control.reset({"visa-harbour": 4})
    started = timezone.now()
    carried_out(account_at(sandbox, "visa-harbour", rate_per_second=10.0))
    calls = ProviderRequest.objects.count()
    assert calls >= 6
    assert timezone.now() - started >= timedelta(seconds=(calls - 1) / 10)


def test_it_learns_the_accounts_facts(sandbox: SandboxServer) -> None:
    account = account_at(sandbox, "monite-nord")
    carried_out(account)
    account.refresh_from_db()
    assert "receivable_edit_flow" in account.facts


@pytest.mark.parametrize("role", ["approver", "auditor", "support"])
def test_whoever_may_not_import_is_turned_away(sandbox: SandboxServer, role: str) -> None:
    account, user = account_at(sandbox), UserFactory.create(role=role)
    for named in (None, ["INV2-AAAA-BBBB-CCCC-DDDD"]):
        with pytest.raises(PermissionDenied):
            sync.request(account, user, external_ids=named)
    assert not SyncRun.objects.exists()


def test_an_administrator_imports_all_but_refreshes_nothing_by_name(
    sandbox: SandboxServer,
) -> None:
    account, user = account_at(sandbox), UserFactory.create(role="administrator")
    assert sync.request(account, user).requested_by == user
    with pytest.raises(PermissionDenied):
        sync.request(account, user, external_ids=["INV2-AAAA-BBBB-CCCC-DDDD"])


@pytest.mark.parametrize("number", [0, sync.MOST_REFRESHED + 1])
def test_a_refresh_names_between_one_and_many(sandbox: SandboxServer, number: int) -> None:
    with pytest.raises(sync.SyncRefused, match="Choose between"):
        sync.request(account_at(sandbox), None, external_ids=[str(one) for one in range(number)])


def remote_of(reference: str, **facts: Any) -> RemoteInvoice:
    plain: dict[str, Any] = {
        "number": f"N-{reference}",
        "customer_name": "Sample customer",
        "customer_email": "customer@example.com",
        "currency": "EUR",
        "exponent": 2,
        "amount_minor": 1000,
        "balance_minor": 1000,
        "status": Status.OPEN,
        "provider_status": "SENT",
        "issued_on": None,
        "due_on": None,
        "raw": {"id": reference},
    }
    return RemoteInvoice(reference=reference, **(plain | facts))


@pytest.mark.parametrize("changed", [False, True])
def test_the_number_of_queries_does_not_grow_with_the_rows(changed: bool) -> None:
    spent = {}
    for rows in (10, 200):
        account = AccountFactory.create(
            name=f"a{rows}", provider="paypal", base_url="https://x.example"
        )
        remotes = [remote_of(f"INV2-{rows}-{one}") for one in range(rows)]
        sync.apply_remote(account.pk, remotes, timezone.now())
        if changed:
            remotes = [remote_of(one.reference, status=Status.PAID) for one in remotes]
        with CaptureQueriesContext(connection) as captured:
            found = sync.apply_remote(account.pk, remotes, timezone.now())
        assert found == sync.Counts(updated=rows) if changed else sync.Counts(unchanged=rows)
        spent[rows] = len(captured)
    # SQLite takes at most 999 values by one statement, so there are a few more, not one for each.
    assert spent[10] <= 6
    assert spent[200] <= 12


@pytest.mark.parametrize("rows", [10, 200])
def test_a_whole_import_takes_few_queries(sandbox: SandboxServer, rows: int) -> None:
    sandbox.control.reset({"teos-ledger": rows})
    run = sync.request(account_at(sandbox, "teos-ledger"), None)
    with CaptureQueriesContext(connection) as captured:
        sync.run(run.pk)
    assert Invoice.objects.count() == rows
    calls = ProviderRequest.objects.count()
    assert len(captured) <= 20 + 16 * calls
    assert calls < 20


def page_of(monkeypatch: pytest.MonkeyPatch, *remotes: RemoteInvoice) -> None:
    monkeypatch.setattr(PayPal, "list", lambda self, since: iter([Page(remotes, unreadable=1)]))


def test_what_makes_no_sense_in_a_page_is_counted_and_the_rest_is_kept(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    page_of(
        monkeypatch,
        remote_of("GOOD-1"),
        remote_of("GOOD-1", number="the same once more"),
        remote_of("../../evil"),
        remote_of("LONG-1", customer_name="x" * 301),
        remote_of("GOOD-2", amount_minor=None, currency=""),
    )
    run = carried_out(account_at(sandbox))
    assert (run.state, counts(run)) == ("finished", (2, 0, 0, 4))
    assert set(Invoice.objects.values_list("external_id", flat=True)) == {"GOOD-1", "GOOD-2"}


def test_text_with_half_a_character_in_the_providers_json_is_stored(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    page_of(monkeypatch, remote_of("GOOD-1", raw={"memo": "half \ud83d", "nul": "\0"}))
    carried_out(account_at(sandbox))
    raw = json.loads(bytes(InvoiceSnapshot.objects.get().raw))
    assert raw == {"memo": "half \ud83d", "nul": "\0"}


def test_a_mistake_of_ours_leaves_no_import_running_for_ever(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: PayPal, since: object) -> Iterator[Page]:
        raise ZeroDivisionError

    monkeypatch.setattr(PayPal, "list", broken)
    run = sync.request(account_at(sandbox), None)
    with pytest.raises(ZeroDivisionError):
        sync.run(run.pk)
    run.refresh_from_db()
    assert (run.state, run.finished_at is not None) == ("failed", True)


def test_taking_over_what_was_read_may_be_repeated(db: None) -> None:
    account = AccountFactory.create()
    read_at = timezone.now()
    remotes = [remote_of("GOOD-1"), remote_of("GOOD-2")]
    assert sync.apply_remote(account.pk, remotes, read_at) == sync.Counts(created=2)
    assert sync.apply_remote(account.pk, remotes, read_at) == sync.Counts(unchanged=2)
    assert sync.apply_remote(account.pk, [], read_at) == sync.Counts()
    assert not HistoryEvent.objects.exists()
