"""An index for what did not end as wished."""

from typing import ClassVar

from django.db import migrations, models

from invoices.online import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False

    dependencies: ClassVar = [("invoices", "0018_more_by_index")]

    operations: ClassVar = [
        AddIndexOnline(
            "cancellationattempt",
            models.Index(
                fields=["state", "invoice"],
                condition=models.Q(
                    state__in=[
                        "unknown",
                        "refused",
                        "skipped",
                        "failed",
                        "withdrawn",
                        "needs_review",
                    ]
                ),
                name="attempt_in_trouble",
            ),
        ),
    ]
