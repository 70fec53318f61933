"""Five groups, one for each kind of person, with exactly what each may do."""

from typing import Any, ClassVar

from django.apps import apps as live_apps
from django.contrib.auth.management import create_permissions
from django.db import migrations

READ = {
    "invoices": ("view_invoice", "view_cancellationbatch", "view_cancellationattempt"),
}
ROLES: dict[str, dict[str, tuple[str, ...]]] = {
    "operator": {
        "invoices": (
            *READ["invoices"],
            "cancel_invoice",
            "refresh_invoice",
            "control_cancellationbatch",
            "review_cancellationattempt",
            "view_reviewdecision",
            "view_syncrun",
            "add_syncrun",
        ),
        "providers": ("view_provideraccount",),
    },
    "approver": {
        "invoices": (
            *READ["invoices"],
            "approve_cancellationbatch",
            "review_cancellationattempt",
            "view_reviewdecision",
        ),
    },
    "auditor": {
        "invoices": (
            *READ["invoices"],
            "view_providerrequest",
            "view_providerresponse",
            "view_payload",
            "view_historyevent",
            "view_reviewdecision",
            "view_syncrun",
        ),
        "providers": ("view_provideraccount",),
        "auth": ("view_user", "view_group"),
    },
    "support": {
        "invoices": READ["invoices"],
    },
    "administrator": {
        "invoices": (*READ["invoices"], "view_historyevent", "view_syncrun", "add_syncrun"),
        "providers": (
            "view_provideraccount",
            "add_provideraccount",
            "change_provideraccount",
            "pause_provideraccount",
            "check_provideraccount",
        ),
        "auth": ("view_user", "add_user", "change_user", "view_group"),
    },
}


def create_groups(apps: Any, schema_editor: Any) -> None:
    using = schema_editor.connection.alias
    for label in ("auth", "providers", "invoices"):
        # Permissions come into being only after all migrations; these are needed now.
        create_permissions(live_apps.get_app_config(label), verbosity=0, using=using)
    group_model = apps.get_model("auth", "Group")
    permissions = apps.get_model("auth", "Permission").objects.using(using)
    for role, granted in ROLES.items():
        group, _ = group_model.objects.using(using).get_or_create(name=role)
        wanted = [
            permissions.get(content_type__app_label=label, codename=name)
            for label, names in granted.items()
            for name in names
        ]
        group.permissions.set(wanted)


def forget_groups(apps: Any, schema_editor: Any) -> None:
    groups = apps.get_model("auth", "Group").objects.using(schema_editor.connection.alias)
    groups.filter(name__in=ROLES).delete()


class Migration(migrations.Migration):
    dependencies: ClassVar = [
        ("invoices", "0002_search"),
        ("providers", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations: ClassVar = [migrations.RunPython(create_groups, forget_groups)]
