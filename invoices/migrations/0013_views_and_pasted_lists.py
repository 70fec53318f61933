"""Saved views of the list of invoices, and lists that were pasted."""

import django.db.models.deletion
import django.db.models.functions.datetime
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("invoices", "0012_finding_indexes"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
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
                    ("rule_changed", "Approval rule changed"),
                    ("view_changed", "Saved view changed"),
                    ("list_pasted", "List of numbers pasted"),
                ],
                max_length=20,
            ),
        ),
        migrations.CreateModel(
            name="PastedList",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), db_index=True
                    ),
                ),
                ("entries", models.PositiveIntegerField()),
                ("repeated", models.PositiveIntegerField()),
                ("unmatched", models.JSONField(default=list)),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="pasted_lists",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="PastedEntry",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("entry", models.CharField(max_length=150)),
                (
                    "invoice",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="invoices.invoice",
                    ),
                ),
                (
                    "pasted",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="rows",
                        to="invoices.pastedlist",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="SavedView",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=40)),
                ("query", models.CharField(max_length=1000)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="saved_views",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "shared_with",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="auth.group",
                    ),
                ),
            ],
            options={
                "ordering": ["name", "pk"],
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("owner", "name"), name="view_name_once_per_owner"
                    )
                ],
            },
        ),
    ]
