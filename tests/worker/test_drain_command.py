"""`manage.py drain`: one account, worked off in the foreground, without a queue."""

import io

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from invoices import batches, sync
from invoices.models import CancellationBatch, Invoice
from providers.models import ProviderAccount
from providers.sandbox.running import SandboxServer
from tests.factories import AccountFactory, UserFactory


@pytest.fixture
def batch(db: None, sandbox: SandboxServer, settings: Settings) -> CancellationBatch:
    """Two TEOS invoices to cancel; that provider finishes later."""
    settings.PACE = 0.05
    sandbox.control.switch(teos_delay=0.5)
    for _ in range(2):
        sandbox.control.add_invoice("teos-ledger")
    account = AccountFactory.create(name="teos-ledger", origin=sandbox.origin)
    sync.run(sync.request(account, None).pk)
    draft = batches.freeze(UserFactory.create(role="operator"), Invoice.objects.all(), "all")
    confirmation = batches.Confirmation(draft.confirm_key, draft.digest, "duplicate", "", {})
    return batches.confirm(draft, draft.requested_by, confirmation)


def drain(*arguments: str) -> str:
    """What the command says."""
    said = io.StringIO()
    call_command("drain", "teos-ledger", *arguments, stdout=said)
    return said.getvalue()


def test_it_works_until_all_is_done_and_says_what_came_of_it(batch: CancellationBatch) -> None:
    said = drain("--until-done")
    assert said.startswith("teos-ledger: 2 cancelled, in ")
    assert "still to do" not in said
    batch.refresh_from_db()
    assert batch.state == CancellationBatch.State.FINISHED


def test_it_says_what_is_left_and_when_it_is_due(
    batch: CancellationBatch, sandbox: SandboxServer
) -> None:
    sandbox.control.switch(teos_delay=60)
    said = drain("--seconds", "0.5")
    assert "teos-ledger: nothing came to its end, in " in said
    assert "still to do: 2 accepted, waiting; next due at " in said


def test_a_paused_account_is_refused_with_the_reason(batch: CancellationBatch) -> None:
    ProviderAccount.objects.update(paused_at=timezone.now(), pause_reason="key is being changed")
    with pytest.raises(CommandError, match=r"is paused \(key is being changed\)"):
        drain()


def test_an_unknown_account_is_answered_with_those_that_there_are(batch: CancellationBatch) -> None:
    with pytest.raises(CommandError, match=r"no account 'nobody'\. Accounts: teos-ledger"):
        call_command("drain", "nobody")
