"""From the list of invoices by way of the preview to the running batch."""

import pytest
from django.test import Client

from invoices.models import CancellationBatch
from tests.factories import AccountFactory, InvoiceFactory, UserFactory

pytestmark = pytest.mark.django_db

LIST = "/admin/invoices/invoice/"


def test_from_the_list_to_the_running_batch(client: Client) -> None:
    client.force_login(UserFactory.create(role="operator"))
    account = AccountFactory.create()
    for status in ("open", "open", "paid"):
        InvoiceFactory.create(account=account, status=status)
    everything = {"action": "cancel_selected", "select_across": "1", "index": "0"}
    preview = client.post(LIST, everything)["Location"]
    assert "Cancel 2 invoices?" in client.get(preview).content.decode()
    batch = CancellationBatch.objects.get()
    form = {"digest": batch.digest, "key": str(batch.confirm_key), "reason": "duplicate"}
    answer = client.post(preview, form)
    assert answer.status_code == 303
    page = client.get(answer["Location"]).content.decode()
    assert "3 selected = 2 queued + 1 not eligible" in page
