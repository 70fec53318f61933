"""Seals over the record, checkpoints over the seals, and what finds unsealed rows by their time."""

from typing import ClassVar

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    dependencies: ClassVar = [
        ("invoices", "0009_approval_roles"),
        ("providers", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations: ClassVar = [
        migrations.CreateModel(
            name="Seal",
            fields=[
                ("number", models.BigIntegerField(primary_key=True, serialize=False)),
                ("layout", models.PositiveSmallIntegerField()),
                ("key", models.CharField(max_length=32)),
                ("digest", models.BinaryField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=["layout", "key"], name="seal_once_per_row"),
                ],
            },
        ),
        migrations.CreateModel(
            name="SealTile",
            fields=[
                ("number", models.BigIntegerField(primary_key=True, serialize=False)),
                ("root", models.BinaryField()),
            ],
            options={"abstract": False},
        ),
        migrations.CreateModel(
            name="Checkpoint",
            fields=[
                ("number", models.BigIntegerField(primary_key=True, serialize=False)),
                ("count", models.BigIntegerField()),
                ("root", models.BinaryField()),
                ("previous", models.BinaryField()),
                ("made_at", models.DateTimeField()),
                ("key_id", models.CharField(max_length=16)),
                ("signature", models.BinaryField()),
            ],
            options={"abstract": False},
        ),
        migrations.CreateModel(
            name="BodyPurge",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField(db_default=Now())),
                ("since", models.DateTimeField()),
                ("until", models.DateTimeField()),
                ("requests", models.BigIntegerField()),
                ("answers", models.BigIntegerField()),
                ("export_sha256", models.CharField(blank=True, help_text="Of the export that was verified before.", max_length=64)),
                ("actor", models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL)),
            ],
            options={"abstract": False},
        ),
        migrations.CreateModel(
            name="SealerNote",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("mailed_at", models.DateTimeField(null=True)),
                ("trouble", models.CharField(blank=True, max_length=300)),
                ("trouble_since", models.DateTimeField(null=True)),
            ],
        ),
        migrations.AddIndex(
            model_name="historyevent",
            index=models.Index(fields=["at", "id"], name="event_by_time"),
        ),
        migrations.AddIndex(
            model_name="providerrequest",
            index=models.Index(fields=["created_at", "id"], name="request_by_time"),
        ),
        migrations.AddIndex(
            model_name="providerresponse",
            index=models.Index(fields=["received_at", "request"], name="response_by_time"),
        ),
    ]
