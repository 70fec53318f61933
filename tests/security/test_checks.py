"""What was forgotten is said before it does harm: at each start, or by `check --deploy`."""

from ipaddress import ip_network
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.core.checks import Error, run_checks
from django.http import HttpRequest
from django.test import RequestFactory
from pytest_django import Settings

from backoffice import checks
from tests.backoffice.test_settings import PRODUCTION, manage


def ours(*, deploy: bool = False) -> set[str]:
    """The ids of our own checks that fail."""
    found = run_checks(include_deployment_checks=deploy)
    return {str(one.id) for one in found if str(one.id).startswith("annul.")}


def test_nothing_is_forgotten() -> None:
    assert ours() == set()


# --- Pages of the admin ---------------------------------------------------------------------


@admin.action(description="For anybody who may look")
def careless(page: object, request: HttpRequest, rows: object) -> None: ...


@admin.action(description="For those who may", permissions=["change"])
def careful(page: object, request: HttpRequest, rows: object) -> None: ...


class Careful(admin.ModelAdmin[Group]):
    actions: Any = (careful,)
    filter_parameters = ("name",)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup in self.filter_parameters


class WithCarelessAction(Careful):
    actions = (careful, careless)


class WithoutList(admin.ModelAdmin[Group]):
    actions = (careful,)


class WithLeak(Careful):
    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return True


@pytest.mark.parametrize(
    ("page", "codes"),
    [
        (Careful, set()),
        (WithCarelessAction, {"annul.E001"}),
        (WithoutList, {"annul.E002"}),
        (WithLeak, {"annul.E002"}),
    ],
)
def test_a_careless_page_is_refused(page: type[Careful], codes: set[str]) -> None:
    admin.site.register(Group, page)
    try:
        assert ours() == codes
    finally:
        admin.site.unregister(Group)


def test_an_action_for_the_whole_site_is_looked_at_too(rf: RequestFactory) -> None:
    admin.site.add_action(careless)
    try:
        assert "annul.E001" in ours()
    finally:
        admin.site._actions.pop("careless")
        admin.site._global_actions.pop("careless")


def test_no_model_of_ours_is_registered_with_what_can_be_guessed() -> None:
    for model, page in admin.site._registry.items():
        assert not list(checks._lookups(page)), model
    assert User in admin.site._registry


# --- Log-in ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTHENTICATION_BACKENDS", ["backoffice.sessions.Backend"]),
        (
            "AUTHENTICATION_BACKENDS",
            ["backoffice.sessions.Backend", "axes.backends.AxesStandaloneBackend"],
        ),
        ("AUTHENTICATION_BACKENDS", ["django.contrib.auth.backends.ModelBackend"]),
        ("MIDDLEWARE", ["django.contrib.messages.middleware.MessageMiddleware"]),
        ("AXES_ENABLED", False),
        ("AXES_LOCKOUT_PARAMETERS", []),
    ],
)
def test_log_in_without_the_count_of_failed_attempts_is_refused(
    settings: Settings, name: str, value: object
) -> None:
    setattr(settings, name, value)
    assert [one.id for one in checks.failed_attempts(None)] == ["annul.E003"]


# --- A deployment ---------------------------------------------------------------------------


@pytest.fixture
def production(settings: Settings) -> Settings:
    settings.DEMO = False
    settings.SECRET_KEY = "k3-" * 25 + "a9Z_x1"
    for name in ("SECURE_SSL_REDIRECT", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE"):
        setattr(settings, name, True)
    settings.SESSION_COOKIE_NAME = "__Host-annul_session"
    return settings


def failing() -> list[str]:
    return [str(one.id) for one in checks.deployment(None)]


def test_production_fails_none(production: Settings) -> None:
    assert failing() == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"DEBUG": True}, "annul.E010"),
        ({"DEMO": True}, "annul.E011"),
        ({"SECURE_SSL_REDIRECT": False}, "annul.E012"),
        ({"SESSION_COOKIE_SECURE": False}, "annul.E012"),
        ({"SESSION_COOKIE_NAME": "sessionid"}, "annul.E012"),
        ({"SECRET_KEY": "only" * 20}, "annul.E013"),
        ({"SECRET_KEY": "django-insecure-9f8h34fh93h4f93hf"}, "annul.E013"),
        ({"CREDENTIAL_KEYS": ["A" * 43 + "="]}, "annul.E013"),
        ({"ALLOWED_HOSTS": ["*"]}, "annul.E014"),
        ({"TRUSTED_PROXIES": [ip_network("0.0.0.0/0")]}, "annul.E015"),
    ],
)
def test_a_careless_deployment_is_told(
    production: Settings, changes: dict[str, Any], code: str
) -> None:
    for name, value in changes.items():
        setattr(production, name, value)
    assert failing() == [code]


def test_they_are_part_of_the_deploy_check_alone(settings: Settings) -> None:
    assert "annul.E011" in ours(deploy=True)
    assert "annul.E011" not in ours()


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({"DEBUG": "True"}, "annul.E010"),
        ({"DEMO": "True"}, "annul.E011"),
        ({"SECURE_SSL": "False"}, "annul.E012"),
    ],
)
def test_the_command_fails_for_it(variables: dict[str, str], code: str) -> None:
    result = manage("check", "--deploy", **{**PRODUCTION, **variables})
    assert result.returncode == 1
    assert code in result.stderr


def test_an_unknown_word_for_the_second_factor_is_refused() -> None:
    result = manage("check", **PRODUCTION, SECOND_FACTOR="sometimes")
    assert result.returncode == 1
    assert result.stderr == (
        "Annul cannot start: SECOND_FACTOR is 'sometimes'; choose one of off, optional, required\n"
    )


def test_every_problem_says_what_to_do() -> None:
    problems = [*checks._actions(WithCarelessAction(Group, admin.site))]
    assert all(isinstance(one, Error) and one.hint for one in problems)
