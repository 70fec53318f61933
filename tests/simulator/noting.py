"""Querysets that only note how they come about, until they go to the database (`plans.py`).

Whatever is not noted here needs the real `Query`, which is then built from what was noted; from
there on such a queryset is Django's alone.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from django.db import DEFAULT_DB_ALIAS, transaction
from django.db.models import Exists
from django.db.models.expressions import BaseExpression
from django.db.models.query import (
    FlatValuesListIterable,
    ModelIterable,
    QuerySet,
    ValuesListIterable,
)

from tests.simulator.plans import MAKERS, Plan, Plans
from tests.simulator.shapes import CUT, NOTED, Shapeless

MOST_FOUND = 21
"""So many rows `get` asks for, to be able to say how many there are."""
_PENDING: Any = object()
"""In place of a `Query` that nobody may ever need."""


REPLACED = (
    *("_clone", "_not_support_combined_queries", "_filter_or_exclude", "order_by", "only"),
    *("select_related", "select_for_update", "annotate", "values_list", "__getitem__"),
    *("_fetch_all", "exists", "count", "distinct", "get", "update"),
)


@contextmanager
def noting_querysets(plans: Plans) -> Iterator[None]:
    """Have all querysets note how they come about, and use these plans."""
    noting = Noting(plans)
    with ExitStack() as stack:
        # Of one that was made before, there is nothing to note.
        stack.enter_context(patch.object(QuerySet, "_number", None, create=True))
        stack.enter_context(patch.object(QuerySet, "__init__", noting.began()))
        stack.enter_context(patch.object(QuerySet, "query", noting.query()))
        stack.enter_context(patch.object(Exists, "__init__", noting.subquery()))
        stack.enter_context(patch.object(Exists, "query", _Built(), create=True))
        for name in REPLACED:
            stack.enter_context(patch.object(QuerySet, name, noting.method(name)))
        yield


def _texts(names: tuple[Any, ...]) -> tuple[Any, ...]:
    if not all(isinstance(one, str) for one in names):
        raise Shapeless
    return names


class _Built:
    """The query of an `Exists`, once somebody asks for it."""

    def __get__(self, subquery: Any, _: Any = None) -> Any:
        if subquery is None or NOTED not in subquery.__dict__:
            raise AttributeError("query")
        build, number, held = subquery.__dict__[NOTED]
        query = build(number, held).query.clone()
        query.subquery = True
        query = subquery.__dict__["query"] = query.exists()
        return query


class Noting:
    """The methods that take the place of a queryset's own. `qs` is the queryset.

    Of one that notes, `_number` is that of its last step and `_held` are all values so far;
    `_cut` says that it was sliced, after which hardly anything is allowed.
    """

    def __init__(self, plans: Plans) -> None:
        self._plans = plans
        self._steps = plans.steps
        self._init = QuerySet.__init__
        self._real_query: Any = QuerySet.query
        self._real = {name: getattr(QuerySet, name) for name in REPLACED}

    def method(self, name: str) -> Callable[..., Any]:
        """What takes the place of a method of this name."""
        real, ours = self._real[name], getattr(self, name.strip("_"))

        def replaced(qs: Any, *positional: Any, **named: Any) -> Any:
            if qs._number is None:
                return real(qs, *positional, **named)
            try:
                return ours(qs, *positional, **named)
            except Shapeless:
                # From here on it is Django's: with its real query it no longer notes.
                assert qs.query is not None
                return real(qs, *positional, **named)

        return replaced

    def began(self) -> Callable[..., None]:
        """`__init__`"""
        real, root = self._init, self._steps.root

        def init(
            qs: Any, model: Any = None, query: Any = None, using: Any = None, hints: Any = None
        ) -> None:
            real(qs, model, _PENDING if query is None else query, using, hints)
            qs._number, qs._held, qs._cut = None, (), False
            if query is None:
                qs._query = None
                qs._number = root(type(qs), model)

        return init

    def subquery(self) -> Callable[..., None]:
        """`__init__` of an `Exists`, which keeps what its queryset noted."""
        real, build = Exists.__init__, self._plans.built

        def init(subquery: Any, queryset: Any, *positional: Any, **named: Any) -> None:
            if getattr(queryset, "_number", None) is None or positional or named:
                real(subquery, queryset, *positional, **named)
                return
            noted = build, queryset._number, queryset._held
            BaseExpression.__init__(subquery)
            subquery.__dict__.update({"extra": {}, NOTED: noted})

        return init

    def query(self) -> property:
        """The real query, from now on the queryset's own."""
        real, plans = self._real_query, self._plans

        def get(qs: Any) -> Any:
            if qs._number is not None:
                number, qs._number = qs._number, None
                qs._query = plans.built(number, qs._held).query
            return real.fget(qs)

        def put(qs: Any, query: Any) -> None:
            qs._number = None
            real.fset(qs, query)

        return property(get, put)

    # --- noting -----------------------------------------------------------------------------------

    def _next(self, qs: Any, number: int, values: tuple[Any, ...]) -> Any:
        made = object.__new__(type(qs))
        made.__dict__ = {
            **qs.__dict__,
            "_number": number,
            "_held": values,
            "_result_cache": None,
            "_prefetch_done": False,
            "_defer_next_filter": False,
        }
        return made

    def _noted(self, qs: Any, method: str, *positional: Any, **named: Any) -> Any:
        if qs._cut:
            raise Shapeless
        return self._next(qs, self._steps.noted(qs._number, method, *positional, **named), qs._held)

    def clone(self, qs: Any) -> Any:
        if qs._sticky_filter:
            raise Shapeless
        return self._next(qs, qs._number, qs._held)

    def not_support_combined_queries(self, qs: Any, _: str) -> None:
        """What is noted is not combined."""

    def filter_or_exclude(self, qs: Any, negate: bool, args: Any, kwargs: Any) -> Any:
        if qs._cut or qs._sticky_filter:
            raise Shapeless
        values = list(qs._held)
        method = "exclude" if negate else "filter"
        number = self._steps.filtered(qs._number, method, args, kwargs, values)
        qs._defer_next_filter = False
        return self._next(qs, number, tuple(values))

    def order_by(self, qs: Any, *names: Any) -> Any:
        return self._noted(qs, "order_by", *_texts(names))

    def select_related(self, qs: Any, *names: Any) -> Any:
        if qs._fields is not None or not names:
            raise Shapeless
        return self._noted(qs, "select_related", *_texts(names))

    def only(self, qs: Any, *names: Any) -> Any:
        if qs._fields is not None:
            raise Shapeless
        return self._noted(qs, "only", *_texts(names))

    def select_for_update(self, qs: Any, **how: Any) -> Any:
        made = self._noted(qs, "select_for_update", **how)
        made._for_write = True
        return made

    def annotate(self, qs: Any, *args: Any, **kwargs: Any) -> Any:
        into: list[Any] = []
        if qs._cut or args or qs._fields is not None:
            raise Shapeless
        number = self._steps.filtered(qs._number, "annotate", (), kwargs, into)
        if into:
            raise Shapeless
        return self._next(qs, number, qs._held)

    def values_list(self, qs: Any, *names: Any, flat: bool = False, named: bool = False) -> Any:
        if named or not names or (flat and len(names) > 1):
            raise Shapeless
        made = self._noted(qs, "values_list", *_texts(names), flat=flat)
        made._fields = names
        made._iterable_class = FlatValuesListIterable if flat else ValuesListIterable
        return made

    def getitem(self, qs: Any, key: Any) -> Any:
        whole = isinstance(key, slice) and key.start is None and key.step is None
        if not whole or qs._result_cache is not None or type(key.stop) is not int or key.stop < 0:
            raise Shapeless
        made = self._noted(qs, CUT, key.stop)
        made._cut = True
        return made

    # --- going to the database --------------------------------------------------------------------

    def _plan(self, qs: Any, method: str) -> Plan:
        if qs._result_cache is not None:
            raise Shapeless
        plan = self._plans.of(self._steps.noted(qs._number, method), qs._held)
        if plan is None:
            raise Shapeless
        return plan

    def fetch_all(self, qs: Any) -> None:
        if qs._result_cache is None:
            known = qs._known_related_objects and qs._iterable_class is ModelIterable
            if known or qs._iterable_class not in MAKERS:
                raise Shapeless
            qs._result_cache = self._plan(qs, "_fetch_all").fetch(qs._held)
        self._real["_fetch_all"](qs)

    def count(self, qs: Any) -> int:
        if qs._cut or qs._iterable_class is not ModelIterable:
            raise Shapeless
        return self._plan(qs, "count").count(qs._held)

    def distinct(self, qs: Any, *names: Any) -> Any:
        return self._noted(qs, "distinct", *_texts(names))

    def exists(self, qs: Any) -> bool:
        return self._plan(qs, "exists").is_any(qs._held)

    def get(self, qs: Any, *args: Any, **kwargs: Any) -> Any:
        if qs._cut:
            raise Shapeless
        found = list(qs.filter(*args, **kwargs).order_by()[:MOST_FOUND])
        if not found:
            raise qs.model.DoesNotExist(f"{qs.model._meta.object_name} matching query not found.")
        if len(found) > 1:
            raise qs.model.MultipleObjectsReturned(f"get() found {len(found)}.")
        return found[0]

    def update(self, qs: Any, **changes: Any) -> int:
        if qs._cut:
            raise Shapeless
        into = list(qs._held)
        number = self._steps.filtered(qs._number, "update", (), changes, into)
        plan = self._plans.of(number, tuple(into))
        if plan is None:
            raise Shapeless
        qs._for_write = True
        with transaction.mark_for_rollback_on_error(using=DEFAULT_DB_ALIAS):
            changed = plan.change(tuple(into))
        qs._result_cache = None
        return changed
