"""What tests may do and the product never does: take the triggers down to change or delete."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.operations import BaseDatabaseOperations

from invoices.audit import guard


@contextmanager
def unguarded(database: BaseDatabaseWrapper = connection) -> Iterator[None]:
    """A transaction within which the record can be changed."""
    with transaction.atomic(using=database.alias):
        _settle(database)
        guard.remove(database)
        yield
        _settle(database)
        guard.install(database)


def _settle(database: BaseDatabaseWrapper) -> None:
    """PostgreSQL alters no table while keys of new rows are still to be checked."""
    if database.vendor == "postgresql":
        database.check_constraints()


@contextmanager
def flushing() -> Iterator[None]:
    """Django empties all tables after a test that commits: let it, and nobody else."""
    flush = BaseDatabaseOperations.execute_sql_flush

    def unguarded_flush(self: Any, sql_list: Sequence[str]) -> None:
        with unguarded(self.connection):
            flush(self, sql_list)

    with patch.object(BaseDatabaseOperations, "execute_sql_flush", unguarded_flush):
        yield
