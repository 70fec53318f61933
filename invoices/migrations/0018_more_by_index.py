"""Indexes for due dates, for calls of rare purposes, and for those that were never sent."""

from typing import ClassVar

from django.db import migrations, models

from invoices.online import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False

    dependencies: ClassVar = [("invoices", "0017_accounts_of_batches")]

    operations: ClassVar = [
        AddIndexOnline("invoice", models.Index(fields=["due_on"], name="invoice_by_due")),
        AddIndexOnline(
            "invoice",
            models.Index(
                fields=["due_on"], name="invoice_open_by_due", condition=models.Q(status="open")
            ),
        ),
        AddIndexOnline(
            "providerrequest",
            models.Index(
                fields=["purpose", "-id"],
                name="request_by_rare_purpose",
                condition=~models.Q(purpose__in=("cancel", "fetch")),
            ),
        ),
        AddIndexOnline(
            "providerresponse",
            models.Index(
                fields=["-request"], name="response_unsent", condition=models.Q(sent=False)
            ),
        ),
    ]
