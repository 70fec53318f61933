"""A database in memory that is as it was before, scenario after scenario."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from typing import Any
from unittest.mock import patch

from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection
from django.db.backends.sqlite3.base import SQLiteCursorWrapper

from invoices import drain
from tests.simulator.clock import SQL_NOW, sql_now

STATEMENTS = 2000
"""So many statements stay prepared."""


COPIED_EVERY = 50
"""So seldom is the whole database compared, and copied."""
COUNTERS = "sqlite_sequence"
DELETE, SELECT = 'DELETE FROM "%s"', 'SELECT * FROM "%s"'
INSERT = 'INSERT INTO "%s" VALUES (%s)'
REFUSES = "RAISE(ABORT"
EMPTYING = "simulated_emptying"
_emptying: list[int] = []
"""Not empty while we clear up."""
CONVERT: Any = SQLiteCursorWrapper.convert_query
Row = tuple[Any, ...]


class Memory:
    """The database in memory, and how it was when it was last kept."""

    def __init__(self, template: sqlite3.Connection) -> None:
        self._template = template
        self._empty: list[str] = []
        self._rewritten: dict[str, list[Row]] = {}
        self._restored = 0

    def keep(self) -> None:
        """From now on this is how every scenario begins."""
        _let_us_empty(connection.connection)
        connection.connection.backup(self._template)
        rows = {name: _rows(self._template, name) for name in _tables(self._template)}
        self._empty = [name for name, held in rows.items() if not held]
        self._rewritten = {
            name: held
            for name, held in rows.items()
            if held and name.startswith(("invoices_", "providers_"))
        }

    def restore(self) -> None:
        """As it was when it was kept, also after a transaction that was left open.

        Mostly by deleting what is new: all statements must be prepared again after a copy.
        """
        if connection.in_atomic_block:
            raise AssertionError("a transaction was left open")
        self._restored += 1
        self._clear()
        if self._restored % COPIED_EVERY == 0:
            if different := self.differences():
                raise AssertionError(f"other than it was: {', '.join(different)}")
            self._copy()

    def differences(self) -> list[str]:
        """The tables that are not as they were when they were kept."""
        with closing(sqlite3.connect(":memory:")) as present:
            connection.connection.backup(present)
            names = [*_tables(self._template), COUNTERS]
            return [one for one in names if _rows(present, one) != _rows(self._template, one)]

    def _clear(self) -> None:
        present = connection.connection
        if present.in_transaction:
            present.rollback()
        present.execute("BEGIN")
        _emptying.append(1)
        for name in self._empty:
            present.execute(DELETE % name)
        for name, rows in self._rewritten.items():
            present.execute(DELETE % name)
            _insert(present, name, rows)
        present.execute(DELETE % COUNTERS)
        _insert(present, COUNTERS, _rows(self._template, COUNTERS))
        _emptying.pop()
        present.execute("COMMIT")

    def _copy(self) -> None:
        try:
            self._template.backup(connection.connection)
        except sqlite3.OperationalError:
            # A query of a killed drain was left open: begin with a new connection.
            connection.connection = _fresh()
            self._template.backup(connection.connection)


def _let_us_empty(database: sqlite3.Connection) -> None:
    """What refuses to delete rows refuses all but our clearing up between two scenarios."""
    triggers = database.execute(
        "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger' AND sql LIKE ?",
        (f"%{REFUSES}%",),
    )
    for name, table, sql in triggers.fetchall():
        before = f"BEFORE DELETE ON {table} BEGIN"
        if before in sql:
            database.execute(f'DROP TRIGGER "{name}"')
            when = f"WHEN NOT {EMPTYING}() BEGIN"
            database.execute(sql.replace(before, before.removesuffix("BEGIN") + when))


def _tables(database: sqlite3.Connection) -> list[str]:
    """Those that rows are written to: not what SQLite and its full text search keep themselves."""
    found = database.execute(
        "SELECT name FROM pragma_table_list WHERE type = 'table' AND schema = 'main'"
        " AND name NOT LIKE 'sqlite_%'"
    )
    return [name for (name,) in found]


def _rows(database: sqlite3.Connection, table: str) -> list[Row]:
    return database.execute(SELECT % table).fetchall()


def _insert(database: sqlite3.Connection, table: str, rows: list[Row]) -> None:
    database.executemany(INSERT % (table, ", ".join("?" * len(rows[0]))), rows)


def _fresh() -> sqlite3.Connection:
    """A new connection to an empty database in memory, as Django would make it."""
    parameters = {**connection.get_connection_params(), "database": ":memory:"}
    parameters["cached_statements"] = STATEMENTS
    made: sqlite3.Connection = connection.get_new_connection(parameters)
    made.isolation_level = None  # As Django does: transactions are its own affair.
    made.create_function(SQL_NOW, 0, sql_now)
    made.create_function(EMPTYING, 0, lambda: len(_emptying))
    return made


@cache
def _converted(query: str) -> str:
    return str(CONVERT(None, query))


def _convert_query(cursor: Any, query: str, *, param_names: list[str] | None = None) -> str:
    """Django's own, asked once for each statement without named parameters."""
    if param_names is None:
        return _converted(query)
    return str(CONVERT(cursor, query, param_names=param_names))


@contextmanager
def in_memory() -> Iterator[Memory]:
    """Work on a database of our own in (SQLite's) memory, and go back to the present one after."""
    kept, kept_autocommit = connection.connection, connection.autocommit
    # Django looks at what it remembers: without this no transaction would begin, or be committed.
    connection.connection, connection.autocommit = _fresh(), True
    template = sqlite3.connect(":memory:")
    try:
        call_command("migrate", verbosity=0)
        # Closing what is in memory would lose it; a drain does so after a database error.
        lasting = patch.object(drain, "close_old_connections", lambda: None)
        with lasting, patch.object(SQLiteCursorWrapper, "convert_query", _convert_query):
            yield Memory(template)
    finally:
        connection.connection.close()
        connection.connection, connection.autocommit = kept, kept_autocommit
        # Ids that were learned there mean something else elsewhere.
        ContentType.objects.clear_cache()
        template.close()
