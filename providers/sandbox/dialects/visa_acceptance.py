"""Visa Acceptance (CyberSource) Invoicing v2, as its public guide describes it.

Sources: Visa Acceptance, "Cancel an Invoice"; CyberSource Invoicing developer
guide ("Get Invoice Details", "Get a List of Invoices"); the invoicing part of
cybersource-rest-spec.json.
"""

from __future__ import annotations

import base64
import time
from typing import Any

from providers.sandbox.dialects.base import Call, Dialect, decimal_text, page, route
from providers.sandbox.dialects.visa_signatures import (
    Key,
    Signed,
    http_signature_fault,
    jwt_fault,
    key_id_of,
)
from providers.sandbox.wire import Response, json_response
from providers.sandbox.world import Account, Invoice, utc_now

ERRORS = {
    400: ("BADREQUEST", "VALIDATION_ERRORS", "Field validation errors."),
    403: ("FORBIDDEN", "FORBIDDEN", "Access is denied."),
    404: ("NOTFOUND", "NOT_FOUND", "Invoice does not exist."),
    405: ("METHODNOTALLOWED", "METHOD_NOT_ALLOWED", "Method is not allowed."),
    409: ("BADREQUEST", "DUPLICATE_RECORD", "The record exists."),
    429: ("TOOMANYREQUESTS", "TOO_MANY_REQUESTS", "Too many requests."),
    502: ("SERVER_ERROR", "SYSTEM_ERROR", "A system error occurred."),
}
LISTABLE = ("DRAFT", "CREATED", "SENT", "PARTIAL", "PAID", "CANCELED", "PENDING")
CANCELLABLE = ("DRAFT", "CREATED", "SENT")
"""Guide, invoice statuses: an unpaid invoice can be cancelled, a draft as well."""

ID = r"/invoicing/v2/invoices/(?P<id>[^/]+)"


