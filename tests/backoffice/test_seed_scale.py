"""`manage.py seed_scale`: a made-up database of any size, for measuring."""

import pytest
from django.core.management import CommandError, call_command

from invoices.models import CallSubject, CancellationAttempt, HistoryEvent, Invoice, ProviderRequest
from invoices.models import CancellationBatch as Batch
from tests.factories import AccountFactory

pytestmark = pytest.mark.django_db


def test_it_fills_an_empty_database_with_invoices_and_their_record() -> None:
    call_command("seed_scale", invoices=1_000)
    assert Invoice.objects.count() == 1_000
    assert Batch.objects.count() == 2
    assert CancellationAttempt.objects.count() == 750
    assert ProviderRequest.objects.filter(response__complete=True).count() == 3_000
    assert CallSubject.objects.count() == 3_000
    assert HistoryEvent.objects.count() == 3_000
    cancelled = Invoice.objects.filter(status="cancelled")
    assert cancelled.count() == 750
    assert not cancelled.exclude(attempts__state="cancelled").exists()


def test_what_is_added_afterwards_gets_a_free_key() -> None:
    call_command("seed_scale", invoices=10)
    fresh = Batch.objects.create(requested_by=Batch.objects.latest("pk").requested_by)
    assert fresh.pk == 2


def test_a_database_that_holds_invoices_is_left_alone() -> None:
    call_command("seed_scale", invoices=1)
    with pytest.raises(CommandError, match="only an empty one"):
        call_command("seed_scale", invoices=1)
    with pytest.raises(CommandError, match="nothing was written"):
        call_command("seed_scale", invoices=0)
    assert Invoice.objects.count() == 1


def test_each_batch_knows_its_accounts() -> None:
    AccountFactory.create(name="paypal-europe")
    AccountFactory.create(name="monite-nord")
    call_command("seed_scale", invoices=1_200)
    noted = set(Batch.objects.values_list("pk", "accounts"))
    assert noted == set(CancellationAttempt.objects.values_list("batch", "account"))
    assert len(noted) > Batch.objects.count()
