"""Seals, checkpoints and purges are as final as what they are about."""

from typing import ClassVar

from django.db import migrations

from invoices.audit.guard import protect


class Migration(migrations.Migration):
    dependencies: ClassVar = [("invoices", "0010_seals")]

    operations: ClassVar = [
        migrations.RunPython(protect, migrations.RunPython.noop, elidable=False)
    ]