class VisaAcceptance(Dialect):
    """The invoice operations; every request is signed."""

    code = "visa_acceptance"
    prefix = "/visa_acceptance"
    base_path = "/visa_acceptance"
    accounts = {
        "visa-harbour": {
            "merchant_id": "sandbox_harbour_mid",
            "key_id": "5a4db0c5-0000-4000-8000-00000000c0de",
            "shared_secret": base64.b64encode(b"a made-up secret of the sandbox!").decode(),
        },
    }
    id_kind = "number"
    words = {
        "open": "SENT",
        "created": "CREATED",
        "draft": "DRAFT",
        "payment_pending": "PENDING",
        "partially_paid": "PARTIAL",
        "paid": "PAID",
        "cancelled": "CANCELED",
    }
    open_share = ("open", "open", "open", "created")
    closed_share = ("paid", "cancelled", "partially_paid", "draft", "payment_pending")

    # -- authentication -----------------------------------------------------------

    def account_of(self, call: Call) -> Account | None:
        """By the key id that a JWT or an HTTP Signature names."""
        key_id = key_id_of(dict(call.request.headers))
        return self.world.with_credential(self.code, "key_id", key_id) if key_id else None

    def authenticate(self, call: Call) -> Response | None:
        """401 in a shape of its own, whatever is wrong."""
        good = call.account is not None and self._signature_fault(call) is None
        return None if good else self._unauthorized()

    def _signature_fault(self, call: Call) -> str | None:
        request, key = call.request, Key(**call.owner.credentials)
        headers = dict(request.headers)
        signed = Signed(request.method, request.target, headers.get("host", ""), request.body)
        now, skew = time.time(), self.switches.visa_skew
        if "signature" in headers:
            return http_signature_fault(headers, signed, key, now, skew)
        token = headers.get("authorization", "").partition(" ")[2]
        return jwt_fault(token, signed, key, now, skew)

    @staticmethod
    def _unauthorized() -> Response:
        return json_response(401, {"response": {"rmsg": "Authentication Failed"}})

    # -- operations ---------------------------------------------------------------

    @route("POST", ID + "/cancelation", "cancel")
    def cancel(self, call: Call) -> Response:
        """Cancel an invoice: 200 with the whole invoice, status CANCELED."""
        if not self.switches.visa_invoicing_enabled:
            return self._not_enabled()
        invoice = call.owner.invoices.get(call.params["id"])
        if invoice is None:
            return self.problem(call, 404)
        pending = invoice.status == "PENDING" and self.switches.visa_pending_cancel == 200
        if invoice.status not in CANCELLABLE and not pending:
            message = "Requested action is not allowed."
            return _error(400, "BADREQUEST", "ACTION_NOT_ALLOWED", message)
        call.cancels.append(invoice)
        return json_response(200, self._cancelled_body(invoice))

    def _cancelled_body(self, invoice: Invoice) -> dict[str, Any]:
        body = self._full(invoice)
        body["status"] = "CANCELED"
        body["_links"] = {"self": body["_links"]["self"]}
        body["invoiceHistory"].insert(0, {"event": "CANCEL", "date": _now()})
        return body

    @route("GET", ID, "fetch")
    def show(self, call: Call) -> Response:
        """Get invoice details."""
        if not self.switches.visa_invoicing_enabled:
            return self._not_enabled()
        invoice = call.owner.invoices.get(call.params["id"])
        return self.one(call, self.view(call, invoice)) if invoice else self.problem(call, 404)

    @route("GET", r"/invoicing/v2/invoices", "list")
    def index(self, call: Call) -> Response:
        """Get a list of invoices: offset and limit are required, offset counts invoices."""
        query = call.request.query
        offset, limit = query.get("offset", [""])[0], query.get("limit", [""])[0]
        if not offset.isdecimal() or not limit.isdecimal() or not 1 <= int(limit) <= 1000:
            return self.problem(call, 400)
        status = query.get("status", [None])[0]
        if status is not None and status not in LISTABLE:
            return _error(400, "BADREQUEST", "VALIDATION_ERRORS", "Invalid invoice status")
        rows = [row for row in call.owner.listed() if status in (None, row.status)]
        return self._page(call, rows, int(offset), int(limit))

    def _page(self, call: Call, rows: list[Invoice], offset: int, limit: int) -> Response:
        shown = [self._entry(self.view(call, row)) for row in page(rows, offset, limit)]
        if not shown and self.switches.visa_empty_list == 404:
            return _error(404, "NOTFOUND", "NOT_FOUND", "No invoices found.")
        links = {"self": _list_link(offset, limit)}
        if offset + limit < len(rows):
            links["next"] = _list_link(offset + limit, limit)
        body = {"submitTimeUtc": _now(), "totalInvoices": len(rows), "invoices": shown}
        return json_response(200, {"_links": links, **body})

    # -- bodies ---------------------------------------------------------------------

    def one(self, call: Call, invoice: Invoice) -> Response:
        """The invoice in full."""
        return json_response(200, self._full(invoice))

    def _entry(self, invoice: Invoice) -> dict[str, Any]:
        """A list entry: neither e-mail nor balance nor history."""
        entry: dict[str, Any] = {
            "_links": _links(invoice),
            "id": invoice.id,
            "status": invoice.status,
            "customerInformation": {"name": invoice.customer},
            "invoiceInformation": _due(invoice),
            "orderInformation": {"amountDetails": self._total(invoice)},
        }
        if self.switches.visa_list_created_date:
            entry["createdDate"] = _date(invoice)
        return entry

    def _full(self, invoice: Invoice) -> dict[str, Any]:
        return {
            "_links": _links(invoice),
            "id": invoice.id,
            "submitTimeUtc": _now(),
            "status": invoice.status,
            "customerInformation": _customer(invoice),
            "processingInformation": {"requestPhone": False, "requestShipping": False},
            "invoiceInformation": _information(invoice),
            "orderInformation": {"amountDetails": self._amounts(invoice), "lineItems": []},
            "invoiceHistory": self._history(invoice),
        }

    def _total(self, invoice: Invoice) -> dict[str, Any]:
        return {"totalAmount": self._amount(invoice, invoice.amount), "currency": invoice.currency}

    def _amounts(self, invoice: Invoice) -> dict[str, Any]:
        balance = self._amount(invoice, invoice.open_amount)
        total = self._total(invoice)
        return {**total, "balanceAmount": balance, "subAmount": total["totalAmount"]}

    def _amount(self, invoice: Invoice, amount: int) -> float | int | str:
        """The guide shows numbers, the specification text."""
        text = decimal_text(amount, invoice.exponent)
        if self.switches.visa_amounts == "string":
            return text
        return float(text) if invoice.exponent else amount

    def _history(self, invoice: Invoice) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        if invoice.cancelled:
            events.append({"event": "CANCEL", "date": _nine_digits(invoice.cancelled.isoformat())})
        if invoice.paid:
            amount = self._amount(invoice, invoice.paid)
            details = {"transactionId": "7000000000000000000001", "amount": amount}
            event = {"event": "PAYMENT", "date": _date(invoice), "transactionDetails": details}
            events.append(event)
        if invoice.status not in ("DRAFT", "CREATED"):
            events.append({"event": "SEND", "date": _date(invoice)})
        first = "DRAFT" if invoice.status == "DRAFT" else "CREATE"
        return [*events, {"event": first, "date": _date(invoice)}]

    def problem(self, call: Call, status: int) -> Response:
        """The invoicing error object; 401 has another shape."""
        if status == 401:
            return self._unauthorized()
        default = ("BADREQUEST", "VALIDATION_ERRORS", "The request is not valid.")
        default = ERRORS[502] if status >= 500 else default
        return _error(status, *ERRORS.get(status, default))

    @staticmethod
    def _not_enabled() -> Response:
        return _error(400, "BADREQUEST", "VALIDATION_ERRORS", "Invoicing service is not enabled.")

    def finish(self, call: Call, response: Response) -> None:
        """Every answer names its correlation id."""
        response.headers["v-c-correlation-id"] = call.trace

    def number_for(self, account: Account, external_id: str, suggested: str) -> str | None:
        """The guide's invoice number is the id."""
        return external_id


