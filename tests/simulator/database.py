"""A database in memory that is as it was before, scenario after scenario."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection

from invoices import drain


class Memory:
    """The database in memory, and how it was when it was last kept."""

    def __init__(self, template: sqlite3.Connection) -> None:
        self._template = template

    def keep(self) -> None:
        """From now on this is how every scenario begins."""
        connection.connection.backup(self._template)

    def restore(self) -> None:
        """As it was when it was kept, also after a transaction that was left open."""
        if connection.in_atomic_block:
            raise AssertionError("a transaction was left open")
        try:
            self._template.backup(connection.connection)
        except sqlite3.OperationalError:
            # A query of a killed drain was left open: begin with a new connection.
            connection.connection = _fresh()
            self._template.backup(connection.connection)


def _fresh() -> sqlite3.Connection:
    """A new connection to an empty database in memory, as Django would make it."""
    parameters = {**connection.get_connection_params(), "database": ":memory:"}
    made: sqlite3.Connection = connection.get_new_connection(parameters)
    made.isolation_level = None  # As Django does: transactions are its own affair.
    return made


@contextmanager
def in_memory() -> Iterator[Memory]:
    """Work on a database of our own in (SQLite's) memory, and go back to the present one after."""
    kept = connection.connection
    connection.connection = _fresh()
    template = sqlite3.connect(":memory:")
    try:
        call_command("migrate", verbosity=0)
        # Closing what is in memory would lose it; a drain does so after a database error.
        with patch.object(drain, "close_old_connections", lambda: None):
            yield Memory(template)
    finally:
        connection.connection.close()
        connection.connection = kept
        # Ids that were learned there mean something else elsewhere.
        ContentType.objects.clear_cache()
        template.close()
