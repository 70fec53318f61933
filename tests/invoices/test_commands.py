"""The commands: what they do, what they refuse, and what they print while doing so."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django import Settings

from invoices import drain
from invoices.models import CancellationAttempt, CancellationBatch, HistoryEvent, Invoice, SyncRun
from providers.adapters import ADAPTERS
from providers.models import ProviderAccount
from providers.sandbox.credentials import BASE_PATHS, CREDENTIALS, PROVIDERS
from providers.sandbox.running import SandboxServer, running
from tests.factories import AccountFactory, InvoiceFactory, UserFactory

pytestmark = pytest.mark.django_db

ONE_EACH = ["paypal-europe", "visa-harbour", "monite-nord", "kantata-studio", "teos-ledger"]


@pytest.fixture
def sandbox(settings: Settings) -> Iterator[SandboxServer]:
    with running() as server:
        settings.PROVIDER_EXTRA_ORIGINS = [server.origin]
        yield server


def output(*words: object, **how: Any) -> str:
    out = io.StringIO()
    call_command(*map(str, words), stdout=out, **how)
    return out.getvalue()


def refusal(*words: object) -> str:
    with pytest.raises(CommandError) as caught:
        output(*words)
    return str(caught.value)


# --- add_account ------------------------------------------------------------------------------


def file_of(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "credentials.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def adding(name: str, file: Path | str, **changes: str | None) -> list[str]:
    adapter = ADAPTERS[PROVIDERS[name]]
    options: dict[str, str | None] = {
        "provider": adapter.code,
        "name": name,
        "environment": next(iter(adapter.environments)),
        "credentials": str(file),
        **changes,
    }
    return ["add_account", *(f"--{key}={value}" for key, value in options.items() if value)]


@pytest.mark.parametrize("name", ONE_EACH)
def test_an_account_of_each_provider_is_added_and_can_be_imported_from(
    sandbox: SandboxServer, tmp_path: Path, name: str
) -> None:
    sandbox.control.reset({name: 3})
    base_url = sandbox.origin + BASE_PATHS[PROVIDERS[name]]
    file = file_of(tmp_path, CREDENTIALS[name])
    said = output(*adding(name, file, **{"base-url": base_url, "rate": "500"}))
    account = ProviderAccount.objects.get()
    assert dict(account.credentials) == CREDENTIALS[name]
    assert (account.rate_per_second, account.base_url) == (500.0, base_url)
    for value in CREDENTIALS[name].values():
        assert value not in said
    assert HistoryEvent.objects.get().detail == "Added from the shell."
    assert "3 created" in output("sync_invoices", "--account", name)


def test_credentials_come_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(json.dumps(CREDENTIALS["teos-ledger"]).encode())

    monkeypatch.setattr("sys.stdin", Stdin())
    output(*adding("teos-ledger", "-"))
    account = ProviderAccount.objects.get()
    assert account.base_url == "https://teosapi.coreledger.net"
    assert account.rate_per_second == ADAPTERS["teos"].rate_per_second


def test_each_missing_and_each_unknown_credential_is_named(tmp_path: Path) -> None:
    given = {"client_idd": "x", "client_secret": "", "entity_id": ["list"]}
    said = refusal(*adding("monite-nord", file_of(tmp_path, given)))
    assert "client_id is missing" in said
    assert "client_secret is missing" in said
    assert "entity_id must be text" in said
    assert "client_idd is unknown" in said
    assert said.endswith("No account was added.")
    assert not ProviderAccount.objects.exists()


@pytest.mark.parametrize(
    "content", ["", "{", "[1]", '"text"', "\x00", "[" * 60_000, json.dumps({"a": "x" * 70_000})]
)
def test_what_is_no_json_object_is_refused_without_quoting_it(tmp_path: Path, content: str) -> None:
    said = refusal(*adding("teos-ledger", file_of(tmp_path, content)))
    assert said.endswith("No account was added.")
    assert "xxx" not in said


def test_a_secret_in_the_place_of_a_name_is_not_repeated(tmp_path: Path) -> None:
    said = refusal(*adding("teos-ledger", file_of(tmp_path, {"sk-1234567890/abcdef": "api_key"})))
    assert "1234567890" not in said


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"provider": "stripe"}, "This provider is not known; there are: paypal"),
        ({"environment": "moon"}, "PayPal has: sandbox, live."),
        ({"base-url": "http://169.254.169.254/"}, "PROVIDER_EXTRA_ORIGINS"),
        ({"setting": "version=2"}, "PayPal has the settings: none."),
        ({"rate": "-1"}, "must be a number of requests per second"),
        ({"rate": "nan"}, "must be a number of requests per second"),
        ({"credentials": "/does/not/exist"}, "No such file"),
    ],
)
def test_what_is_wrong_with_an_account_is_said(
    tmp_path: Path, changes: dict[str, str | None], says: str
) -> None:
    file = file_of(tmp_path, CREDENTIALS["paypal-europe"])
    assert says in refusal(*adding("paypal-europe", file, **changes))
    assert not ProviderAccount.objects.exists()


def test_a_setting_is_one_of_its_choices(tmp_path: Path) -> None:
    file = file_of(tmp_path, CREDENTIALS["visa-harbour"])
    said = refusal(*adding("visa-harbour", file, setting="authentication=none"))
    assert "jwt, http_signature" in said
    output(*adding("visa-harbour", file, setting="authentication=http_signature"))
    assert ProviderAccount.objects.get().api_settings == {"authentication": "http_signature"}


def test_an_account_that_exists_is_not_changed(tmp_path: Path) -> None:
    account = AccountFactory.create()
    before = bytes(account.sealed_credentials)
    new = file_of(tmp_path, {"client_id": "new", "client_secret": "new"})
    assert "exists already" in refusal(*adding("paypal-europe", new))
    account.refresh_from_db()
    assert bytes(account.sealed_credentials) == before


# --- sync_invoices ----------------------------------------------------------------------------


def account_at(sandbox: SandboxServer, name: str = "paypal-europe", **how: Any) -> ProviderAccount:
    return AccountFactory.create(name=name, origin=sandbox.origin, **how)


def test_all_accounts_are_imported_and_summed_up(sandbox: SandboxServer) -> None:
    sandbox.control.reset(2)
    for name in ONE_EACH:
        account_at(sandbox, name)
    said = output("sync_invoices")
    assert said.count("finished, 2 created") == 5
    assert "\r" not in said


def test_one_that_fails_does_not_keep_the_others_and_the_status_tells(
    sandbox: SandboxServer,
) -> None:
    sandbox.control.reset(2)
    sandbox.control.set_credentials("paypal-europe", client_secret="rotated")
    for name in ("paypal-europe", "teos-ledger"):
        account_at(sandbox, name)
    assert refusal("sync_invoices") == "1 of 2 imports failed."
    assert Invoice.objects.filter(account__name="teos-ledger").count() == 2


def test_a_paused_account_is_passed_over_unless_it_is_named(sandbox: SandboxServer) -> None:
    account_at(sandbox, paused_at=timezone.now())
    assert "no account" in refusal("sync_invoices")
    assert refusal("sync_invoices", "--account", "paypal-europe") == "1 of 1 imports failed."


@pytest.mark.parametrize("words", [("--account", "nobody"), ("--account", "\0")])
def test_an_unknown_account_is_named(words: tuple[str, ...]) -> None:
    assert "There is no account named" in refusal("sync_invoices", *words)


@pytest.mark.parametrize("since", ["2026-11-20", "2026-11-20T09:00Z", "2026-11-20 09:00"])
def test_since_is_a_date_or_a_time(sandbox: SandboxServer, since: str) -> None:
    account_at(sandbox)
    output("sync_invoices", "--since", since)
    run = SyncRun.objects.get()
    assert run.since is not None
    assert run.since.year == 2026


@pytest.mark.parametrize("since", ["yesterday", "2026-13-01", "", "99999-01-01"])
def test_another_since_is_refused(since: str) -> None:
    assert "must be a date or a time" in refusal("sync_invoices", f"--since={since}")


def test_stopping_by_hand_keeps_what_was_read(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    account_at(sandbox)

    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("invoices.sync._Work._read", interrupted)
    assert "stopped by hand" in refusal("sync_invoices")
    assert SyncRun.objects.get().state == "failed"


# --- cancel_invoices --------------------------------------------------------------------------

PAYPAL = "paypal-europe"
SLEEP = "invoices.management.commands.cancel_invoices.sleep"


def cancelling(*words: object, user: User | None = None, reason: str = "duplicate") -> list[str]:
    who = user or User.objects.filter(groups__name="operator").first()
    who = who or UserFactory.create(role="operator")
    fixed = ["cancel_invoices", "--account", PAYPAL, "--user", who.username, "--reason", reason]
    return [*fixed, *map(str, words)]


@pytest.fixture
def account() -> ProviderAccount:
    return AccountFactory.create()


def invoice(account: ProviderAccount, number: str, **facts: Any) -> Invoice:
    return InvoiceFactory.create(account=account, number=number, **facts)


def nothing_happened() -> bool:
    live = CancellationBatch.objects.exclude(state="discarded")
    return not live.exists() and not CancellationAttempt.objects.exists()


def test_a_dry_run_says_what_would_and_would_not_be_cancelled(account: ProviderAccount) -> None:
    invoice(account, "A-1")
    invoice(account, "A-2", status="paid")
    said = output(*cancelling("--dry-run", "A-1", "A-2"))
    assert "Of 2 invoices 1 will be cancelled, 1 will not." in said
    assert "1 not: It is paid; a paid invoice is refunded, not cancelled. (A-2)" in said
    assert "123.45 EUR" in said
    assert "PayPal is told not to mail the customer" in said
    assert said.endswith("This was a dry run. Nothing was sent.\n")
    assert nothing_happened()


def test_invoices_are_named_by_number_or_by_id_and_counted_once(account: ProviderAccount) -> None:
    one = invoice(account, "A-1")
    invoice(account, "A-2")
    said = output(*cancelling("--dry-run", "A-1", one.external_id, "A-2", "A-1"))
    assert "Of 2 invoices 2 will be cancelled" in said


def test_names_come_from_a_file(account: ProviderAccount, tmp_path: Path) -> None:
    invoice(account, "A-1")
    invoice(account, "Ä 2")
    file = tmp_path / "names.txt"
    file.write_bytes("\ufeffA-1\r\n\r\n  Ä 2  \n".encode())
    output(*cancelling("--file", file))
    assert CancellationBatch.objects.get().selected_count == 2


def test_ten_thousand_names_are_resolved_and_frozen(
    account: ProviderAccount, tmp_path: Path
) -> None:
    Invoice.objects.bulk_create(
        InvoiceFactory.build(account=account, number=f"N-{number}") for number in range(10_000)
    )
    file = tmp_path / "names.txt"
    file.write_text("\n".join(f"N-{number}" for number in range(10_000)))
    assert "Of 10,000 invoices 10,000 will be cancelled" in output(
        *cancelling("--file", file, "--dry-run")
    )


def test_it_starts_a_batch_with_its_records_and_wakes_the_account(
    account: ProviderAccount, django_capture_on_commit_callbacks: Any
) -> None:
    invoice(account, "A-1")
    with django_capture_on_commit_callbacks(execute=True):
        said = output(*cancelling("A-1", "--option", "paypal.notify_payer", "--note", "Twice."))
    batch = CancellationBatch.objects.get()
    assert f"Batch {batch.pk} started: 1 invoices." in said
    assert (batch.state, batch.reason, batch.note) == ("running", "duplicate", "Twice.")
    assert batch.options["paypal"] == {"notify_payer": True, "notify_merchant": False}
    assert "PayPal mails the customer" in said
    assert OrmQ.objects.count() == 1
    assert CancellationAttempt.objects.get().state == "queued"


def test_names_that_fit_nothing_or_several_stop_everything(account: ProviderAccount) -> None:
    invoice(account, "A-1")
    twins = [invoice(account, "TWIN"), invoice(account, "TWIN")]
    invoice(account, twins[0].external_id)
    out = io.StringIO()
    names = ("A-1", "NONE", "TWIN", twins[0].external_id, "\0", "../x", "y" * 500)
    with pytest.raises(CommandError, match="Nothing was sent"):
        call_command(*cancelling(*names), stdout=out)
    said = out.getvalue()
    assert "has this number or id: 'NONE'" in said
    assert "stands for several invoices; use the provider's id: 'TWIN'" in said
    assert twins[0].external_id in said
    assert nothing_happened()
    output(*cancelling("--skip-unmatched", *names))
    assert CancellationBatch.objects.get().selected_count == 1


def test_another_accounts_invoices_are_not_found(account: ProviderAccount) -> None:
    invoice(AccountFactory.create(name="paypal-america"), "A-1")
    assert "Nothing was sent" in refusal(*cancelling("A-1"))


@pytest.mark.parametrize("role", ["approver", "auditor", "support", "administrator"])
def test_whoever_may_not_cancel_is_refused(account: ProviderAccount, role: str) -> None:
    invoice(account, "A-1")
    said = refusal(*cancelling("A-1", user=UserFactory.create(role=role)))
    assert "permission" in said
    assert nothing_happened()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "Name the invoices"),
        (("A-1", "--account", "nobody"), "There is no account named 'nobody'"),
        (("A-1", "--user", "nobody"), "There is no active user named 'nobody'"),
        (("A-1", "--reason", "boredom"), "invalid choice"),
        (("A-1", "--reason", "other"), "Say in the note"),
        (("A-1", "--note", "x" * 2001), "longer than 2,000"),
        (("A-1", "--option", "teos.whatever"), "has no option"),
        (("--file", "/does/not/exist"), "No such file"),
        (("--file", "/"), "Is a directory"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_left_behind(
    account: ProviderAccount, words: tuple[str, ...], says: str
) -> None:
    invoice(account, "A-1")
    said = refusal(*cancelling(*words))
    assert says in said
    assert nothing_happened()
    if "invalid choice" not in said:
        assert said.count("Nothing was sent.") == 1


def test_an_inactive_user_is_refused(account: ProviderAccount) -> None:
    invoice(account, "A-1")
    user = UserFactory.create(role="operator", is_active=False)
    assert "no active user" in refusal(*cancelling("A-1", user=user))


def test_when_none_can_be_cancelled_no_batch_is_left(account: ProviderAccount) -> None:
    invoice(account, "A-1", status="paid")
    assert "None of these invoices can be cancelled" in refusal(*cancelling("A-1"))
    assert nothing_happened()


def test_a_paused_account_is_said_so(account: ProviderAccount) -> None:
    ProviderAccount.objects.update(paused_at=timezone.now())
    invoice(account, "A-1")
    assert "is paused: nothing is sent until it is resumed" in output(*cancelling("A-1"))


def working_meanwhile(monkeypatch: pytest.MonkeyPatch, account: ProviderAccount) -> None:
    """While the command waits, the account is worked off, as a worker would."""
    monkeypatch.setattr(SLEEP, lambda _: drain.run(account.pk, seconds=5))


def test_waiting_follows_the_batch_to_its_end_and_adds_up(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = [sandbox.control.add_invoice(PAYPAL, status="open") for _ in range(3)]
    account = account_at(sandbox)
    output("sync_invoices")
    working_meanwhile(monkeypatch, account)
    said = output(*cancelling("--wait", *chosen))
    assert "is finished:" in said
    assert "        3 cancelled" in said
    assert "        3 selected" in said
    assert [sandbox.control.invoice(PAYPAL, one)["status"] for one in chosen] == ["CANCELLED"] * 3


def test_waiting_ends_with_a_failure_unless_all_ended_cancelled(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, paid, drafted = (sandbox.control.add_invoice(PAYPAL, status="open") for _ in range(3))
    sandbox.control.pay(PAYPAL, drafted)
    account = account_at(sandbox)
    output("sync_invoices")
    sandbox.control.pay(PAYPAL, paid)
    working_meanwhile(monkeypatch, account)
    out = io.StringIO()
    with pytest.raises(CommandError, match="2 of 3 did not end cancelled"):
        call_command(*cancelling("--wait", good, paid, drafted), stdout=out)
    said = out.getvalue()
    assert "        1 cancelled" in said
    assert "        1 refused" in said
    assert "        1 not eligible" in said
    assert "        3 selected" in said


def test_leaving_while_it_waits_leaves_the_batch_running(
    account: ProviderAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SLEEP, interrupted)
    invoice(account, "A-1")
    with pytest.raises(CommandError, match="goes on without being watched") as caught:
        output(*cancelling("A-1", "--wait"))
    assert caught.value.returncode == 130
    assert CancellationBatch.objects.get().state == "running"


def test_a_terminal_sees_a_bar(account: ProviderAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SLEEP, interrupted)
    invoice(account, "A-1")
    out = Terminal()
    with pytest.raises(CommandError):
        call_command(*cancelling("A-1", "--wait"), stdout=out)
    assert "[------------------------] 0 of 1" in out.getvalue()
    assert "No worker seems to run" in out.getvalue()
