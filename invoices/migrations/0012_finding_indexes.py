"""Indexes to find invoices by currency, and by number or provider id in capitals or not."""

from typing import ClassVar

from django.db import migrations, models
from django.db.models.functions import Upper


class Migration(migrations.Migration):
    dependencies: ClassVar = [("invoices", "0011_final_seals")]

    operations: ClassVar = [
        migrations.AddIndex(
            model_name="invoice",
            index=models.Index(
                fields=["currency", "-issued_on", "-id"], name="invoice_by_currency"
            ),
        ),
        migrations.AddIndex(
            model_name="invoice",
            index=models.Index(Upper("number"), name="invoice_by_upper_number"),
        ),
        migrations.AddIndex(
            model_name="invoice",
            index=models.Index(Upper("external_id"), name="invoice_by_upper_id"),
        ),
    ]
