"""A traceback tells where something broke, and no secret that was in reach there."""

import copy
import json
import logging
import os
import pickle
from dataclasses import asdict, dataclass

import pytest
from django.conf import settings as django_settings
from django.core import mail
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext, override_settings
from django.urls import path
from django.views.debug import (
    ExceptionReporter,
    SafeExceptionReporterFilter,
    technical_500_response,
)
from pytest_django import Settings

from backoffice.hiding import hide, hide_trace
from backoffice.json_log import JsonFormatter
from providers.credentials import Credentials
from providers.redaction import Redactor, known_here, mask
from providers.secret import Secret
from tests.canaries.leaking import made
from tests.canaries.search import all_found, found
from tests.canaries.sinks import Logs, mails
from tests.factories import AccountFactory

log = logging.getLogger("traces")
HIDDEN = {
    "credential": made(),
    "setting secret": made() + made(),
    "setting key": made(),
    "audit key": made(),
    "database": made(),
    "redis": made(),
    "posted": made(),
    "header": made(),
    "environment": made(),
}
CANARIES = {name: value.encode() for name, value in HIDDEN.items()}


@pytest.fixture
def secretive(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(settings.DATABASES["default"], "PASSWORD", HIDDEN["database"])
    settings.SECRET_KEY = HIDDEN["setting secret"]
    settings.CREDENTIAL_KEYS = [HIDDEN["setting key"], *settings.CREDENTIAL_KEYS]
    settings.AUDIT_SIGNING_KEY = HIDDEN["audit key"]
    settings.REDIS_URL = f"redis://:{HIDDEN['redis']}@queue.example:6379/0"
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "redis": settings.REDIS_URL}
    known_here.learn(HIDDEN["credential"])


# The type


@dataclass(frozen=True)
class Holder:
    """Something that has a secret among other things."""

    name: str
    secret: Secret


def test_a_secret_shows_itself_only_when_asked_by_name() -> None:
    value = made()
    secret = Secret(value)
    holder = Holder("x", secret)
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret:>40}",
        f"{secret!r}",
        "{} {!r}".format(*[secret, secret]),
        repr([secret]),
        repr(holder),
        repr(vars(holder)),
        repr(asdict(holder)),
        repr(copy.copy(secret)),
        repr(copy.deepcopy(holder)),
        repr(dir(secret)),
    ]
    assert not all_found([one.encode() for one in shown], {"it": value.encode()})
    assert secret.reveal() == value
    assert copy.deepcopy(secret) is secret
    assert secret == Secret(value) != Secret(value + "x")
    assert len({secret, Secret(value)}) == 1
    assert len(secret) == len(value)
    assert secret != value


@pytest.mark.parametrize("what", [Secret("s3cret-value"), Credentials({"a": "s3cret-value"})])
def test_nothing_secret_can_be_written_down_by_accident(what: object) -> None:
    with pytest.raises(TypeError) as refused:
        json.dumps(what)
    assert "s3cret" not in str(refused.value)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps(what, protocol)
    with pytest.raises(TypeError):
        what.__reduce__()


def test_credentials_show_their_names_only() -> None:
    held = Credentials({"client_secret": "s3cret-value"})
    for shown in (repr(held), str(held), f"{held}", repr(vars(held))):
        assert "s3cret" not in shown
    assert copy.copy(held) is copy.deepcopy(held) is held
    assert held["client_secret"] == dict(held)["client_secret"] == "s3cret-value"


def test_whoever_masks_shows_nothing_of_what_it_knows() -> None:
    redactor = Redactor(["s3cret-value"])
    assert "s3cret" not in repr(vars(redactor))


# Reports


def breaks(request: HttpRequest) -> HttpResponse:
    """A view with everything in reach that must not be told."""
    credential = HIDDEN["credential"]
    password = HIDDEN["database"]
    pair = f"client:{credential}"
    headers = {"Authorization": f"Bearer {HIDDEN['header']}", "a": [("Set-Cookie", credential)]}
    held = Credentials({"client_secret": credential})
    posted = request.POST
    sealed = json.dumps({"values": {"api_key": HIDDEN["posted"]}})
    environment = dict(os.environ)
    conf = django_settings
    said = f"cannot use {credential} with {django_settings.SECRET_KEY}"
    everything = (password, pair, headers, held, posted, sealed, environment, conf)
    raise RuntimeError(f"{said}: {len(everything)}") from ValueError(f"because {credential}")


urlpatterns = [path("breaks/", breaks)]


