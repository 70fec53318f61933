"""What logs and error reports must not show, by name and by value.

By value: every secret of an account that this process has used, and the keys and passwords among
the settings. By name: settings, form fields, variables and headers that are called like a secret.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings

from providers.redaction import Redactor, known_here

SECRET_NAME = re.compile(
    r"API|AUTH|TOKEN|KEY|SECRET|PASS|SIGNATURE|CREDENTIAL|COOKIE|SESSION|JWT|ASSERTION"
    r"|DATABASE_URL|REDIS|BROKER|DSN",
    re.IGNORECASE,
)
"""Django's own list, and what Annul has besides."""
_KEYS_AND_PASSWORDS = re.compile(
    r"SECRET_KEY|SECRET_KEY_FALLBACKS|CREDENTIAL_KEYS|AUDIT_\w*KEY\w*|\w+_PASSWORD"
)


# A traceback's lines of source: "  File ..." and what is indented below it.
_SOURCE_LINES = re.compile(r"(?m)^ {2}(?:File .*| {2}.*)$\n?")


def hide(text: str, *, cut: bool = False, source: bool = False) -> str:
    """The text without what this process knows to be secret, and what looks like it.

    `cut`: it may end in the middle of a secret. `source`: it holds lines of a program, in which
    `token = ...` is no secret.
    """
    of_settings = _of_settings(settings._wrapped)
    text = of_settings.text(text, cut=cut, source=source)
    return known_here.text(text, cut=cut, source=source)


def hide_trace(text: str) -> str:
    """The same for a traceback as it is printed."""
    pieces, done = [], 0
    for line in _SOURCE_LINES.finditer(text):
        pieces += [hide(text[done : line.start()]), hide(line[0], source=True)]
        done = line.end()
    return "".join([*pieces, hide(text[done:])])


def _secret_settings() -> Iterator[str]:
    for name in dir(settings):
        if _KEYS_AND_PASSWORDS.fullmatch(name) and "PUBLIC" not in name:
            yield from _texts(getattr(settings, name))
    for database in settings.DATABASES.values():
        yield str(database.get("PASSWORD") or "")
    yield from _password_in(settings.REDIS_URL)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, bytes):
        yield value.decode("latin-1")
    elif isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)


def _password_in(url: str) -> Iterator[str]:
    try:
        password = urlsplit(url).password or ""
    except ValueError:
        return
    yield password
    yield unquote(password)


@lru_cache(maxsize=2)
def _of_settings(present: object) -> Redactor:
    """For the settings as they are at present: tests exchange them."""
    return Redactor(_secret_settings())
