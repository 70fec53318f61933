"""The attempts of a batch by state, in the order in which pages show them."""

from typing import ClassVar

from django.db import migrations, models

from invoices.online import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False

    dependencies: ClassVar = [("invoices", "0019_attempts_in_trouble")]

    operations: ClassVar = [
        AddIndexOnline(
            "cancellationattempt",
            models.Index(fields=["batch", "state", "id"], name="attempt_by_outcome"),
        ),
        migrations.RemoveIndex("cancellationattempt", "attempt_by_batch"),
    ]
