"""A database in memory that is as it was before, scenario after scenario."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


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
        self._template.backup(connection.connection)


@contextmanager
def in_memory() -> Iterator[Memory]:
    """Work on a copy in memory of the present (SQLite) database, and go back to it at the end."""
    connection.ensure_connection()
    kept = connection.connection
    template = sqlite3.connect(":memory:")
    kept.backup(template)
    connection.connection = connection.get_new_connection(
        {**connection.get_connection_params(), "database": ":memory:"}
    )
    connection.connection.isolation_level = None  # As Django does: transactions are its own.
    template.backup(connection.connection)
    try:
        yield Memory(template)
    finally:
        connection.connection.close()
        connection.connection = kept
        template.close()
