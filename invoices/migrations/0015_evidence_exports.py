"""Evidence packs under a list of their own, and auditors may have them."""

from typing import Any, ClassVar

from django.apps import apps as live_apps
from django.contrib.auth.management import create_permissions
from django.db import migrations

GROUP = "auditor"
PERMISSION = "export_evidence"


def grant(apps: Any, schema_editor: Any) -> None:
    using = schema_editor.connection.alias
    # Permissions come into being only after all migrations; this one is needed now.
    create_permissions(live_apps.get_app_config("invoices"), verbosity=0, using=using)
    for group, permission in _both(apps, using):
        group.permissions.add(permission)


def take_back(apps: Any, schema_editor: Any) -> None:
    for group, permission in _both(apps, schema_editor.connection.alias):
        group.permissions.remove(permission)


def _both(apps: Any, using: str) -> list[tuple[Any, Any]]:
    permissions = apps.get_model("auth", "Permission").objects.using(using)
    groups = apps.get_model("auth", "Group").objects.using(using)
    return [
        (group, permission)
        for group in groups.filter(name=GROUP)
        for permission in permissions.filter(codename=PERMISSION)
    ]


class Migration(migrations.Migration):
    dependencies: ClassVar = [("invoices", "0014_rare_events_by_index")]

    operations: ClassVar = [
        migrations.CreateModel(
            name="EvidenceExport",
            fields=[],
            options={
                "verbose_name": "evidence export",
                "verbose_name_plural": "evidence",
                "ordering": ["-id"],
                "permissions": [
                    (
                        "export_evidence",
                        "Can export evidence packs, raw requests and answers included",
                    )
                ],
                "proxy": True,
                "default_permissions": (),
                "indexes": [],
                "constraints": [],
            },
            bases=("invoices.historyevent",),
        ),
        migrations.RunPython(grant, take_back),
    ]
