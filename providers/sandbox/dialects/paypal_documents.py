"""PayPal's invoice object, its notification object and its search rules.

Source: the OpenAPI file invoicing_v2.json of paypal-rest-api-specifications
(schemas invoice, notification, search_data).
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from providers.sandbox.dialects.base import decimal_text
from providers.sandbox.world import Invoice

LINKS = "https://api.sandbox.paypal.com/v2/invoicing/invoices/"
"""Where real answers' links point; not the host the API is called at."""


def summary(invoice: Invoice) -> dict[str, Any]:
    """An invoice as lists show it: no line items, no breakdown."""
    body = {
        "id": invoice.id,
        "status": invoice.status,
        "detail": _detail(invoice),
        "invoicer": {},
        "primary_recipients": [{"billing_info": _billing(invoice)}],
        "amount": money(invoice, invoice.amount),
        "due_amount": money(invoice, invoice.open_amount),
        "links": [{"href": LINKS + invoice.id, "rel": "self", "method": "GET"}],
    }
    if invoice.paid:
        body["payments"] = {"paid_amount": money(invoice, invoice.paid)}
    return body


def full(invoice: Invoice) -> dict[str, Any]:
    """An invoice as "Show invoice details" shows it."""
    body = summary(invoice)
    total = money(invoice, invoice.amount)
    body["items"] = [{"name": "Services", "quantity": "1", "unit_amount": total}]
    body["amount"] = {**total, "breakdown": {"item_total": total}}
    return body


def money(invoice: Invoice, amount: int) -> dict[str, str]:
    """An amount: text, with as many decimals as the currency has."""
    text = decimal_text(amount, invoice.exponent)
    return {"currency_code": invoice.currency, "value": text}


def _detail(invoice: Invoice) -> dict[str, Any]:
    detail: dict[str, Any] = {
        "invoice_number": invoice.number,
        "currency_code": invoice.currency,
        "payment_term": {"term_type": "DUE_ON_RECEIPT"},
        "viewed_by_recipient": False,
        "archived": False,
        "metadata": _metadata(invoice),
    }
    if invoice.issued_on:
        detail["invoice_date"] = invoice.issued_on.isoformat()
    if invoice.due_on:
        due = invoice.due_on.isoformat()
        detail["payment_term"] = {"term_type": "DUE_ON_DATE_SPECIFIED", "due_date": due}
    return detail


def _metadata(invoice: Invoice) -> dict[str, str]:
    data = {
        "create_time": stamp(invoice.created),
        "last_update_time": stamp(invoice.updated),
        "created_by_flow": "REGULAR_SINGLE",
    }
    if invoice.status not in ("DRAFT", "SCHEDULED"):
        data["first_sent_time"] = stamp(invoice.created)
    if invoice.cancelled:
        data["cancel_time"] = stamp(invoice.cancelled)
    return data


def _billing(invoice: Invoice) -> dict[str, Any]:
    billing: dict[str, Any] = {"business_name": invoice.customer}
    if invoice.extra.get("person"):
        given, _, surname = invoice.customer.partition(" ")
        full_name = invoice.customer
        billing = {"name": {"given_name": given, "surname": surname, "full_name": full_name}}
    if invoice.email:
        billing["email_address"] = invoice.email
    return billing


def stamp(moment: datetime) -> str:
    """A time in whole seconds, UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def notification_issue(body: dict[str, Any]) -> tuple[str, str] | None:
    """What is wrong with a notification object: the property and the issue, None if nothing."""
    for name in ("subject", "note"):
        if not isinstance(body.get(name, ""), str):
            return name, "INVALID_PARAMETER_SYNTAX"
        if len(body.get(name, "")) > 4000:
            return name, "INVALID_STRING_MAX_LENGTH"
    for name in ("send_to_invoicer", "send_to_recipient"):
        if not isinstance(body.get(name, False), bool):
            return name, "INVALID_PARAMETER_SYNTAX"
    return _recipients_issue(body.get("additional_recipients", []))


def _recipients_issue(recipients: object) -> tuple[str, str] | None:
    name = "additional_recipients"
    if not isinstance(recipients, list) or not all(isinstance(r, str) for r in recipients):
        return name, "INVALID_PARAMETER_SYNTAX"
    if len(recipients) > 100:
        return name, "INVALID_ARRAY_MAX_ITEMS"
    return None


def mails(invoice: Invoice, body: dict[str, Any]) -> list[str]:
    """Who is mailed about a cancellation: the recipient unless told not to."""
    sent = []
    if body.get("send_to_recipient", True):
        sent.append(f"recipient:{invoice.email or '-'}")
    if body.get("send_to_invoicer", False):
        sent.append("invoicer")
    if "additional_recipients" not in body:
        sent.append("all-cc")
    return sent


def found(invoice: Invoice, wanted: dict[str, Any]) -> bool:
    """Whether a search body finds an invoice: all of its properties must match."""
    texts = {
        "recipient_email": invoice.email,
        "recipient_business_name": invoice.customer,
        "invoice_number": invoice.number,
        "currency_code": invoice.currency,
    }
    for name, value in texts.items():
        if name in wanted and str(wanted[name]).lower() not in (value or "").lower():
            return False
    if wanted.get("status") and invoice.status not in wanted["status"]:
        return False
    return _dates_match(invoice, wanted) and _total_matches(invoice, wanted)


def _dates_match(invoice: Invoice, wanted: dict[str, Any]) -> bool:
    dates = {
        "invoice_date_range": _iso(invoice.issued_on),
        "due_date_range": _iso(invoice.due_on),
        "creation_date_range": stamp(invoice.created),
    }
    return all(_in_range(text, wanted[name]) for name, text in dates.items() if name in wanted)


def _in_range(text: str, limits: dict[str, str]) -> bool:
    return bool(text) and limits.get("start", "") <= text <= limits.get("end", "9999")


def _iso(day: date | None) -> str:
    return day.isoformat() if day else ""


def _total_matches(invoice: Invoice, wanted: dict[str, Any]) -> bool:
    limits = wanted.get("total_amount_range")
    if not isinstance(limits, dict):
        return True
    total = Decimal(decimal_text(invoice.amount, invoice.exponent))
    low = _amount(limits.get("lower_amount"), Decimal(0))
    high = _amount(limits.get("upper_amount"), Decimal("Infinity"))
    return low <= total <= high


def _amount(value: object, default: Decimal) -> Decimal:
    try:
        return Decimal(value["value"]) if isinstance(value, dict) else default
    except (KeyError, InvalidOperation):
        return default
