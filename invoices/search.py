"""The one text that an invoice is searched by, and how the search box reads what is typed.

A whole number, provider id, correlation id or "batch 12" is tried first, as an equality. Otherwise
the words are ANDed: a word is looked for anywhere, one of fewer than three letters or digits only
at the start of a word, and one that reads like an amount also among the amounts. "#12" among other
words is a batch.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Q, QuerySet
from django.db.models.expressions import RawSQL
from django.db.models.functions import Upper

from providers.money import LARGEST

MOST_CHARACTERS = 100
MOST_WORDS = 5
MANY_HITS = 10_000
"""Above so many hits a scan along the date index finds the first page sooner."""

EXPONENTS = range(9)
"""Decimal places that a currency or an asset may have."""

_AMOUNT = re.compile(r"\d{1,15}|(?:\d{1,3}(?:[,.']\d{3})+|\d{1,15})(?:[.,]\d{1,8})?")
_BATCH = re.compile(r"(?<!\S)(?:batch #?|#)([0-9]{1,18})(?!\S)")
_ASCII_UPPER = {ord(char): ord(char.upper()) for char in "abcdefghijklmnopqrstuvwxyz"}
_MATCH = "SELECT rowid FROM invoices_search WHERE invoices_search MATCH %s"


@dataclass(frozen=True, slots=True)
class Found:
    """What a search came to.

    `whole`: something is exactly this, and what only contains it is left out: `named` for a number
    or provider id, `call` for a correlation id, `batch`. `words` and `batches` are what was looked
    for. `problem`: `too_long`, `too_many_words` or `nothing_to_look_for`; nothing is found then, so
    that a misread search never widens a selection, and `cut` is as much as can be looked for.
    """

    invoices: QuerySet[Any]
    whole: str = ""
    problem: str = ""
    text: str = ""
    words: tuple[str, ...] = ()
    batches: tuple[int, ...] = ()
    cut: str = ""


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
    words, numbers = _understood(text, partly=partly)
    problem = _problem(text, words, numbers)
    if problem:
        cut = " ".join(text[:MOST_CHARACTERS].split()[:MOST_WORDS])
        return Found(invoices.none(), problem=problem, text=text, cut=cut)
    if not partly:
        exactly = _exactly(invoices, text, words, numbers)
        if exactly is not None:
            return exactly
    for condition in (*_conditions(words), *(Q(attempts__batch=number) for number in numbers)):
        invoices = invoices.filter(condition)
    return Found(invoices, text=text, words=words, batches=numbers)


def named(invoices: QuerySet[Any], texts: Iterable[str]) -> QuerySet[Any]:
    """Those whose number or provider id is one of these, in capitals or not."""
    spellings = {spelling for text in texts for spelling in _spellings(text)}
    invoices = invoices.alias(upper_number=Upper("number"), upper_id=Upper("external_id"))
    return invoices.filter(Q(upper_number__in=spellings) | Q(upper_id__in=spellings))


def amounts_meant(word: str) -> set[tuple[int, int]]:
    """What a word means as an amount: (minor units, decimal places), whatever the currency's."""
    if not _AMOUNT.fullmatch(word):
        return set()
    return {
        (minor, exponent)
        for whole, fraction in _readings(word)
        for exponent in EXPONENTS
        if len(fraction) <= exponent
        and (minor := int(whole + fraction.ljust(exponent, "0"))) <= LARGEST
    }


def is_short(word: str) -> bool:
    """Whether a word is looked for only where a word begins."""
    return sum(map(str.isalnum, word)) < 3


def _understood(text: str, *, partly: bool) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The words to look for, and the numbers of batches among them."""
    folded = fold(text)
    numbers = () if partly else tuple(int(number) for number in _BATCH.findall(folded))
    rest = folded if partly else _BATCH.sub(" ", folded)
    return tuple(word for word in rest.split() if word.strip("%_*")), numbers


def _problem(text: str, words: tuple[str, ...], numbers: tuple[int, ...]) -> str:
    if len(text) > MOST_CHARACTERS:
        return "too_long"
    if len(words) + len(numbers) > MOST_WORDS:
        return "too_many_words"
    return "" if words or numbers else "nothing_to_look_for"


def _exactly(
    invoices: QuerySet[Any], text: str, words: tuple[str, ...], numbers: tuple[int, ...]
) -> Found | None:
    """Those with just this number or id, of this batch, or that a call with this id was about."""
    rows = named(invoices, [text])
    if rows.exists():
        return Found(rows, "named", text=text, words=(fold(text),))
    if len(numbers) == 1 and not words:
        rows = invoices.filter(attempts__batch=numbers[0])
        return Found(rows, "batch", text=text, batches=numbers) if rows.exists() else None
    # Only a handful of invoices belongs to one call, so their ids are fetched.
    ids = set(_subjects(invoices.model._default_manager.all(), text))
    rows = invoices.filter(pk__in=ids)
    return Found(rows, "call", text=text) if ids and rows.exists() else None


def _spellings(text: str) -> set[str]:
    """As databases write it in capitals: some know those of a to z only."""
    return {text.upper(), text.translate(_ASCII_UPPER), text.lower().translate(_ASCII_UPPER)}


def _subjects(invoices: QuerySet[Any], text: str) -> Iterator[int]:
    answered = invoices.filter(call_subjects__request__response__correlation_id=text)
    yield from answered.values_list("pk", flat=True)[:MANY_HITS]
    try:
        request_id = UUID(text)
    except ValueError:
        return
    yield from invoices.filter(call_subjects__request=request_id).values_list("pk", flat=True)


def _conditions(words: tuple[str, ...]) -> Iterator[Q]:
    amounts = {word: meant for word in words if (meant := amounts_meant(word))}
    for word in words:
        condition = _text(word)
        for minor, exponent in sorted(amounts.get(word, ())):
            condition |= Q(amount_minor=minor, exponent=exponent)
        if amounts and len(word) == 3 and word.isalpha():
            condition |= Q(currency=word.upper())
        yield condition


def _text(word: str) -> Q:
    if is_short(word):
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


def _readings(word: str) -> Iterator[tuple[str, str]]:
    """As (units, places): "1,234" may mean 1234 or 1.234, "1.234,56" only one thing."""
    units, separator, places = re.fullmatch(r"(.*?)(?:([.,])(\d*))?", word).groups("")  # type: ignore[union-attr]
    plain = re.sub(r"\D", "", units)
    if separator:
        yield plain, places.rstrip("0")
    if not separator or len(places) == 3:
        yield plain + places, ""
