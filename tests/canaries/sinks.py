"""Everything in which a secret could come to rest: tables, logs, pages and mails."""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from urllib.parse import urljoin

from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.db import connection
from django.test import Client
from django.test.utils import override_settings
from django.utils.log import AdminEmailHandler

from backoffice.json_log import JsonFormatter
from tests.factories import UserFactory

PAGES = 70
_LINK = re.compile(rb"""(?:href|data-[\w-]*(?:url|src|from|href|fetch))=["']([^"'#]+)""")
_NO_PAGE = (b"/static/", b"logout", b"jsi18n", b"?")


@dataclass
class Logs:
    """What was logged and mailed meanwhile, as it was printed at that moment."""

    lines: list[bytes] = field(default_factory=list)
    records: int = 0


class _Printing(logging.Handler):
    """Prints each record as our formatter does, and as anybody's plain one does."""

    def __init__(self, logs: Logs) -> None:
        super().__init__(logging.DEBUG)
        self._logs = logs
        self._formatters = (JsonFormatter(), logging.Formatter("%(asctime)s %(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep both; but not what the tests' own tools tell of what they were given."""
        if record.name.startswith("factory"):
            return
        self._logs.records += 1
        self._logs.lines += [one.format(record).encode() for one in self._formatters]


@contextmanager
def watched(reporter: str | None = None, *, html: bool = True) -> Iterator[Logs]:
    """Collects every record from DEBUG up, and has each error mailed.

    `reporter`: the path of a class to use in place of ours. `html`: with all frames' variables.
    """
    logs, root = Logs(), logging.getLogger()
    mailing = AdminEmailHandler(include_html=html, reporter_class=reporter)
    mailing.setLevel(logging.ERROR)
    handlers = [_Printing(logs), mailing]
    level, usual = root.level, root.handlers
    root.setLevel(logging.DEBUG)
    root.handlers = list(handlers)
    try:
        with override_settings(ADMINS=[("Admin", "admin@example.com")]):
            yield logs
    finally:
        root.setLevel(level)
        root.handlers = usual


def tables() -> dict[str, list[bytes]]:
    """Every value of every column of every table, by table."""
    found: dict[str, list[bytes]] = {}
    with connection.cursor() as cursor:
        names = connection.introspection.table_names(cursor)
        for name in names:
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(name)}")  # noqa: S608
            rows = cursor.fetchall()
            found[name] = [_bytes(value) for row in rows for value in row if value is not None]
    return found


def mails() -> list[bytes]:
    """The error mails, text and HTML."""
    found = []
    for one in mail.outbox:
        found += [one.subject.encode(), str(one.body).encode()]
        if isinstance(one, EmailMultiAlternatives):
            found += [str(part[0]).encode() for part in one.alternatives]
    return found


def pages(role: str, *starts: str, most: int = PAGES) -> dict[str, bytes]:
    """What a person of this role sees who follows the links, breadth first, by address."""
    client = Client()
    client.force_login(UserFactory.create(role=role))
    seen: dict[str, bytes] = {}
    waiting = list(starts)
    for address in waiting:
        if address in seen or len(seen) >= most:
            continue
        answer = client.get(address)
        content = b"".join(answer) if answer.streaming else answer.content
        head = "\n".join(f"{name}: {value}" for name, value in answer.items())
        seen[address] = head.encode() + b"\n\n" + content
        for link in _LINK.findall(content):
            to = urljoin(address, unescape(link.decode()))
            if to.startswith("/admin/") and not any(part in link for part in _NO_PAGE):
                waiting.append(to)
    return seen


def _bytes(value: object) -> bytes:
    if isinstance(value, bytes | memoryview | bytearray):
        return bytes(value)
    if isinstance(value, dict | list):
        return json.dumps(value).encode()
    return str(value).encode()