@pytest.mark.django_db
@pytest.mark.usefixtures("secretive")
@pytest.mark.parametrize("debug", [False, True])
@override_settings(ROOT_URLCONF=__name__)
def test_an_error_in_a_view_is_mailed_logged_and_shown_without_a_secret(
    debug: bool, settings: Settings, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DEBUG = debug
    monkeypatch.setenv("REDIS_URL", HIDDEN["environment"])
    client = Client(raise_request_exception=False)
    page = client.post(
        f"/breaks/?token={HIDDEN['posted']}&a=b",
        {"credential_client_secret": HIDDEN["posted"], "note": HIDDEN["credential"]},
        headers={"Authorization": f"Bearer {HIDDEN['header']}"},
        DATABASE_URL=f"postgres://u:{HIDDEN['database']}@db.example/x",
        HTTP_COOKIE=f"annul_session={HIDDEN['posted']}",
    )
    assert page.status_code == 500
    texts = [page.content, *mails(), *logs.lines]
    assert (b"RuntimeError" in page.content) is debug
    assert len(mail.outbox) == 1
    assert b"cannot use " + mask(HIDDEN["credential"]).encode() in b"".join(mails())
    assert not all_found(texts, CANARIES)


@pytest.mark.usefixtures("secretive")
def test_control_django_by_itself_would_tell_nearly_all_of_them() -> None:
    request = RequestFactory().post(
        "/", {"note": HIDDEN["posted"]}, headers={"X-Debug": HIDDEN["header"]}
    )
    try:
        breaks(request)
    except RuntimeError as error:
        assert error.__traceback__ is not None
        page = ExceptionReporter(request, RuntimeError, error, error.__traceback__)
        page.filter = SafeExceptionReporterFilter()
        hits = found(page.get_traceback_html().encode(), CANARIES)
    assert hits >= {"credential", "setting secret", "database", "redis", "posted", "header"}


@pytest.mark.usefixtures("secretive")
def test_the_debug_page_shows_no_variable_of_what_speaks_to_providers() -> None:
    request = RequestFactory().get("/")
    namespace = {"__name__": "requests.sessions"}
    code = "def send(answer):\n    raise OSError('lost')\n"
    exec(compile(code, "sessions.py", "exec"), namespace)  # noqa: S102
    secret = made()
    try:
        namespace["send"](f"sid={secret}")  # type: ignore[operator]
    except OSError as error:
        kind, trace = type(error), error.__traceback__
        assert trace is not None
        shown = technical_500_response(request, kind, error, trace.tb_next)
    assert b"OSError" in shown.content
    assert b"answer" in shown.content
    assert not found(shown.content, {"it": secret.encode()})


@pytest.mark.usefixtures("secretive")
def test_a_report_still_says_what_helps() -> None:
    def broken(count: int, name: str) -> None:
        rows = [{"id": count, "status": "open"}]
        raise LookupError(f"{name} has {len(rows)}")

    request = RequestFactory().get("/")
    try:
        broken(41, "Anna")
    except LookupError as error:
        assert error.__traceback__ is not None
        page = technical_500_response(request, LookupError, error, error.__traceback__.tb_next)
    text = page.content.decode()
    for part in ("Anna has 1", "41", "&#x27;Anna&#x27;", "&#x27;status&#x27;: &#x27;open&#x27;"):
        assert part in text


# Logs


def test_a_plain_formatter_prints_no_secret_either(logs: Logs) -> None:
    known_here.learn(HIDDEN["credential"])
    try:
        raise ValueError(f"bad header {HIDDEN['credential']}")
    except ValueError:
        log.exception("It broke with %s.", {"client_secret": HIDDEN["posted"]}, stack_info=True)
    log.warning("a %s and %s", HIDDEN["credential"], "b", extra={"told": HIDDEN["credential"]})
    assert logs.records == 2
    assert not all_found(logs.lines, CANARIES)
    assert any(b"bad header [masked " in line for line in logs.lines)


def test_the_json_formatter_hides_what_others_made() -> None:
    known_here.learn(HIDDEN["credential"])
    record = logging.LogRecord("x", 40, "f", 1, "%s", (HIDDEN["credential"],), None)
    assert not found(JsonFormatter().format(record).encode(), CANARIES)


def test_lines_of_source_in_a_traceback_stay_readable() -> None:
    source = '  File "paypal.py", line 2, in _call\n    token = self._tokens.get(new)\n'
    trace = f"{source}X: token=abc123x\n"
    assert "token = self._tokens.get(new)" in hide_trace(trace)
    assert "abc123x" not in hide_trace(trace)
    assert hide("nothing to hide") == "nothing to hide"


@pytest.mark.django_db
def test_sql_is_logged_without_secrets_and_by_default_not_at_all(logs: Logs) -> None:
    known_here.learn(HIDDEN["credential"])
    account = AccountFactory.create()
    assert logging.getLogger("django.db.backends").getEffectiveLevel() >= logging.INFO
    sql = logging.getLogger("django.db.backends")
    level = sql.level
    sql.setLevel(logging.DEBUG)
    try:
        with CaptureQueriesContext(connection):
            account.pause_reason = f"it said {HIDDEN['credential']}"
            account.save()
    finally:
        sql.setLevel(level)
    assert any(b"pause_reason" in line for line in logs.lines)
    assert not all_found(logs.lines, CANARIES)
