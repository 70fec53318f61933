"""Reads what the settings need from the environment and refuses politely.

Every refusal is one sentence that names the variable and says how to make a value.
"""

import base64
import os
import re
import secrets
from collections.abc import Collection
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import environ
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

MAKE_SIGNING_KEY = "python -c 'import secrets; print(secrets.token_urlsafe(64))'"
MAKE_FERNET_KEY = (
    "python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
)
MAKE_AUDIT_KEY = (
    "python -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'"
)

# Django's own deploy check calls a shorter key weak.
SHORTEST_SECRET_KEY = 50

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

MAIL_URL = re.compile(r"smtp(\+tls|\+ssl)?://")
MAIL_SECONDS = 10

DATABASE_URL = re.compile(r"(sqlite|postgres|postgresql)://")
SQLITE = "django.db.backends.sqlite3"
POSTGRESQL = "django.db.backends.postgresql"

# Writers queue up to 20 s for their turn instead of failing half-way (IMMEDIATE), readers never
# wait (WAL), and what is committed survives a power cut (FULL).
SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": (
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON"
    ),
}


def secret_key(given: str, kept_in: Path | None) -> str:
    """The key that signs sessions and forms.

    `kept_in` names the file in which a missing key is made once and kept; None refuses.
    """
    if not given and kept_in is not None:
        return _made_once(kept_in, secrets.token_urlsafe(64))
    if not given:
        raise ImproperlyConfigured(f"SECRET_KEY is not set; make one with: {MAKE_SIGNING_KEY}")
    if kept_in is None and len(given) < SHORTEST_SECRET_KEY:
        raise ImproperlyConfigured(
            f"SECRET_KEY is shorter than {SHORTEST_SECRET_KEY} characters;"
            f" make a better one with: {MAKE_SIGNING_KEY}"
        )
    return given


def credential_keys(given: list[str], kept_in: Path | None) -> list[str]:
    """The Fernet keys of the providers' credentials: the first encrypts, all decrypt.

    `kept_in` names the file in which a missing key is made once and kept; None refuses.
    """
    keys = [key.strip() for key in given if key.strip()]
    if not keys and kept_in is not None:
        return [_made_once(kept_in, Fernet.generate_key().decode())]
    if not keys:
        raise ImproperlyConfigured(
            f"CREDENTIAL_KEYS is not set; make a key with: {MAKE_FERNET_KEY}"
        )
    for position, key in enumerate(keys, start=1):
        _require_fernet_key(position, key)
    return keys


def audit_key(given: str, variable: str, kept_in: Path | None) -> str:
    """A secret of the audit: 32 bytes in URL-safe base64.

    `kept_in` names the file in which a missing key is made once and kept; None refuses.
    """
    key = given.strip()
    if not key and kept_in is not None:
        return _made_once(kept_in, base64.urlsafe_b64encode(os.urandom(32)).decode())
    if not key:
        raise ImproperlyConfigured(f"{variable} is not set; make a key with: {MAKE_AUDIT_KEY}")
    try:
        size = len(base64.b64decode(key, altchars=b"-_", validate=True))
    except ValueError:
        size = 0
    if size != 32:
        raise ImproperlyConfigured(
            f"{variable} is not a key of 32 bytes; make one with: {MAKE_AUDIT_KEY}"
        )
    return key


def public_keys(given: list[str], variable: str) -> list[str]:
    """Public keys of earlier signing keys, each of 64 hexadecimal digits."""
    for key in given:
        if not re.fullmatch(r"[0-9a-fA-F]{64}", key):
            raise ImproperlyConfigured(
                f"{variable} holds {key!r}; write each public key as 64 hexadecimal digits,"
                " as manage.py verify_audit shows it"
            )
    return given


def mail(url: str, needed_for: list[str]) -> dict[str, Any]:
    """Django's EMAIL settings for `url`; none for an empty one, which is refused if mail is wanted.

    The URL stays out of the refusal: it may hold a password.
    """
    if not url and not needed_for:
        return {}
    if MAIL_URL.match(url):
        config: dict[str, Any] = environ.Env.email_url_config(url)
        if config["EMAIL_HOST"]:
            return config | {"EMAIL_TIMEOUT": MAIL_SECONDS}
    raise ImproperlyConfigured(
        "EMAIL_URL is not set or not a mail server; write smtp+tls://user:password@host:587,"
        " smtp+ssl://user:password@host:465 or smtp://host:25"
    )


def allowed_hosts(given: list[str], local: bool) -> list[str]:
    """The host names under which this site may be asked for; loopback only by default."""
    if given:
        return given
    if local:
        return ["localhost", "127.0.0.1", "[::1]"]
    raise ImproperlyConfigured(
        "ALLOWED_HOSTS is not set; list the host names of this site, separated by commas,"
        " for example: ALLOWED_HOSTS=annul.example.com"
    )


