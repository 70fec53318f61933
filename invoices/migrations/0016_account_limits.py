"""People may be limited to some provider accounts, and batches know which accounts they touch."""

from typing import ClassVar

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [
        ("invoices", "0015_evidence_exports"),
        ("providers", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations: ClassVar = [
        migrations.CreateModel(
            name="AccountAccess",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="providers.provideraccount",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="account_limits",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("user", "account"), name="access_once_per_account"
                    )
                ],
            },
        ),
        migrations.AddField(
            model_name="cancellationbatch",
            name="accounts",
            field=models.ManyToManyField(
                help_text="Those of its invoices, noted when it was frozen: they decide who sees it.",
                related_name="+",
                to="providers.provideraccount",
            ),
        ),
        migrations.AlterField(
            model_name="historyevent",
            name="kind",
            field=models.CharField(
                choices=[
                    ("attempt_state", "Attempt"),
                    ("attempt_verified", "Cancellation verified"),
                    ("review_proposed", "Decision proposed"),
                    ("review_declined", "Decision declined"),
                    ("review_taken_back", "Decision taken back"),
                    ("review_overtaken", "Decision overtaken by a read"),
                    ("batch_state", "Batch"),
                    ("invoice_status", "Status at the provider"),
                    ("invoice_imported", "Imported"),
                    ("account_paused", "Account paused"),
                    ("account_resumed", "Account resumed"),
                    ("account_changed", "Account changed"),
                    ("account_checked", "Connection tested"),
                    ("sync_requested", "Import requested"),
                    ("payload_viewed", "Raw payload opened"),
                    ("evidence_exported", "Evidence exported"),
                    ("evidence_verified", "Evidence verified"),
                    ("evidence_purged", "Payloads purged"),
                    ("signed_in", "Signed in"),
                    ("signed_out", "Signed out"),
                    ("sign_in_failed", "Sign-in failed"),
                    ("user_changed", "User changed"),
                    ("user_limited", "User limited to accounts"),
                    ("rule_changed", "Approval rule changed"),
                    ("view_changed", "Saved view changed"),
                    ("list_pasted", "List of numbers pasted"),
                ],
                max_length=20,
            ),
        ),
    ]
