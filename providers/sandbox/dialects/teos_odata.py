"""The part of OData that TEOS's guides use: $filter, $orderby, $top, $skip, $select.

Sources: TEOS documentation, guide "Retrieve invoices"; CoreLedger's Postman
collection. Guids stand bare, strings in single quotes; names are case-sensitive.
"""

from __future__ import annotations

import operator
import re
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from providers.sandbox.world import Invoice

Test = Callable[[Invoice], bool]

_QUOTED = re.compile(r"'([^']*)'")
_IN = re.compile(r"(\w+) in \(([^()]*)\)")
_COMPARE = re.compile(r"(\w+) (eq|ne|gt|ge|lt|le) (.+)")
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
_READ: dict[str, Callable[[Invoice], Any]] = {
    "Id": lambda row: row.id,
    "Status": lambda row: row.status,
    "UniqueAssetId": lambda row: row.extra["asset"],
    "Description": lambda row: row.extra["description"],
    "CreatedOn": lambda row: row.created,
    "UpdatedOn": lambda row: row.updated,
    "DueOn": lambda row: str(row.due_on or ""),
}
_TIMES = frozenset(("CreatedOn", "UpdatedOn"))


def compiled(text: str) -> Test | None:
    """The test a $filter makes, None for an empty one; ValueError where it is not understood."""
    if not text:
        return None
    terms = [_term(part.strip()) for part in text.split(" and ")]
    return lambda row: all(term(row) for term in terms)


def _term(text: str) -> Test:
    listed = _IN.fullmatch(text)
    if listed:
        read = _reader(listed[1])
        wanted = {_literal(listed[1], part.strip()) for part in listed[2].split(",")}
        return lambda row: read(row) in wanted
    compared = _COMPARE.fullmatch(text)
    if not compared:
        raise ValueError(f"The query specified in the URI is not valid: {text}")
    read, limit = _reader(compared[1]), _literal(compared[1], compared[3])
    test = _OPERATORS[compared[2]]
    return lambda row: test(read(row), limit)


def _reader(name: str) -> Callable[[Invoice], Any]:
    if name not in _READ:
        raise ValueError(f"Could not find a property named '{name}'")
    return _READ[name]


def _literal(name: str, text: str) -> Any:
    if name == "Id":
        if not is_guid(text):
            raise ValueError(f"'{text}' is not a guid")
        return text.lower()
    if name in _TIMES:
        return _time(text)
    if not is_quoted(text):
        raise ValueError(f"'{text}' is not a quoted string")
    return text[1:-1]


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"'{text}' has no time zone")
    return moment


def is_guid(text: str) -> bool:
    """Whether it is a guid in its usual form with dashes."""
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def is_quoted(text: str) -> bool:
    """Whether it is a string in single quotes."""
    return _QUOTED.fullmatch(text) is not None


def quoted_strings(text: str) -> list[str]:
    """All strings in single quotes."""
    return _QUOTED.findall(text)


def ids_in(text: str) -> list[str]:
    """The guids a filter asks for by ``Id in (...)`` or ``Id eq ...``."""
    listed = re.search(r"\bId in \(([^()]*)\)", text) or re.search(r"\bId eq (\S+)", text)
    return [part.strip().lower() for part in listed[1].split(",")] if listed else []


def ordered(rows: list[Invoice], text: str) -> list[Invoice]:
    """Rows in the order of $orderby; ValueError for an unknown property."""
    if not text:
        return rows
    name, _, direction = text.partition(" ")
    return sorted(rows, key=_reader(name), reverse=direction == "desc")


def window(query: dict[str, list[str]]) -> tuple[int, int]:
    """$skip and $top; ValueError where they are no whole numbers."""
    return int(query.get("$skip", ["0"])[0]), int(query.get("$top", ["1000000"])[0])


def selection(query: dict[str, list[str]]) -> list[str]:
    """The properties of $select, empty for all."""
    return [name for name in query.get("$select", [""])[0].split(",") if name]
