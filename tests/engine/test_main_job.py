"""The main job at each provider, over real sockets: freeze, confirm, drain, read the record."""

import pytest

from invoices import batches, drain, sync
from invoices.models import Invoice
from tests.factories import AccountFactory, UserFactory

pytestmark = pytest.mark.django_db

ACCOUNTS = ["paypal-europe", "visa-harbour", "monite-nord", "kantata-studio", "teos-ledger"]


@pytest.mark.parametrize("name", ACCOUNTS)
def test_open_invoices_are_cancelled_at_every_provider(name, sandbox, settings):
    settings.PACE = 0.05
    account = AccountFactory(name=name, origin=sandbox.origin)
    ids = [sandbox.control.add_invoice(name) for _ in range(5)]
    run = sync.request(account, None)
    sync.run(run.pk)
    run.refresh_from_db()
    assert (run.state, run.created) == ("finished", 5), run.error
    operator = UserFactory(role="operator")
    batch = batches.freeze(operator, Invoice.objects.all(), "all")
    print(list(batch.attempts.values_list("state", "code")))
    batches.confirm(
        batch,
        operator,
        batches.Confirmation(batch.confirm_key, batch.digest, "duplicate", "", {}),
    )
    drain.run(account.pk, 8)
    for a in batch.attempts.all():
        print(a.state, a.code, a.message, a.evidence, a.sends, a.due_at)
    print([ (r.purpose, r.method, r.url) for r in __import__("invoices.models").models.ProviderRequest.objects.all()][:12])
    batch.refresh_from_db()
    assert {a.state for a in batch.attempts.all()} == {"cancelled"}
    assert batch.state == "finished"
    assert all(sandbox.control.invoice(name, one)["cancelled_by"] for one in ids)
