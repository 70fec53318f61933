"""The one text that an invoice is searched by, and how the search box reads what is typed.

A whole number, provider id or correlation id is tried first, as an equality. Otherwise the words
are ANDed: a word is looked for anywhere, one of fewer than three letters or digits only at the
start of a word, and one that reads like an amount also among the amounts.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Q, QuerySet
from django.db.models.expressions import RawSQL

MOST_CHARACTERS = 100
MOST_WORDS = 5
MANY_HITS = 10_000
"""On SQLite, above so many hits a scan along the date index finds the first page sooner."""

_EXPONENTS = range(9)
_AMOUNT = re.compile(r"\d{1,15}|(?:\d{1,3}(?:[,.']\d{3})+|\d{1,15})(?:[.,]\d{1,8})?")
_MATCH = "SELECT rowid FROM invoices_search WHERE invoices_search MATCH %s"


@dataclass(frozen=True, slots=True)
class Found:
    """What a search came to.

    `whole`: something is called exactly this, and what only contains it is left out. `problem`:
    `too_long`, `too_many_words` or `nothing_to_look_for`; nothing is found then, so that a
    misread search never widens a selection.
    """

    invoices: QuerySet[Any]
    whole: bool = False
    problem: str = ""


def fold(text: str) -> str:
    """Case-folded, accents stripped, white space collapsed: "  Ünal  GmbH" -> "unal gmbh"."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(char for char in decomposed if not unicodedata.combining(char))
    return " ".join(unicodedata.normalize("NFKC", bare).split())


def searchable(*parts: str) -> str:
    """The folded parts with one leading blank, so that a word can be anchored to its start."""
    return " " + fold(" ".join(part for part in parts if part))


def find(invoices: QuerySet[Any], typed: str, *, partly: bool = False) -> Found:
    """Those of the invoices that what was typed is about; `partly` leaves out the equality."""
    text = " ".join(typed.replace("\0", " ").split())
    if not text:
        return Found(invoices)
    words = [word for word in fold(text).split() if word.strip("%_*")]
    problem = _problem(text, words)
    if problem:
        return Found(invoices.none(), problem=problem)
    whole = None if partly else _called(invoices, text)
    if whole is not None:
        return Found(whole, whole=True)
    for condition in _conditions(words):
        invoices = invoices.filter(condition)
    return Found(invoices)


def _problem(text: str, words: list[str]) -> str:
    if len(text) > MOST_CHARACTERS:
        return "too_long"
    if len(words) > MOST_WORDS:
        return "too_many_words"
    return "" if words else "nothing_to_look_for"


def _called(invoices: QuerySet[Any], text: str) -> QuerySet[Any] | None:
    """Those with exactly this number or id, or that a call with this id was about."""
    spellings = {text, text.upper()}
    named = invoices.filter(Q(number__in=spellings) | Q(external_id__in=spellings))
    if named.exists():
        return named
    # Only a handful of invoices belongs to one call, so their ids are fetched.
    ids = set(_subjects(invoices.model._default_manager.all(), text))
    about = invoices.filter(pk__in=ids)
    return about if ids and about.exists() else None


def _subjects(invoices: QuerySet[Any], text: str) -> Iterator[int]:
    answered = invoices.filter(call_subjects__request__response__correlation_id=text)
    yield from answered.values_list("pk", flat=True)[:MANY_HITS]
    try:
        request_id = UUID(text)
    except ValueError:
        return
    yield from invoices.filter(call_subjects__request=request_id).values_list("pk", flat=True)


def _conditions(words: list[str]) -> Iterator[Q]:
    amounts = {word: condition for word in words if (condition := _amount(word))}
    for word in words:
        condition = amounts.get(word, Q()) | _text(word)
        if amounts and len(word) == 3 and word.isalpha():
            condition |= Q(currency=word.upper())
        yield condition


def _text(word: str) -> Q:
    if sum(map(str.isalnum, word)) < 3:
        return Q(search_text__contains=f" {word}")
    if connection.vendor == "sqlite":
        phrase = '"' + word.replace('"', '""') + '"'
        if not _has_many_hits(phrase):
            return Q(pk__in=RawSQL(_MATCH, [phrase]))  # noqa: S611 - the word is a parameter
    return Q(search_text__contains=word)


def _has_many_hits(phrase: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM ({_MATCH} LIMIT %s)", [phrase, MANY_HITS + 1])  # noqa: S608
        return bool(cursor.fetchone()[0] > MANY_HITS)


def _amount(word: str) -> Q | None:
    """Invoices over this amount, whatever their currency's decimal places; None if it is none."""
    if not _AMOUNT.fullmatch(word):
        return None
    condition = Q()
    for whole, fraction in _readings(word):
        for exponent in _EXPONENTS:
            if len(fraction) <= exponent:
                minor = int(whole + fraction.ljust(exponent, "0"))
                if minor < 2**63:
                    condition |= Q(amount_minor=minor, exponent=exponent)
    return condition


def _readings(word: str) -> Iterator[tuple[str, str]]:
    """As (units, places): "1,234" may mean 1234 or 1.234, "1.234,56" only one thing."""
    units, separator, places = re.fullmatch(r"(.*?)(?:([.,])(\d*))?", word).groups("")  # type: ignore[union-attr]
    plain = re.sub(r"\D", "", units)
    if separator:
        yield plain, places.rstrip("0")
    if not separator or len(places) == 3:
        yield plain + places, ""
