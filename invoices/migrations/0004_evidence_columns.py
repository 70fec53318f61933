"""From where a person did something, and the digest of each request's body."""

import hashlib
from typing import Any, ClassVar

from django.db import migrations, models


def digest_bodies(apps: Any, schema_editor: Any) -> None:
    requests = apps.get_model("invoices", "ProviderRequest").objects
    rows = requests.using(schema_editor.connection.alias).only("pk", "body")
    for row in rows.iterator(chunk_size=500):
        row.body_sha256 = hashlib.sha256(row.body).hexdigest()
        row.save(update_fields=["body_sha256"])


class Migration(migrations.Migration):
    dependencies: ClassVar = [("invoices", "0003_roles")]

    operations: ClassVar = [
        migrations.AddField(
            model_name="historyevent",
            name="address",
            field=models.CharField(
                blank=True,
                default="",
                help_text="From which network address a person did it.",
                max_length=45,
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="providerrequest",
            name="body_sha256",
            field=models.CharField(max_length=64, default=""),
            preserve_default=False,
        ),
        migrations.RunPython(digest_bodies, migrations.RunPython.noop),
        migrations.AlterField(
            model_name="historyevent",
            name="kind",
            field=models.CharField(choices=[('attempt_state', 'Attempt'), ('attempt_verified', 'Cancellation verified'), ('review_proposed', 'Decision proposed'), ('review_declined', 'Decision declined'), ('review_taken_back', 'Decision taken back'), ('review_overtaken', 'Decision overtaken by a read'), ('batch_state', 'Batch'), ('invoice_status', 'Status at the provider'), ('invoice_imported', 'Imported'), ('account_paused', 'Account paused'), ('account_resumed', 'Account resumed'), ('account_changed', 'Account changed'), ('account_checked', 'Connection tested'), ('sync_requested', 'Import requested'), ('payload_viewed', 'Raw payload opened'), ('evidence_exported', 'Evidence exported'), ('evidence_verified', 'Evidence verified'), ('evidence_purged', 'Payloads purged'), ('signed_in', 'Signed in'), ('signed_out', 'Signed out'), ('sign_in_failed', 'Sign-in failed'), ('user_changed', 'User changed'), ('rule_changed', 'Approval rule changed')],
                max_length=20,
            ),
        ),
    ]
