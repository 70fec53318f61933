"""Monite's receivable, its history, and the filters of a list.

Source: the OpenAPI schema in team-monite/monite-sdk (InvoiceResponsePayload,
get_receivables) and the document history guide.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from providers.sandbox.world import Account, Invoice, utc_now

NO_MORE_PAGES = {"next_pagination_token": None, "prev_pagination_token": None}
SORTS: dict[str, Callable[[Invoice], Any]] = {
    "counterpart_name": lambda row: row.customer,
    "counterpart_id": lambda row: row.extra["counterpart_id"],
    "amount": lambda row: row.amount,
    "total_amount": lambda row: row.amount,
    "status": lambda row: row.status,
    "due_date": lambda row: str(row.due_on or ""),
    "issue_date": lambda row: str(row.issued_on or ""),
    "document_id": lambda row: row.number or "",
    "created_at": lambda row: row.created,
}
FIELDS: dict[str, Callable[[Invoice], Any]] = {
    **SORTS,
    "type": lambda row: row.extra["type"],
    "id": lambda row: row.id,
    "created_at": lambda row: row.created.isoformat(),
    "total_amount": lambda row: row.amount,
}
IGNORED = frozenset(("limit", "pagination_token", "order", "sort"))


def receivable(invoice: Invoice) -> dict[str, Any]:
    """InvoiceResponsePayload, or what a quote or credit note shares with it."""
    credited = sum(note["amount"] for note in invoice.extra["credit_notes"])
    due = max(0, invoice.open_amount - credited)
    return {
        "type": invoice.extra["type"],
        "id": invoice.id,
        "document_id": invoice.number,
        "status": invoice.status,
        "currency": invoice.currency,
        "total_amount": invoice.amount,
        "total_amount_with_credit_notes": max(0, invoice.amount - credited),
        "total_vat_amount": 0,
        "amount_due": due,
        "amount_paid": invoice.paid,
        "amount_to_pay": due,
        **_dates(invoice),
        "counterpart_id": invoice.extra["counterpart_id"],
        "counterpart_type": "organization",
        "counterpart_name": invoice.customer,
        "counterpart_contact": _contact(invoice),
        "entity_user_id": None,
        "recurrence_id": None,
        "related_documents": {"credit_note_ids": [n["id"] for n in invoice.extra["credit_notes"]]},
        "line_items": [],
        "entity": {"type": "organization", "name": "Seller SAS"},
        "entity_address": {"country": "FR", "city": "Paris", "postal_code": "75002"},
        "file_language": "en",
        "original_file_language": "en",
    }


def _dates(invoice: Invoice) -> dict[str, Any]:
    issued = f"{invoice.issued_on}T09:15:00+00:00" if invoice.issued_on else None
    paid = invoice.updated.isoformat() if invoice.status == "paid" else None
    return {
        "issue_date": issued,
        "due_date": invoice.due_on.isoformat() if invoice.due_on else None,
        "paid_at": paid,
        "created_at": invoice.created.isoformat(),
        "updated_at": invoice.updated.isoformat(),
    }


def _contact(invoice: Invoice) -> dict[str, Any] | None:
    """Optional: absent where nobody is known to write to."""
    if invoice.email is None:
        return None
    address = {"country": "DE", "city": "Kiel", "postal_code": "24103", "line1": "Kai 1"}
    return {"first_name": "Ida", "last_name": "Berg", "email": invoice.email, "address": address}


def record_status_change(invoice: Invoice, before: str) -> None:
    """Adds to the history kept since 2024-09-30."""
    event = {
        "event_type": "status_changed",
        "event_data": {"old_status": before, "new_status": invoice.status},
        "entity_user_id": None,
        "timestamp": utc_now().isoformat(),
    }
    invoice.extra["history"] = [*invoice.extra.get("history", []), event]


def history(invoice: Invoice) -> list[dict[str, Any]]:
    """The status changes, oldest first."""
    rows: list[dict[str, Any]] = invoice.extra.get("history", [])
    return rows


def select(account: Account, query: dict[str, list[str]]) -> list[Invoice]:
    """The receivables a list's filters find, in the order asked for.

    Raises ValueError for a filter that does not exist."""
    tests = [_test(name, values) for name, values in query.items() if name not in IGNORED]
    rows = [row for row in account.listed() if all(test(row) for test in tests)]
    sort = query.get("sort", [None])[0]
    ascending = query.get("order", ["asc"])[0] == "asc"
    if sort is None:
        return rows
    if sort not in SORTS:
        raise ValueError(f"sort: {sort} is not a permitted value")
    return sorted(rows, key=SORTS[sort], reverse=not ascending)


def _test(name: str, values: list[str]) -> Callable[[Invoice], bool]:
    field, _, operator = name.partition("__")
    if field not in FIELDS or operator not in _OPERATORS:
        raise ValueError(f"{name}: unknown parameter")
    read, compare = FIELDS[field], _OPERATORS[operator]
    return lambda row: compare(read(row), values)


def _number_or_text(value: Any, text: str) -> tuple[Any, Any]:
    return (value, int(text)) if isinstance(value, int) else (str(value), text)


def _ordered(test: Callable[[Any, Any], bool]) -> Callable[[Any, list[str]], bool]:
    return lambda value, texts: test(*_number_or_text(value, texts[-1]))


_OPERATORS: dict[str, Callable[[Any, list[str]], bool]] = {
    "": lambda value, texts: str(value) == texts[-1],
    "in": lambda value, texts: str(value) in texts,
    "contains": lambda value, texts: texts[-1] in str(value),
    "icontains": lambda value, texts: texts[-1].lower() in str(value).lower(),
    "gt": _ordered(lambda value, limit: value > limit),
    "lt": _ordered(lambda value, limit: value < limit),
    "gte": _ordered(lambda value, limit: value >= limit),
    "lte": _ordered(lambda value, limit: value <= limit),
}
