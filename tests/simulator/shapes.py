"""What a queryset's SQL depends on, told apart from the values that only fill it.

A queryset is remembered as the steps that made it. Each step has a shape (names of fields, kinds
of values, how many there are in a list) and values. Two querysets of the same shape have the same
SQL, and their parameters stand at the same places.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db.models import Exists, F, Model, OuterRef, Q, QuerySet, TextChoices, Value
from django.db.models.expressions import CombinedExpression, Expression
from django.db.models.functions import Now

Shape = Any
"""Something hashable; a class is, although mypy does not see it."""
CUT = "cut"
"""The name of the step `[:n]`."""
NOTED = "_noted"
"""Where a subquery keeps what its queryset noted: who builds it, its number and its values."""
MOST = 2**31
"""A number beyond may be more than a column holds, and is then compared in another way."""


class Shapeless(Exception):
    """Something whose SQL may depend on more than its shape: Django makes it anew each time."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a queryset's method; its arguments are those of the first that was met."""

    before: int
    method: str
    positional: tuple[Any, ...]
    named: Mapping[str, Any]
    literal: bool

    def taken(self, queryset: QuerySet[Any], values: Iterator[Any]) -> Any:
        """The same step with other values in their places."""
        if self.method == CUT:
            return queryset[: self.positional[0]]
        if self.literal:
            return getattr(queryset, self.method)(*self.positional, **self.named)
        positional = [filled(one, values) for one in self.positional]
        named = {name: filled(one, values) for name, one in self.named.items()}
        return getattr(queryset, self.method)(*positional, **named)


class Steps:
    """Numbers the ways in which querysets come about: the same way, the same number."""

    def __init__(self) -> None:
        self._numbers: dict[Shape, int] = {}
        self._known: list[Step | Callable[[], QuerySet[Any]]] = []

    def root(self, queryset: type[QuerySet[Any]], model: type[Model]) -> int:
        """All rows of a model."""
        number = self._numbers.get((queryset, model))
        return self._new((queryset, model), lambda: queryset(model)) if number is None else number

    def noted(self, before: int, method: str, *positional: Any, **named: Any) -> int:
        """One step more, by which nothing is compared. Raises `Shapeless`."""
        shape = before, method, positional, tuple(named.items())
        try:
            number = self._numbers.get(shape)
        except TypeError:
            raise Shapeless from None
        if number is None:
            number = self._new(shape, Step(before, method, positional, named, literal=True))
        return number

    def filtered(
        self,
        before: int,
        method: str,
        positional: Sequence[Any],
        named: Mapping[str, Any],
        into: list[Any],
    ) -> int:
        """One step more, with values, which are added to `into`. Raises `Shapeless`."""
        shape = (
            before,
            method,
            tuple([shape_of(one, into) for one in positional]),
            tuple([(name, shape_of(one, into)) for name, one in named.items()]),
        )
        number = self._numbers.get(shape)
        if number is not None:
            return number
        kept = {name: frozen(one) for name, one in named.items()}
        step = Step(before, method, tuple(map(frozen, positional)), kept, literal=False)
        return self._new(shape, step)

    def path(self, number: int) -> tuple[QuerySet[Any], list[Step]]:
        """All rows to begin with, and the steps from there to this number."""
        steps: list[Step] = []
        while isinstance(known := self._known[number], Step):
            steps.append(known)
            number = known.before
        return known(), steps[::-1]

    def _new(self, shape: Shape, known: Step | Callable[[], QuerySet[Any]]) -> int:
        self._known.append(known)
        number = self._numbers[shape] = len(self._known) - 1
        return number


PLAIN = frozenset({str, UUID})
CONSTANT = frozenset({type(None), bool, timedelta})
LISTS = (list, tuple, set, frozenset)


def shape_of(value: Any, into: list[Any]) -> Shape:
    """The shape of an argument; the values in it are added to `into`. Raises `Shapeless`."""
    kind = type(value)
    if kind in PLAIN or (kind is int and -MOST < value < MOST):
        into.append(value)
        return kind
    if kind in CONSTANT or issubclass(kind, TextChoices):
        return kind, value
    if kind is Q:
        conditions = tuple([_shape_within_q(one, into) for one in value.children])
        return Q, value.connector, value.negated, conditions
    if kind in LISTS:
        return list, tuple([_shape_in_list(one, into) for one in dict.fromkeys(value)])
    if kind is Exists:
        return _shape_of_subquery(value, into)
    if isinstance(value, Expression | F):
        return _shape_of_expression(kind, value)
    if _is_value(value):
        into.append(value)
        return str if isinstance(value, str) else datetime if isinstance(value, datetime) else kind
    raise Shapeless


def _shape_within_q(condition: Any, into: list[Any]) -> Shape:
    if type(condition) is tuple:
        name, value = condition
        return name, shape_of(value, into)
    return shape_of(condition, into)


def _shape_in_list(value: Any, into: list[Any]) -> Shape:
    if type(value) in CONSTANT or type(value) in LISTS or isinstance(value, Expression | Q):
        raise Shapeless
    return shape_of(value, into)


def _shape_of_subquery(value: Any, into: list[Any]) -> Shape:
    noted = value.__dict__.get(NOTED)
    if noted is None:
        raise Shapeless
    _, number, held = noted
    into.extend(held)
    return Exists, number


def _shape_of_expression(kind: type, value: Any) -> Shape:
    """Of an expression without values that differ; what it is made of is part of its shape."""
    if kind is F or kind is OuterRef:
        return kind, value.name
    positional, named = value._constructor_args
    if kind is Now and not positional and not named:
        return Now
    if kind is CombinedExpression and not named:
        lhs, rhs = (_shape_of_expression(type(one), one) for one in (value.lhs, value.rhs))
        return kind, value.connector, lhs, rhs
    if kind is Value and len(positional) == 1 and not named and _is_constant(value.value):
        return kind, type(value.value), value.value
    raise Shapeless


def _is_constant(value: Any) -> bool:
    return type(value) in CONSTANT or type(value) in (int, str)


def _is_value(value: Any) -> bool:
    if isinstance(value, datetime):
        return value.tzinfo is not None
    if isinstance(value, Model):
        return isinstance(value.pk, int | str | UUID)
    return isinstance(value, str)


def frozen(value: Any) -> Any:
    """A copy that does not change with its original, to be filled with other values."""
    if type(value) is Q:
        return _q_like(value, [_each(one, frozen) for one in value.children])
    return list(dict.fromkeys(value)) if type(value) in LISTS else value


def filled(value: Any, values: Iterator[Any]) -> Any:
    """A frozen argument with other values in their places."""
    if type(value) is Q:
        fill = partial(filled, values=values)
        return _q_like(value, [_each(one, fill) for one in value.children])
    if type(value) is list:
        return [filled(one, values) for one in value]
    if type(value) is Exists:
        build, number, held = value.__dict__[NOTED]
        return Exists(build(number, [next(values) for _ in held]))
    if type(value) in CONSTANT or isinstance(value, TextChoices):
        return value
    return next(values) if isinstance(value, str | int | UUID | datetime | Model) else value


def _each(condition: Any, change: Callable[[Any], Any]) -> Any:
    if type(condition) is tuple:
        name, value = condition
        return name, change(value)
    return change(condition)


def _q_like(original: Q, children: list[Any]) -> Q:
    made = Q()
    made.connector, made.negated, made.children = original.connector, original.negated, children
    return made
