"""No query of a page runs for longer than WEB_QUERY_SECONDS; the visitor is told so on a page.

What answers a request is limited, and nothing else: workers and commands may take their time, and
so may a download that streams, as it leaves after its request was answered. PostgreSQL cuts the
query off by `statement_timeout`; SQLite is asked to stop while it computes.
"""

import logging
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from django.conf import settings
from django.db import OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string

log = logging.getLogger(__name__)

STEPS = 50_000
"""Of SQLite's virtual machine, between two looks at the clock: well below a millisecond."""


class LimitQueries:
    """Limits every query of a request, and answers 503 when one was cut off."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer, within the limit."""
        with limited(settings.WEB_QUERY_SECONDS):
            return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """A page that says what happened, in place of a bare error."""
        if not was_cut_off(error):
            return None
        seconds = settings.WEB_QUERY_SECONDS
        log.warning("A query of %s took longer than %s s and was cut off.", request.path, seconds)
        return HttpResponse(render_to_string("503.html", {"seconds": seconds}), status=503)


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """While in here, each statement has at most so long; 0 for ever."""
    kind = LIMITS.get(connection.vendor)
    if not seconds or kind is None:
        yield
        return
    limit = kind(seconds)
    with connection.execute_wrapper(limit):
        try:
            yield
        finally:
            limit.lift()


def was_cut_off(error: BaseException) -> bool:
    """Whether it is what a statement ends in that took too long."""
    cause = error.__cause__
    return isinstance(error, OperationalError) and (
        isinstance(cause, psycopg.errors.QueryCanceled)
        or getattr(cause, "sqlite_errorname", "") == "SQLITE_INTERRUPT"
    )


class Limit(ABC):
    """Stands between Django and the connection; set at the first statement, so that a page which
    needs no database opens none."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.held: Any = None

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        """Run a statement within the limit."""
        if self.held is not connection.connection:
            self.held = connection.connection
            self.set()
        self.begin()
        return execute(sql, params, many, context)

    def lift(self) -> None:
        """The connection outlives the request; the limit does not."""
        # One that was lost meanwhile needs no lifting.
        with suppress(psycopg.Error, sqlite3.Error):
            if self.held is not None:
                self.unset()

    def begin(self) -> None:  # noqa: B027 - only SQLite has to be told
        """A statement begins."""

    @abstractmethod
    def set(self) -> None:
        """On the connection that is held."""

    @abstractmethod
    def unset(self) -> None:
        """Take it back."""


class OnPostgreSQL(Limit):
    """By a setting of the server's session."""

    def set(self) -> None:
        """In milliseconds."""
        self.held.execute(f"SET statement_timeout = {int(self.seconds * 1000)}")

    def unset(self) -> None:
        """To what the server or the role has."""
        self.held.execute("RESET statement_timeout")


class OnSQLite(Limit):
    """By a look at the clock now and then."""

    until = 0.0

    def begin(self) -> None:
        """Each statement has its own time."""
        self.until = time.monotonic() + self.seconds

    def set(self) -> None:
        """True from the handler interrupts the statement."""
        self.held.set_progress_handler(lambda: time.monotonic() > self.until, STEPS)

    def unset(self) -> None:
        """No handler."""
        self.held.set_progress_handler(None, 0)


LIMITS: dict[str, type[Limit]] = {"postgresql": OnPostgreSQL, "sqlite": OnSQLite}
