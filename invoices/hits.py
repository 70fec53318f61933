"""Why a search found an invoice: what to mark, and what to add where its row does not show it.

Marks are made on the text as it is, although the search compares folded text: "MULLER" is marked
in "Müller & Söhne".
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import groupby

from invoices.models import Invoice
from invoices.search import Found, amounts_meant, fold, is_short

SHOWN = 60
"""Of a long name, about so many characters are to be seen in its row."""

CONTEXT = 24

Pieces = tuple[tuple[str, bool], ...]
"""A text cut into (part, whether it was looked for)."""


@dataclass(frozen=True, slots=True)
class Reason:
    """`label` is one of: customer, e-mail, provider id, correlation id, batch."""

    label: str
    pieces: Pieces


@dataclass(frozen=True, slots=True)
class Hits:
    """How one row is to be shown after a search."""

    name: Pieces
    customer: Pieces
    amount: bool
    reasons: tuple[Reason, ...]


def hits(found: Found | None, invoice: Invoice, batches: Collection[int] = ()) -> Hits:
    """The row of an invoice; `batches` are those of the search that it belongs to."""
    words = found.words if found else ()
    customer = invoice.customer_name or invoice.customer_email
    return Hits(
        name=marked(str(invoice), words),
        customer=marked(customer, words),
        amount=any(_is_amount(word, invoice) for word in words),
        reasons=tuple(_reasons(found, invoice, batches)) if found else (),
    )


def marked(text: str, words: Collection[str]) -> Pieces:
    """The text with each place marked where one of the folded words stands."""
    meant = {at for word in words for start, end in _places(text, word) for at in range(start, end)}
    parts = groupby(range(len(text)), key=meant.__contains__)
    return tuple(("".join(text[at] for at in part), is_hit) for is_hit, part in parts)


def _reasons(found: Found, invoice: Invoice, batches: Collection[int]) -> Iterator[Reason]:
    if found.whole == "call":
        yield Reason("correlation id", ((found.text, True),))
    for batch in batches:
        yield Reason("batch", ((str(batch), True),))
    unseen = [word for word in found.words if not _is_seen(word, invoice)]
    for label, text in _hidden(invoice):
        here = [word for word in unseen if any(_places(text, word))]
        if here:
            yield Reason(label, _around(marked(text, here)))
            unseen = [word for word in unseen if word not in here]


def _is_seen(word: str, invoice: Invoice) -> bool:
    customer = (invoice.customer_name or invoice.customer_email)[:SHOWN]
    return (
        any(_places(str(invoice), word))
        or any(_places(customer, word))
        or _is_amount(word, invoice)
        or word.upper() == invoice.currency
    )


def _hidden(invoice: Invoice) -> Iterator[tuple[str, str]]:
    """What a row does not show although one can look for it."""
    yield "e-mail", invoice.customer_email
    yield "provider id", invoice.external_id
    yield "customer", invoice.customer_name


def _is_amount(word: str, invoice: Invoice) -> bool:
    return (invoice.amount_minor, invoice.exponent) in amounts_meant(word)


def _places(text: str, word: str) -> Iterator[tuple[int, int]]:
    """Where a folded word stands in a text: (start, end), as positions in the text itself."""
    folded, origins = _folded(text)
    at = folded.find(word)
    while at >= 0:
        if not is_short(word) or at == 0 or folded[at - 1] == " ":
            yield origins[at], origins[at + len(word) - 1] + 1
        at = folded.find(word, at + 1)


def _folded(text: str) -> tuple[str, list[int]]:
    """The text as it is searched, and for each of its characters where that comes from."""
    if text.isascii():
        return text.lower(), list(range(len(text)))
    folded = [(" " if char.isspace() else fold(char), at) for at, char in enumerate(text)]
    return "".join(piece for piece, _ in folded), [at for piece, at in folded for _ in piece]


def _around(pieces: Pieces) -> Pieces:
    """Long texts cut down to what surrounds the marks."""
    last = len(pieces) - 1
    return tuple(
        (text, True) if is_hit else (_ends(text, head=at > 0, tail=at < last), False)
        for at, (text, is_hit) in enumerate(pieces)
    )


def _ends(text: str, *, head: bool, tail: bool) -> str:
    if len(text) <= 2 * CONTEXT:
        return text
    return f"{text[:CONTEXT] if head else ''}…{text[-CONTEXT:] if tail else ''}"
