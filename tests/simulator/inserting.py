"""The SQL of an INSERT, made once for each model, set of columns and number of rows.

The values come from the models and their fields as ever; what is kept is the text around them.
"""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from django.db import connection
from django.db.models.expressions import DatabaseDefault
from django.db.models.functions import Now
from django.db.models.sql.compiler import SQLInsertCompiler

from tests.simulator.plans import CHECK_EVERY, Inexact


@dataclass(frozen=True, slots=True)
class Text:
    """An INSERT without its values."""

    sql: str
    returning: Any


class Inserts:
    """All texts made so far."""

    def __init__(self, check_every: int = CHECK_EVERY) -> None:
        self.used = 0
        self._every = check_every
        self._real = SQLInsertCompiler.as_sql
        self._texts: dict[Hashable, Text | None] = {}

    def as_sql(self, compiler: Any) -> Any:
        """In place of the compiler's own."""
        query = compiler.query
        if not query.fields or query.raw:
            return self._real(compiler)
        pairs = [(f, f.pre_save(one, add=True)) for one in query.objs for f in query.fields]
        key = (
            *(query.model, tuple(query.fields), len(query.objs), query.on_conflict),
            *(tuple(query.update_fields), tuple(query.unique_fields)),
            tuple(compiler.returning_fields or ()),
            tuple([_is_now(*one) for one in pairs]),
        )
        values = tuple(
            [
                field.get_db_prep_save(value, connection=connection)
                for field, value in pairs
                if not _is_now(field, value)
            ]
        )
        if key not in self._texts:
            self._texts[key] = self._made(compiler, values)
        text = self._texts[key]
        if text is None:
            return self._real(compiler)
        self.used += 1
        if self.used % self._every == 0 and self._made(compiler, values) != text:
            raise Inexact(f"{text} is not what Django makes of {values}")
        compiler.returning_params = text.returning
        return [(text.sql, values)]

    def _made(self, compiler: Any, values: tuple[Any, ...]) -> Text | None:
        """What Django makes of it; None when its parameters are not just the values."""
        statements = self._real(compiler)
        if len(statements) != 1 or tuple(statements[0][1]) != values:
            return None
        return Text(statements[0][0], compiler.returning_params)


def _is_now(field: Any, value: Any) -> bool:
    """Whether a value is an expression without parameters, the same each time."""
    return type(value) is Now or (type(value) is DatabaseDefault and type(field.db_default) is Now)


@contextmanager
def kept_inserts(inserts: Inserts) -> Iterator[None]:
    """Have all INSERTs made with these texts."""

    def as_sql(compiler: Any) -> Any:
        return inserts.as_sql(compiler)

    with patch.object(SQLInsertCompiler, "as_sql", as_sql):
        yield
