"""Who makes an event need not say from where: the default asks. The database does not know it."""

from typing import ClassVar

from django.db import migrations, models

import invoices.presence


class Migration(migrations.Migration):
    dependencies: ClassVar = [("invoices", "0004_evidence_columns")]

    operations: ClassVar = [
        # Only the state: SQLite would make the table anew, and lose its triggers.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    model_name="historyevent",
                    name="address",
                    field=models.CharField(
                        blank=True,
                        default=invoices.presence.address,
                        help_text="From which network address a person did it.",
                        max_length=45,
                    ),
                ),
            ],
        ),
    ]
