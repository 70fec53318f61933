"""Indexes for the record's lists by person, by what happens seldom, and by fault."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("invoices", "0013_views_and_pasted_lists")]

    operations: ClassVar = [
        migrations.AddIndex(
            model_name="historyevent",
            index=models.Index(
                fields=["actor", "-id"],
                name="event_by_actor",
                condition=models.Q(actor__isnull=False),
            ),
        ),
        migrations.AddIndex(
            model_name="historyevent",
            index=models.Index(
                fields=["kind", "-id"],
                name="event_by_rare_kind",
                condition=~models.Q(kind__in=("attempt_state", "attempt_verified")),
            ),
        ),
        migrations.AddIndex(
            model_name="providerresponse",
            index=models.Index(
                fields=["fault", "-request"],
                name="response_by_fault",
                condition=~models.Q(fault=""),
            ),
        ),
    ]
