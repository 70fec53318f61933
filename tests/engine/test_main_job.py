"""The main job without a browser: import, freeze, confirm, drain; mixed outcomes in one batch."""

import pytest
from django.contrib.auth.models import User
from pytest_django.fixtures import Settings

from invoices import batches, drain, sync
from invoices.models import CancellationBatch, Invoice
from providers.models import ProviderAccount
from providers.sandbox.credentials import PROVIDERS
from providers.sandbox.running import SandboxServer
from tests.factories import AccountFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _quick(settings: Settings) -> None:
    settings.PACE = 0.001


def imported(account: ProviderAccount) -> None:
    run = sync.request(account, None)
    sync.run(run.pk)
    run.refresh_from_db()
    assert run.state == "finished", run.error


def started(user: User, batch: CancellationBatch) -> CancellationBatch:
    confirmation = batches.Confirmation(batch.confirm_key, batch.digest, "duplicate", "", {})
    return batches.confirm(batch, user, confirmation)


@pytest.mark.parametrize("name", PROVIDERS)
def test_of_a_mixed_selection_exactly_the_open_ones_are_cancelled(
    name: str, sandbox: SandboxServer
) -> None:
    sandbox.control.reset(invoices=30)
    sandbox.control.switch(teos_delay=0.05)
    account = AccountFactory.create(name=name, origin=sandbox.origin)
    imported(account)
    bystanders = set(Invoice.objects.order_by("pk").values_list("pk", flat=True)[:8])
    operator = UserFactory.create(role="operator")
    chosen = Invoice.objects.exclude(pk__in=bystanders)
    batch = started(operator, batches.freeze(operator, chosen, "all but eight"))

    drain.run(account.pk, 15)

    batch.refresh_from_db()
    assert batch.state == "finished"
    for attempt in batch.attempts.select_related("invoice"):
        cancels = sandbox.control.cancels(name, attempt.invoice.external_id)
        if attempt.state == "ineligible":
            assert not cancels
        else:
            assert (attempt.state, len(cancels)) == ("cancelled", 1), attempt.message
            assert attempt.invoice.status == "cancelled"
    for invoice in Invoice.objects.filter(pk__in=bystanders):
        assert not sandbox.control.cancels(name, invoice.external_id)


def test_a_cancel_never_reaches_the_other_account_with_the_same_ids(
    sandbox: SandboxServer,
) -> None:
    sandbox.control.reset(invoices=10)
    europe = AccountFactory.create(name="paypal-europe", origin=sandbox.origin)
    america = AccountFactory.create(name="paypal-america", origin=sandbox.origin)
    imported(europe)
    imported(america)
    operator = UserFactory.create(role="operator")
    chosen = Invoice.objects.filter(account=america)
    started(operator, batches.freeze(operator, chosen, "america"))

    drain.run(europe.pk, 2)
    drain.run(america.pk, 5)

    assert not sandbox.control.log(kind="cancel", account="paypal-europe")
    assert sandbox.control.log(kind="cancel", account="paypal-america")
