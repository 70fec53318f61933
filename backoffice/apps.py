"""The project's own application (templates' tags, static files) and the admin that it replaces."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps
from django.core.checks import Tags, register

from backoffice import checks, json_log


class BackofficeConfig(AppConfig):
    """Makes static files, template tags, commands and checks of the project known to Django."""

    name = "backoffice"
    verbose_name = "Annul"

    def ready(self) -> None:
        """Have no log record show a secret, and Django run our checks beside its own."""
        json_log.install()
        register(checks.admin_pages, Tags.admin)
        register(checks.failed_attempts, Tags.security)
        register(checks.deployment, Tags.security, deploy=True)


class BackofficeAdminConfig(admin_apps.AdminConfig):
    """In INSTALLED_APPS in place of `django.contrib.admin`: `admin.site` becomes ours."""

    default = False
    default_site = "backoffice.site.BackofficeSite"
