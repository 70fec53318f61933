"""Triggers that refuse to change or delete what is on record."""

from typing import ClassVar

from django.db import migrations

from invoices.audit.guard import protect, unprotect


class Migration(migrations.Migration):
    dependencies: ClassVar = [("invoices", "0006_sent_alone")]

    operations: ClassVar = [migrations.RunPython(protect, unprotect, elidable=False)]
