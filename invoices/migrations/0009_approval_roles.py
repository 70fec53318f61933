"""Who writes the rules for approval, who sees them, and who may recall a batch of others."""

from typing import Any, ClassVar

from django.apps import apps as live_apps
from django.contrib.auth.management import create_permissions
from django.db import migrations

GRANTED = {
    "approver": ("view_approvalrule",),
    "auditor": ("view_approvalrule",),
    "administrator": (
        "view_approvalrule",
        "add_approvalrule",
        "change_approvalrule",
        "recall_cancellationbatch",
    ),
}


def grant(apps: Any, schema_editor: Any) -> None:
    using = schema_editor.connection.alias
    # Permissions come into being only after all migrations; these are needed now.
    create_permissions(live_apps.get_app_config("invoices"), verbosity=0, using=using)
    for group, permissions in _each(apps, using):
        group.permissions.add(*permissions)


def take_back(apps: Any, schema_editor: Any) -> None:
    for group, permissions in _each(apps, schema_editor.connection.alias):
        group.permissions.remove(*permissions)


def _each(apps: Any, using: str) -> list[tuple[Any, Any]]:
    permissions = apps.get_model("auth", "Permission").objects.using(using)
    groups = apps.get_model("auth", "Group").objects.using(using)
    return [
        (group, permissions.filter(codename__in=GRANTED[group.name]))
        for group in groups.filter(name__in=GRANTED)
    ]


class Migration(migrations.Migration):
    dependencies: ClassVar = [("invoices", "0008_approval")]

    operations: ClassVar = [migrations.RunPython(grant, take_back)]
