"""SQL that Django has made once is not made again for the same shape of a queryset.

When a shape is new, the real queryset is built with stand-in values and Django's own compiler
makes the SQL; where each stand-in comes out among the parameters shows which value belongs there.
Where one does not come out as it went in, or in one of a few known forms, there is no plan and
Django does all as ever. Now and then Django makes the SQL besides, and it must be the same.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid4

from django.core.exceptions import EmptyResultSet, FieldError, ValidationError
from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import Model
from django.db.models.query import (
    FlatValuesListIterable,
    ModelIterable,
    ValuesListIterable,
    get_related_populators,
)
from django.db.models.sql import Query
from django.db.models.sql.compiler import SQLCompiler

from tests.simulator.shapes import Steps

CHECK_EVERY = 500
"""So seldom is a statement compared with the one that Django makes."""
Values = tuple[Any, ...]
Form = Callable[[Any], Any] | None
"""By what a value becomes a parameter; None: it is one."""


class Inexact(BaseException):
    """A statement is not the one that Django would have made. Nothing of ours may catch this."""


class _Reached(BaseException):
    """The real queryset was about to go to the database, by this compiler."""

    def __init__(self, compiler: SQLCompiler) -> None:
        super().__init__()
        self.compiler = compiler


@dataclass(frozen=True, slots=True)
class Plan:
    """A statement as Django made it, and where its parameters come from.

    `parts`: for each parameter the number of its value and its form, or -1 and the parameter.
    Without SQL nothing can match. `said` is the statement with the constant words in it.
    """

    sql: str = ""
    parts: Sequence[tuple[int, Any]] = ()
    said: str = ""
    left: Sequence[tuple[int, Any]] = ()
    convert: Sequence[tuple[int, Sequence[Any], Any]] = ()
    make: Callable[[Sequence[Any]], Any] | None = None

    def fetch(self, values: Values) -> list[Any]:
        """What a queryset yields."""
        rows = self._fetched(values)
        if self.convert:
            rows = [self._converted(list(row)) for row in rows]
        return rows if self.make is None else [self.make(row) for row in rows]

    def is_any(self, values: Values) -> bool:
        """Whether there is a row."""
        if not self.sql:
            return False
        with connection.cursor() as cursor:
            cursor.execute(self.said, _parameters(self.left, values))
            return bool(cursor.fetchone())

    def count(self, values: Values) -> int:
        """How many rows there are."""
        if not self.sql:
            return 0
        with connection.cursor() as cursor:
            cursor.execute(self.said, _parameters(self.left, values))
            return int(cursor.fetchone()[0])

    def change(self, values: Values) -> int:
        """How many rows were changed."""
        if not self.sql:
            return 0
        with connection.cursor() as cursor:
            cursor.execute(self.said, _parameters(self.left, values))
            return int(cursor.rowcount)

    def _fetched(self, values: Values) -> list[Any]:
        if not self.sql:
            return []
        with connection.cursor() as cursor:
            cursor.execute(self.said, _parameters(self.left, values))
            found: list[Any] = cursor.fetchall()
            return found

    def _converted(self, row: list[Any]) -> list[Any]:
        for position, converters, expression in self.convert:
            for converter in converters:
                row[position] = converter(row[position], expression, connection)
        return row


def _parameters(parts: Sequence[tuple[int, Any]], values: Values) -> Values:
    """The parameters, with these values in them."""
    return tuple(
        [form if at < 0 else values[at] if form is None else form(values[at]) for at, form in parts]
    )


class Plans:
    """All plans made so far."""

    def __init__(self, check_every: int = CHECK_EVERY) -> None:
        self.steps = Steps()
        self.used = self.checked = 0
        self._every = check_every
        self._plans: dict[int, Plan | None] = {}

    def of(self, number: int, values: Values) -> Plan | None:
        """The plan for these steps, the last of which goes to the database; None: Django's way."""
        try:
            plan = self._plans[number]
        except KeyError:
            plan = self._plans[number] = self._made(number, [_stand_in(one) for one in values])
        if plan is not None:
            self.used += 1
            if self.used % self._every == 0:
                self._compare(plan, number, values)
        return plan

    def built(self, number: int, values: Iterable[Any]) -> Any:
        """What the steps come to with these values, all done by Django."""
        made, steps = self.steps.path(number)
        made.__dict__.update(_number=None, _query=Query(made.model))
        left = iter(values)
        for step in steps:
            made = step.taken(made, left)
        return made

    def _made(self, number: int, stand_ins: Sequence[Any]) -> Plan | None:
        try:
            compiler = self._reached(number, stand_ins)
            sql, parameters = compiler.as_sql()
        except EmptyResultSet:
            return Plan()
        except (TypeError, ValueError, FieldError, ValidationError):
            return None
        parts = _parts(stand_ins, parameters)
        _, steps = self.steps.path(number)
        if parts is None or getattr(compiler, "has_extra_select", False):
            return None
        said, left = _spoken(sql, parts)
        if steps[-1].method != "_fetch_all":
            return Plan(sql, parts, said, left)
        before = self.built(steps[-1].before, stand_ins)
        fields = [one[0] for one in compiler.select]
        convert = [(at, *how) for at, how in compiler.get_converters(fields).items()]
        return Plan(sql, parts, said, left, convert, MAKERS[before._iterable_class](compiler))

    def _reached(self, number: int, values: Iterable[Any]) -> SQLCompiler:
        def stop(compiler: SQLCompiler, *_: Any, **__: Any) -> None:
            raise _Reached(compiler)

        with patch.object(SQLCompiler, "execute_sql", stop):
            try:
                self.built(number, values)
            except _Reached as reached:
                return reached.compiler
        raise AssertionError("it did not go to the database")

    def _compare(self, plan: Plan, number: int, values: Values) -> None:
        self.checked += 1
        try:
            sql, parameters = self._reached(number, values).as_sql()
        except EmptyResultSet:
            sql, parameters = "", ()
        ours, real = (plan.sql, _parameters(plan.parts, values)), (sql, tuple(parameters))
        if ours != real or [*map(type, ours[1])] != [*map(type, real[1])]:
            raise Inexact(f"{ours} should be {real}")


