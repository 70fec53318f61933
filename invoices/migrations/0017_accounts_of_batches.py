"""Which accounts the invoices of each batch are of, noted for the batches that there are.

Of a batch that was discarded before, nobody knows: it stays without any.
"""

from typing import ClassVar

from django.db import migrations

NOTE = """
INSERT INTO invoices_cancellationbatch_accounts (cancellationbatch_id, provideraccount_id)
SELECT DISTINCT batch_id, account_id FROM invoices_cancellationattempt
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("invoices", "0016_account_limits")]

    operations: ClassVar = [migrations.RunSQL(NOTE, migrations.RunSQL.noop)]
