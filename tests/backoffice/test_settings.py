"""The site starts with what it needs, and otherwise refuses in one sentence."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

from backoffice import environment

ROOT = Path(__file__).resolve().parent.parent.parent
SETTINGS = (ROOT / "backoffice" / "settings.py").read_text()
# What production has to set, and nothing more.
PRODUCTION = {
    "SECRET_KEY": "k3-" * 25 + "a9Z_x1",
    "CREDENTIAL_KEYS": Fernet.generate_key().decode(),
    "ALLOWED_HOSTS": "annul.example.com",
    "AUDIT_SEAL_KEY": "c2VhbC1rZXktb25seS1mb3ItdGVzdHMtb25seS10ZXM=",
    "AUDIT_SIGNING_KEY": "c2lnbmluZy1rZXktb25seS1mb3ItdGVzdHMtb25seS0=",
    "DATABASE_URL": "sqlite://:memory:",
}


def manage(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """manage.py as a person would run it, under these variables and no others."""
    bare = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=bare | {"ENV_FILE": os.devnull} | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def without(name: str) -> dict[str, str]:
    """A production that forgot one variable."""
    return {key: value for key, value in PRODUCTION.items() if key != name}


@pytest.mark.parametrize(
    "name",
    ["SECRET_KEY", "CREDENTIAL_KEYS", "ALLOWED_HOSTS", "AUDIT_SEAL_KEY", "AUDIT_SIGNING_KEY"],
)
def test_it_refuses_in_one_sentence_while_something_is_missing(name: str) -> None:
    result = manage("check", **without(name))
    assert result.returncode == 1
    assert result.stderr.startswith(f"Annul cannot start: {name} is not set; ")
    assert len(result.stderr.splitlines()) == 1


def test_production_passes_the_deploy_check_without_a_warning() -> None:
    result = manage("check", "--deploy", "--fail-level", "WARNING", **PRODUCTION)
    assert (result.returncode, result.stderr) == (0, "")


def test_an_unknown_command_does_not_hide_what_is_missing() -> None:
    assert "SECRET_KEY is not set" in manage("nonsense", **without("SECRET_KEY")).stderr


def test_production_runs_with_https_only_cookies_and_manifest_files() -> None:
    code = (
        "import json; from django.conf import settings as s; print(json.dumps([s.DEBUG, s.DEMO,"
        "s.SESSION_COOKIE_NAME, s.SESSION_COOKIE_SECURE, s.SESSION_COOKIE_HTTPONLY,"
        "s.CSRF_COOKIE_SECURE, s.SECURE_SSL_REDIRECT,"
        "s.STORAGES['staticfiles']['BACKEND'].rsplit('.', 1)[-1], s.SESSION_COOKIE_AGE,"
        "s.PASSWORD_HASHERS[0].rsplit('.', 1)[-1]]))"
    )
    result = manage("shell", "--no-imports", "-c", code, **PRODUCTION)
    assert json.loads(result.stdout) == [
        False,
        False,
        "__Host-annul_session",
        True,
        True,
        True,
        True,
        "CompressedManifestStaticFilesStorage",
        15 * 60,
        "Argon2PasswordHasher",
    ]


def test_redis_replaces_the_database_as_broker_by_one_variable() -> None:
    code = (
        "from django.conf import settings; broker = settings.Q_CLUSTER;"
        "print(broker.get('redis'), 'orm' in broker)"
    )
    given = manage(
        "shell", "--no-imports", "-c", code, **PRODUCTION, REDIS_URL="redis://queue:6379/0"
    )
    absent = manage("shell", "--no-imports", "-c", code, **PRODUCTION)
    assert given.stdout.split() == ["redis://queue:6379/0", "False"]
    assert absent.stdout.split() == ["None", "True"]


def test_env_example_and_settings_name_the_same_variables() -> None:
    read = set(re.findall(r'(?:env\.\w+|whole_number|environ\.get)\(\s*"([A-Z_]+)"', SETTINGS))
    listed = re.findall(r"^(?:# )?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == read


def test_a_missing_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    kept_in = tmp_path / "var" / "secret_key"
    first = environment.secret_key("", kept_in)
    assert len(first) >= environment.SHORTEST_SECRET_KEY
    assert environment.secret_key("", kept_in) == first
    assert stat.S_IMODE(kept_in.stat().st_mode) == 0o600


def test_a_made_credential_key_encrypts(tmp_path: Path) -> None:
    [key] = environment.credential_keys([], tmp_path / "credential_key")
    assert environment.credential_keys([], tmp_path / "credential_key") == [key]
    Fernet(key)


def test_a_broken_credential_key_is_named_by_its_place_and_not_shown() -> None:
    good = Fernet.generate_key().decode()
    with pytest.raises(ImproperlyConfigured, match="key number 2") as refusal:
        environment.credential_keys([good, "not-a-key"], None)
    assert "not-a-key" not in str(refusal.value)


def test_a_key_of_the_audit_is_made_once_and_a_wrong_one_is_refused_and_not_shown(
    tmp_path: Path,
) -> None:
    made = environment.audit_key("", "AUDIT_SEAL_KEY", tmp_path / "audit_seal_key")
    assert environment.audit_key("", "AUDIT_SEAL_KEY", tmp_path / "audit_seal_key") == made
    assert environment.audit_key(made, "AUDIT_SEAL_KEY", None) == made
    for wrong in ("short", made[:-4], made * 2, "not base64 at all, but 44 characters long...."):
        with pytest.raises(ImproperlyConfigured, match="AUDIT_SEAL_KEY is not a key") as refusal:
            environment.audit_key(wrong, "AUDIT_SEAL_KEY", None)
        assert wrong not in str(refusal.value)


def test_a_public_key_of_another_shape_is_refused() -> None:
    assert environment.public_keys(["a0" * 32], "AUDIT_FORMER_PUBLIC_KEYS") == ["a0" * 32]
    with pytest.raises(ImproperlyConfigured, match="AUDIT_FORMER_PUBLIC_KEYS"):
        environment.public_keys(["a0" * 31], "AUDIT_FORMER_PUBLIC_KEYS")


@pytest.mark.parametrize("url", ["", "https://u:hunter2@host", "smtp://", "u:hunter2@host:25"])
def test_checkpoints_are_mailed_only_by_a_mail_server(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="EMAIL_URL") as refusal:
        environment.mail(url, ["auditor@example.com"])
    assert "hunter2" not in str(refusal.value)


def test_a_mail_server_is_named_by_one_variable() -> None:
    assert environment.mail("", []) == {}
    mail = environment.mail("smtp+tls://user:pass@mail.example.com:587", [])
    assert (mail["EMAIL_HOST"], mail["EMAIL_PORT"]) == ("mail.example.com", 587)
    assert mail["EMAIL_USE_TLS"] is True
    assert mail["EMAIL_TIMEOUT"] <= 30


def test_a_short_secret_key_is_refused_in_production() -> None:
    with pytest.raises(ImproperlyConfigured, match="shorter than 50"):
        environment.secret_key("short", None)


@pytest.mark.parametrize(
    "origin",
    [
        "proxy.example.com",
        "ftp://proxy.example.com",
        "https://user@proxy.example.com",
        "https://",
        "https://[::1",
        "https://proxy.example.com:port",
        "https://proxy.example.com?x=1",
        "https://proxy.example.com#x",
    ],
)
def test_an_origin_of_another_shape_is_refused(origin: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="PROVIDER_EXTRA_ORIGINS"):
        environment.origins([origin], "PROVIDER_EXTRA_ORIGINS")


def test_an_origin_may_have_a_port_and_a_path_prefix() -> None:
    given = ["https://proxy.example.com:8443/paypal/", "http://127.0.0.1:9"]
    assert environment.origins(given, "PROVIDER_EXTRA_ORIGINS") == [
        "https://proxy.example.com:8443/paypal",
        "http://127.0.0.1:9",
    ]


@pytest.mark.parametrize("given", ["-1", "0", "x", "1.5", "1e3"])
def test_a_number_that_would_stop_the_work_is_refused(given: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="DRAIN_SECONDS"):
        environment.whole_number(given, 25, 1, "DRAIN_SECONDS")


@pytest.mark.parametrize(
    "url", ["", "foo", "mysql://u:hunter2@host/db", "postgres://u:hunter2@host:port/db"]
)
def test_an_unusable_database_is_refused_without_showing_its_password(
    url: str, tmp_path: Path
) -> None:
    with pytest.raises(ImproperlyConfigured) as refusal:
        environment.database(url, tmp_path)
    assert "hunter2" not in str(refusal.value)


def test_sqlite_lies_beside_manage_py_wherever_the_command_was_started(tmp_path: Path) -> None:
    config = environment.database("sqlite:///var/annul.sqlite3", tmp_path)
    assert config["NAME"] == str(tmp_path / "var" / "annul.sqlite3")
    assert config["OPTIONS"]["transaction_mode"] == "IMMEDIATE"


def test_a_postgresql_socket_is_written_as_its_folder(tmp_path: Path) -> None:
    config = environment.database("postgres://annul@%2Frun%2Fpostgresql/annul", tmp_path)
    assert (config["HOST"], config["NAME"]) == ("/run/postgresql", "annul")
    assert config["CONN_HEALTH_CHECKS"] is True


def test_the_engine_is_hurried_only_in_a_demonstration() -> None:
    assert environment.pace("", False) == environment.pace("1", False) == 1.0
    assert environment.pace("0.2", True) == 0.2
    with pytest.raises(ImproperlyConfigured, match="PACE"):
        environment.pace("0.2", False)


@pytest.mark.parametrize("given", ["0", "-1", "1.5", "nan", "slow"])
def test_a_pace_that_would_stop_or_delay_the_work_is_refused(given: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="PACE"):
        environment.pace(given, True)


@pytest.mark.parametrize("given", ["", "LOUD"])
def test_an_unknown_log_level_is_refused(given: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="LOG_LEVEL"):
        environment.log_level(given)


@pytest.mark.parametrize("given", ["Mars/Olympus", "../../etc/passwd", ""])
def test_an_unknown_time_zone_is_refused(given: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="TIME_ZONE"):
        environment.time_zone(given)


def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    bundle = tmp_path / "authorities.pem"
    with pytest.raises(ImproperlyConfigured, match="PROVIDER_CA_BUNDLE"):
        environment.readable_file(str(bundle), "PROVIDER_CA_BUNDLE")
    bundle.touch()
    assert environment.readable_file(f" {bundle} ", "PROVIDER_CA_BUNDLE") == str(bundle)
    assert environment.readable_file("", "PROVIDER_CA_BUNDLE") == ""
