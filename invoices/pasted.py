"""Lists of numbers and provider ids that somebody pastes: read, matched, and kept for a week."""

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, Min, QuerySet
from django.db.models.functions import Now

from invoices import access, bulk
from invoices.models import HistoryEvent, Invoice, PastedEntry, PastedList
from invoices.search import named

MOST_ENTRIES = 10_000
MOST_BYTES = 1_000_000
MATCHED_AT_ONCE = 1_000
LIFE = timedelta(days=7)
LONGEST_ENTRY = 150

_SEPARATORS = re.compile(r"[\n\r,;\t\v\f\u2028\u2029\x85]+")
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class ListRefused(Exception):
    """Nothing can be made of the list; the message says why."""


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """One entry that several invoices are called."""

    entry: str
    invoices: tuple[Invoice, ...]


def text_of(uploaded: bytes) -> str:
    """A text file as it is most likely meant: UTF-8, what its mark says, or else Windows' own."""
    for mark, encoding in _MARKS.items():
        if uploaded.startswith(mark):
            return uploaded.decode(encoding, "replace")
    try:
        return uploaded.decode()
    except UnicodeDecodeError:
        return uploaded.decode("cp1252", "replace")


def entries_of(text: str) -> list[str]:
    """What stands between line ends, commas, semicolons and tabs, without quotes around it.

    Raises `ListRefused` for a list that is empty or too long.
    """
    if len(text.encode("utf-8", "replace")) > MOST_BYTES:
        raise ListRefused("The list is larger than 1 MB.")
    pieces = (_bare(piece) for piece in _SEPARATORS.split(text.replace("\0", "")))
    entries = [piece for piece in pieces if piece]
    if not entries:
        raise ListRefused("There is no number in this list.")
    if len(entries) > MOST_ENTRIES:
        raise ListRefused(
            f"The list has {len(entries):,} entries. At most {MOST_ENTRIES:,} are matched at once."
        )
    return entries


def paste(user: User, visible: QuerySet[Invoice], text: str) -> PastedList:
    """Match a list with the invoices that the person may see, and keep what came of it.

    Raises `PermissionDenied` or `ListRefused`.
    """
    if not (user.is_active and user.has_perm("invoices.view_invoice")):
        raise PermissionDenied("This needs a permission that you do not have.")
    entries = entries_of(text)
    distinct = {_key(entry): entry for entry in reversed(entries)}
    visible = access.narrow(user, visible)
    matches = list(_matches(visible, list(distinct.values())))
    known = {_key(entry) for entry, _ in matches}
    unmatched = [entry for entry in reversed(distinct.values()) if _key(entry) not in known]
    with transaction.atomic():
        pasted = PastedList.objects.create(
            owner=user,
            entries=len(distinct),
            repeated=len(entries) - len(distinct),
            unmatched=[entry[:LONGEST_ENTRY] for entry in unmatched],
        )
        rows = ((pasted.pk, pk, entry) for entry, pk in matches)
        bulk.write(PastedEntry, ("pasted_id", "invoice_id", "entry"), rows)
        HistoryEvent.objects.create(
            kind=HistoryEvent.Kind.LIST_PASTED,
            actor=user,
            detail=f"{len(distinct):,} entries, {len(unmatched):,} of them unmatched",
        )
    return pasted


def kept_for(user: User) -> QuerySet[PastedList]:
    """The lists that a person pasted lately; nobody sees those of others."""
    return PastedList.objects.filter(owner=user, created_at__gte=Now() - LIFE)


def unmatched(pasted: PastedList, user: User) -> list[str]:
    """What no invoice that this person sees is called: perhaps less is theirs than at that time."""
    if not access.is_limited(user):
        return pasted.unmatched
    rows = pasted.rows.order_by("pk")
    theirs = set(access.narrow(user, rows).values_list("entry", flat=True))
    found = dict.fromkeys(rows.values_list("entry", flat=True))
    return [*pasted.unmatched, *(entry for entry in found if entry not in theirs)]


def ambiguous(pasted: PastedList, user: User, most: int) -> tuple[int, list[Ambiguous]]:
    """How many entries more than one invoice is called, and the first of them with these."""
    theirs = access.narrow(user, pasted.rows.all())
    several = (
        theirs.values("entry").annotate(several=Count("pk"), first=Min("pk")).filter(several__gt=1)
    )
    entries = list(several.order_by("first").values_list("entry", flat=True)[:most])
    by_entry: dict[str, list[Invoice]] = {entry: [] for entry in entries}
    rows = theirs.filter(entry__in=entries).select_related("invoice__account").order_by("pk")
    for row in rows:
        by_entry[row.entry].append(row.invoice)
    return several.count(), [Ambiguous(entry, tuple(found)) for entry, found in by_entry.items()]


def forget_old() -> int:
    """Delete the lists that nobody can see any more; returns how many."""
    old = PastedList.objects.filter(created_at__lt=Now() - LIFE)
    count = old.count()
    if count:
        old.delete()
    return count


def _matches(visible: QuerySet[Any], entries: Sequence[str]) -> Iterator[tuple[str, int]]:
    """(entry, invoice id), by one query for each thousand entries."""
    fitting = [entry for entry in entries if len(entry) <= LONGEST_ENTRY]
    for start in range(0, len(fitting), MATCHED_AT_ONCE):
        asked = {_key(entry): entry for entry in fitting[start : start + MATCHED_AT_ONCE]}
        rows = named(visible, asked.values()).order_by("pk")
        for pk, number, external_id in rows.values_list("pk", "number", "external_id"):
            for key in {_key(number), _key(external_id)} & asked.keys():
                yield asked[key], pk


def _bare(piece: str) -> str:
    """Without the quotes of a CSV file and the characters that nobody sees."""
    plain = " ".join(piece.split()).strip("\ufeff\u200b\u200e\u200f\u202a\u202c ")
    if len(plain) > 1 and plain[0] == plain[-1] and plain[0] in "\"'":
        return plain[1:-1].strip()
    return plain


def _key(text: str) -> str:
    return text.casefold()