def origins(given: list[str], variable: str) -> list[str]:
    """Origins such as `https://proxy.example.com/paypal`, each checked for its shape."""
    for origin in given:
        try:
            parts = urlsplit(origin)
            well_formed = bool(parts.hostname) and parts.port != 0
        except ValueError:
            well_formed = False
        if not well_formed or parts.scheme not in {"http", "https"} or "@" in parts.netloc:
            raise ImproperlyConfigured(
                f"{variable} holds {origin!r}; write each origin as https://host[:port][/prefix],"
                " separated by commas"
            )
        if parts.query or parts.fragment:
            raise ImproperlyConfigured(
                f"{variable} holds {origin!r}; leave out everything from '?' or '#' on"
            )
    return [origin.rstrip("/") for origin in given]


def networks(given: list[str], variable: str) -> list[IPv4Network | IPv6Network]:
    """Addresses (`10.0.0.7`) and networks (`10.0.0.0/8`)."""
    try:
        return [ip_network(one.strip()) for one in given if one.strip()]
    except ValueError:
        raise ImproperlyConfigured(
            f"{variable} is {','.join(given)!r}; write addresses or networks such as 10.0.0.7 or"
            " 10.0.0.0/8, separated by commas"
        ) from None


def readable_file(given: str, variable: str) -> str:
    """The path of a file that is there and may be read; "" for none given."""
    path = given.strip()
    if path and not (Path(path).is_file() and os.access(path, os.R_OK)):
        raise ImproperlyConfigured(f"{variable} is {path!r}; write the path of a readable file")
    return path


def database(url: str, base_dir: Path) -> dict[str, Any]:
    """The database at `url`, with the options that this project relies on.

    The URL stays out of the refusal: it may hold a password.
    """
    try:
        # A typing mistake in the scheme is answered below, not by a warning.
        config: dict[str, Any] = environ.Env.db_url_config(url) if DATABASE_URL.match(url) else {}
    except ValueError:
        config = {}
    if config.get("ENGINE") == SQLITE:
        return config | {"NAME": _sqlite_name(config["NAME"], base_dir), "OPTIONS": SQLITE_OPTIONS}
    if config.get("ENGINE") == POSTGRESQL and config["NAME"]:
        # A socket is written as its folder with %2F for each slash, as libpq has it.
        host = unquote(config["HOST"])
        return config | {"HOST": host, "CONN_MAX_AGE": 600, "CONN_HEALTH_CHECKS": True}
    raise ImproperlyConfigured(
        "DATABASE_URL is not a database this site can use; write sqlite:///var/annul.sqlite3 or"
        " postgres://user:password@host:5432/name"
    )


def whole_number(given: str, default: int, least: int, variable: str) -> int:
    """`given` as a number, or `default` if it is empty; never below `least`."""
    try:
        value = int(given) if given.strip() else default
    except ValueError:
        value = least - 1
    if value < least:
        raise ImproperlyConfigured(
            f"{variable} is {given!r}; it must be a whole number, {least} or more"
        )
    return value


def choice(given: str, choices: Collection[str], variable: str) -> str:
    """One of these words."""
    word = given.strip().lower()
    if word not in choices:
        raise ImproperlyConfigured(f"{variable} is {given!r}; choose one of {', '.join(choices)}")
    return word


def pace(given: str, local: bool) -> float:
    """By what the engine's waiting times are multiplied: 1, except in a demonstration or test."""
    try:
        value = float(given) if given.strip() else 1.0
    except ValueError:
        value = 0.0
    if not 0.0 < value <= 1.0:
        raise ImproperlyConfigured(f"PACE is {given!r}; it must be above 0 and not above 1")
    if value != 1.0 and not local:
        raise ImproperlyConfigured(
            f"PACE is {given!r}; hurrying the engine is for DEMO and DEBUG, leave it out here"
        )
    return value


def log_level(given: str) -> str:
    """One of Python's level names."""
    level = given.strip().upper()
    if level not in LOG_LEVELS:
        raise ImproperlyConfigured(f"LOG_LEVEL is {given!r}; choose one of {', '.join(LOG_LEVELS)}")
    return level


def time_zone(given: str) -> str:
    """A name of the time zone database."""
    try:
        ZoneInfo(given)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise ImproperlyConfigured(
            f"TIME_ZONE is {given!r}; write it as Europe/Berlin, America/New_York or UTC"
        ) from None
    return given


def _require_fernet_key(position: int, key: str) -> None:
    try:
        Fernet(key)
    except ValueError:
        # The key itself stays out of the sentence: it may be a good one with a typing mistake.
        raise ImproperlyConfigured(
            f"CREDENTIAL_KEYS: key number {position} is not a Fernet key;"
            f" make one with: {MAKE_FERNET_KEY}"
        ) from None


def _sqlite_name(name: str, base_dir: Path) -> str:
    """An absolute path, so that the database does not depend on where a command was started."""
    if name == ":memory:":
        return name
    path = base_dir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return str(path)


def _made_once(path: Path, value: str) -> str:
    """What `path` holds; `value`, now stored there for its owner only, if it holds nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        return _kept(path) or value
    path.write_text(value)
    return value


def _kept(path: Path) -> str:
    return path.read_text().strip()
