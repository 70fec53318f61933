"""Whether an attempt is to be sent by a call about nothing else.

PostgreSQL adds the column in place. SQLite makes the table anew; no trigger is on it.
"""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("invoices", "0005_address_of_the_request")]

    operations: ClassVar = [
        migrations.AddField(
            model_name="cancellationattempt",
            name="alone",
            field=models.BooleanField(
                db_default=False,
                help_text="Refused together with others and without a reason, so it is sent by itself.",
            ),
        ),
    ]
