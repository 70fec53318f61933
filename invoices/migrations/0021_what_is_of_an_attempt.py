"""What is of an attempt, by index: looked for whenever a draft is deleted."""

from typing import ClassVar

from django.db import migrations, models

from invoices.online import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False

    dependencies: ClassVar = [("invoices", "0020_attempts_by_outcome")]

    operations: ClassVar = [
        AddIndexOnline(
            "callsubject", models.Index(fields=["attempt"], name="subject_by_attempt")
        ),
        AddIndexOnline(
            "historyevent", models.Index(fields=["attempt"], name="event_by_attempt")
        ),
    ]