def _error(status: int, word: str, reason: str, message: str) -> Response:
    body = {"submitTimeUtc": _now(), "status": word, "reason": reason, "message": message}
    return json_response(status, {**body, "details": []})


def _links(invoice: Invoice) -> dict[str, Any]:
    """Links lack the /invoicing of the real path, as in the published samples."""
    base = f"/v2/invoices/{invoice.id}"
    links = {"self": {"href": base, "method": "GET"}}
    if invoice.status != "CANCELED":
        links["update"] = {"href": base, "method": "PUT"}
        links["deliver"] = {"href": base + "/delivery", "method": "POST"}
        links["cancel"] = {"href": base + "/cancelation", "method": "POST"}
    return links


def _list_link(offset: int, limit: int) -> dict[str, str]:
    return {"href": f"/v2/invoices?offset={offset}&limit={limit}", "method": "GET"}


def _due(invoice: Invoice) -> dict[str, Any]:
    return {"dueDate": invoice.due_on.isoformat()} if invoice.due_on else {}


def _information(invoice: Invoice) -> dict[str, Any]:
    return {
        "invoiceNumber": invoice.number,
        "description": "Services",
        **_due(invoice),
        "allowPartialPayments": invoice.status == "PARTIAL",
        "paymentLink": f"https://pay.sandbox.example/{invoice.id}",
        "deliveryMode": "None" if invoice.status == "CREATED" else "Email",
    }


def _customer(invoice: Invoice) -> dict[str, Any]:
    customer: dict[str, Any] = {"name": invoice.customer, "merchantCustomerId": "C-118"}
    return {**customer, "email": invoice.email} if invoice.email else customer


def _date(invoice: Invoice) -> str:
    return _nine_digits(invoice.created.isoformat())


def _now() -> str:
    return _nine_digits(utc_now().isoformat())


def _nine_digits(text: str) -> str:
    """submitTimeUtc and history dates come with up to nine fractional digits."""
    stem = text.replace("+00:00", "")
    return f"{stem}558Z" if "." in stem else f"{stem}Z"
