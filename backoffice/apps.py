"""The project's own application (templates' tags, static files) and the admin that it replaces."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class BackofficeConfig(AppConfig):
    """Makes static files, template tags and commands of the project known to Django."""

    name = "backoffice"
    verbose_name = "Annul"


class BackofficeAdminConfig(admin_apps.AdminConfig):
    """In INSTALLED_APPS in place of `django.contrib.admin`: `admin.site` becomes ours."""

    default = False
    default_site = "backoffice.site.BackofficeSite"
