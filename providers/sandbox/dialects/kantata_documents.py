"""Kantata's invoice object, what is side-loaded with it, and the filters of a list.

Source: the Swagger document at app.mavenlink.com/oas/specification (definition
Invoice, "Get Invoices").
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from providers.sandbox.world import Invoice

PAID, NEW, CANCELLED = "accepted payment", "new", "cancelled"
SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥", "KWD": "KD"}

Tables = dict[str, dict[str, Any]]


def facts(invoice: Invoice, balance: int) -> dict[str, Any]:
    """The invoice without its associations. No total, no amount paid, no customer."""
    draft = bool(invoice.extra.get("draft"))
    number = int(invoice.number or 0)
    return {
        "id": invoice.id,
        "user_invoice_number": number,
        "user_invoice_title": None,
        "title": f"{'Draft Invoice' if draft else 'Invoice'} #{number}",
        "status": invoice.status,
        "draft": draft,
        "balance_in_cents": balance,
        "currency": invoice.currency,
        "currency_symbol": SYMBOLS.get(invoice.currency, invoice.currency),
        "currency_base_unit": 10**invoice.exponent,
        "tax_rate": 0.0,
        "invoice_date": _day(invoice.issued_on),
        "due_date": _day(invoice.due_on),
        "payment_schedule": _terms(invoice),
        "message": "",
        "purchase_order": "PO-9",
        "project_code": "ACM-7",
        "created_at": _stamp(invoice.created),
        "updated_at": _stamp(invoice.updated),
    }


def recipient(invoice: Invoice, tables: Tables) -> str | None:
    """The client lead as a side-loaded user; None where there is none."""
    users = tables.setdefault("users", {})
    if invoice.extra.get("no_recipient"):
        return None
    identity = f"88{invoice.id}"
    users[identity] = {
        "id": identity,
        "full_name": invoice.customer,
        "email_address": invoice.email,
    }
    return identity


def workspace(invoice: Invoice, tables: Tables) -> str:
    """The project, side-loaded."""
    title: str = invoice.extra["workspace"]
    identity = "50" + title.rpartition(" ")[2]
    tables.setdefault("workspaces", {})[identity] = {"id": identity, "title": title}
    return identity


def passes(row: Invoice, query: dict[str, list[str]]) -> bool:
    """Whether a row passes a list's filters; ValueError for a time that is none."""
    draft = bool(row.extra.get("draft"))
    facts = {
        "paid": row.status == PAID,
        "pending": row.status != PAID and not draft,
    }
    for name, fact in facts.items():
        wanted = query.get(name, [""])[0]
        if wanted and (wanted == "true") != fact:
            return False
    if draft and query.get("without_drafts") == ["true"]:
        return False
    numbers = [text for text in query.get("user_invoice_number", [""])[0].split(",") if text]
    if numbers and row.number not in numbers:
        return False
    return _in_time(row, query)


def _in_time(row: Invoice, query: dict[str, list[str]]) -> bool:
    for field, moment in (("created", row.created), ("updated", row.updated)):
        after, before = query.get(f"{field}_after"), query.get(f"{field}_before")
        if after and moment < _moment(after[0]):
            return False
        if before and moment > _moment(before[0]):
            return False
    return True


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment


def order_key(row: Invoice, name: str) -> tuple[Any, int]:
    """What a list ordered by ``name`` sorts by."""
    values = {
        "created_at": row.created,
        "id": int(row.id),
        "invoice_date": row.issued_on,
        "updated_at": row.updated,
    }
    return values[name], int(row.id)


def _day(day: date | None) -> str | None:
    return day.isoformat() if day else None


def _terms(invoice: Invoice) -> int | None:
    if invoice.due_on is None or invoice.issued_on is None:
        return None
    return (invoice.due_on - invoice.issued_on).days


def _stamp(moment: datetime) -> str:
    return moment.replace(microsecond=0).isoformat()