# --- values and parameters ------------------------------------------------------------------------


def _stand_in(value: Any) -> Any:
    """A value of the same kind that is met nowhere else, and that no lookup leaves as it is."""
    mark = uuid4()
    if isinstance(value, Model):
        return type(value)(pk=_stand_in(value.pk))
    if isinstance(value, UUID):
        return mark
    if isinstance(value, datetime):
        return datetime(2001, 2, 3, tzinfo=UTC) + timedelta(microseconds=mark.int % 10**14)
    return mark.int % 10**4 + 20_000 if isinstance(value, int) else f" Ä%_\\{mark} "


def _forms(stand_in: Any) -> Iterator[tuple[Any, Form]]:
    """What a value may look like as a parameter."""
    yield stand_in, None
    if isinstance(stand_in, UUID):
        yield stand_in.hex, attrgetter("hex")
    if isinstance(stand_in, datetime):
        adapt = connection.ops.adapt_datetimefield_value
        yield adapt(stand_in), adapt
    if isinstance(stand_in, Model):
        yield stand_in.pk, attrgetter("pk")
        if isinstance(stand_in.pk, UUID):
            yield stand_in.pk.hex, attrgetter("pk.hex")


def _parts(stand_ins: Sequence[Any], parameters: Iterable[Any]) -> list[tuple[int, Any]] | None:
    """Where each parameter comes from; None when some value's way cannot be seen."""
    known = [(shown, at, form) for at, one in enumerate(stand_ins) for shown, form in _forms(one)]
    parts: list[tuple[int, Any]] = []
    for parameter in parameters:
        same = (
            (at, form)
            for shown, at, form in known
            if type(shown) is type(parameter) and shown == parameter
        )
        parts.append(next(same, (-1, parameter)))
    return parts if {at for at, _ in parts} >= set(range(len(stand_ins))) else None


def _spoken(sql: str, parts: Sequence[tuple[int, Any]]) -> tuple[str, list[tuple[int, Any]]]:
    """The statement with the constant words in it, and the parameters that are left.

    As a parameter, a word that a partial index asks for has SQLite prepare the statement anew
    each time.
    """
    texts = sql.split("%s")
    said, left = texts[0], []
    for (at, form), text in zip(parts, texts[1:], strict=True):
        word = at < 0 and isinstance(form, str) and form.isidentifier()
        if not word:
            left.append((at, form))
        said += (f"'{form!s}'" if word else "%s") + text
    return said, left


# --- rows -----------------------------------------------------------------------------------------


def _models(compiler: Any) -> Callable[[Sequence[Any]], Any]:
    """As `ModelIterable` does it."""
    info, select = compiler.klass_info, compiler.select
    model, first, last = info["model"], info["select_fields"][0], info["select_fields"][-1] + 1
    names = [one[0].target.attname for one in select[first:last]]
    related: Any = get_related_populators
    populators = related(info, select, DEFAULT_DB_ALIAS)
    annotations = list((compiler.annotation_col_map or {}).items())

    def made(row: Sequence[Any]) -> Any:
        instance = model.from_db(DEFAULT_DB_ALIAS, names, row[first:last])
        for populator in populators:
            populator.populate(row, instance)
        for name, position in annotations:
            setattr(instance, name, row[position])
        return instance

    return made


MAKERS: dict[Any, Callable[[Any], Callable[[Sequence[Any]], Any]]] = {
    ModelIterable: _models,
    ValuesListIterable: lambda _: tuple,
    FlatValuesListIterable: lambda _: lambda row: row[0],
}
"""For each way of iterating, what makes one of a row."""
