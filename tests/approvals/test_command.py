"""`manage.py cancel_invoices` keeps to the rules of approval."""

import io

import pytest
from django.core.management import CommandError, call_command

from invoices import approvals
from invoices.management.commands import cancel_invoices
from invoices.models import CancellationBatch
from tests.approvals.requests import answer, rule
from tests.factories import AccountFactory, InvoiceFactory, UserFactory

pytestmark = pytest.mark.django_db

REASON = "Another person has to approve it: It has 2 invoices; from 2 invoices on a batch needs"


@pytest.fixture(autouse=True)
def _olga_and_two_invoices() -> None:
    UserFactory.create(role="operator", username="olga")
    account = AccountFactory.create()
    for number in ("A-1", "A-2"):
        InvoiceFactory.create(account=account, number=number)


def run(*more: str) -> str:
    out = io.StringIO()
    given = ("--account", "paypal-europe", "--reason", "duplicate", "--user", "olga", *more)
    try:
        call_command("cancel_invoices", *given, stdout=out)
    except CommandError as error:
        out.write(str(error))
    return out.getvalue()


def test_it_asks_instead_of_starting() -> None:
    rule("count", 2)
    said = run("A-1", "A-2")
    batch = CancellationBatch.objects.get()
    assert REASON in said
    assert f"Batch {batch.pk} waits for another person's approval. Nothing was sent." in said
    assert batch.state == "awaiting_approval"
    assert run("A-1").count("approve") == 0


def test_a_dry_run_tells_that_it_would_ask() -> None:
    rule("count", 2)
    said = run("A-1", "A-2", "--dry-run")
    assert REASON in said
    assert CancellationBatch.objects.get().state == "discarded"


def test_waiting_for_its_end_includes_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    rule("count", 2)
    anna = UserFactory.create(role="approver", username="anna")

    def meanwhile(_: float) -> None:
        batch = CancellationBatch.objects.get()
        approvals.reject(batch, anna, answer(batch, "No."))

    monkeypatch.setattr(cancel_invoices, "sleep", meanwhile)
    said = run("A-1", "A-2", "--wait")
    assert "is rejected:" in said
    assert "2 of 2 did not end cancelled." in said
