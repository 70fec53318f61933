"""What must not be forgotten: in code, each time it starts; in a deployment, by `check --deploy`.

annul.E001  an action of an admin page that names no permission
annul.E002  an admin page without a list of the query parameters that it takes
annul.E003  log-in without the count of failed attempts
annul.E010  DEBUG in production          annul.E013  a key that anybody could guess
annul.E011  DEMO in production           annul.E014  any host name is accepted
annul.E012  plain http                   annul.E015  everybody is trusted as a proxy
"""

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.contrib.admin import ModelAdmin
from django.contrib.admin.sites import all_sites
from django.core.checks import CheckMessage, Error
from django.http import HttpRequest

Apps = Sequence[AppConfig] | None

PROBES = ("startswith", "contains", "regex", "isnull", "gt")
FEWEST_CHARACTERS = 8
"""A key of fewer different characters was typed and not drawn."""


def admin_pages(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """Every action names who may take it, and no list can be asked about what it does not show."""
    pages = [page for site in all_sites for page in site._registry.values()]
    return [problem for page in pages for problem in (*_actions(page), *_lookups(page))]


def _actions(page: ModelAdmin[Any]) -> Iterator[CheckMessage]:
    for one in (*(page.actions or ()), *(name for name, _ in page.admin_site.actions)):
        function, name, _ = page.get_action(one) or (None, one, "")
        if not getattr(function, "allowed_permissions", None):
            yield Error(
                f"The action {name!r} names no permission: whoever may look could take it.",
                hint="Give it permissions=[...] with @admin.action.",
                obj=type(page),
                id="annul.E001",
            )


def _lookups(page: ModelAdmin[Any]) -> Iterator[CheckMessage]:
    allowed: tuple[str, ...] | None = getattr(page, "filter_parameters", None)
    names = [field.name for field in page.model._meta.get_fields()]
    asked = list(names) + [f"{name}__{probe}" for name in names for probe in PROBES]
    hidden = (one for one in asked if one not in (allowed or ()))
    leaks = [one for one in hidden if page.lookup_allowed(one, "a", HttpRequest())]
    if allowed is None or leaks:
        yield Error(
            f"By its query parameters the list tells of more than it shows: {', '.join(leaks[:5])}",
            hint="List its filters in filter_parameters, and have lookup_allowed take no other.",
            obj=type(page),
            id="annul.E002",
        )


def failed_attempts(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """django-axes counts only if it stands in three places, at the right end of two."""
    whole = (
        "axes" in settings.INSTALLED_APPS
        and list(settings.AUTHENTICATION_BACKENDS)
        == ["axes.backends.AxesStandaloneBackend", "backoffice.sessions.Backend"]
        and list(settings.MIDDLEWARE)[-1] == "axes.middleware.AxesMiddleware"
        and getattr(settings, "AXES_ENABLED", True)
        and bool(settings.AXES_LOCKOUT_PARAMETERS)
    )
    if whole:
        return []
    text = "Failed attempts to log in are not counted as they should be."
    return [Error(text, hint="Keep the settings of axes as they were.", id="annul.E003")]


def deployment(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """What is fine on one's own machine and nowhere else."""
    found = {
        "E010": (settings.DEBUG, "DEBUG is on: errors show settings and data to anybody."),
        "E011": (settings.DEMO, "DEMO is on: its passwords are known to everybody."),
        "E012": (not _is_https_only(), "Pages and cookies travel by plain http: set SECURE_SSL."),
        "E013": (_has_weak_key(), "SECRET_KEY or one of CREDENTIAL_KEYS is easily guessed."),
        "E014": ("*" in settings.ALLOWED_HOSTS, "ALLOWED_HOSTS accepts any name."),
        "E015": (_trusts_everybody(), "TRUSTED_PROXIES believes anybody's X-Forwarded-For."),
    }
    return [Error(text, id=f"annul.{code}") for code, (wrong, text) in found.items() if wrong]


def _is_https_only() -> bool:
    return bool(
        settings.SECURE_SSL_REDIRECT
        and settings.SESSION_COOKIE_SECURE
        and settings.CSRF_COOKIE_SECURE
        and settings.SESSION_COOKIE_HTTPONLY
        and settings.SESSION_COOKIE_NAME.startswith("__Host-")
    )


def _has_weak_key() -> bool:
    return any(
        len(set(key)) < FEWEST_CHARACTERS or "insecure" in key
        for key in (settings.SECRET_KEY, *settings.CREDENTIAL_KEYS)
    )


def _trusts_everybody() -> bool:
    return any(network.prefixlen == 0 for network in settings.TRUSTED_PROXIES)
