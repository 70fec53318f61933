"""Kantata OX (Mavenlink), as its public reference describes it.

Sources: Kantata OX API reference, "Cancel an existing invoice" and the Swagger
document at app.mavenlink.com/oas/specification (tag Invoices, "Request by ID",
"Errors"); Kantata knowledge base, "Cancel an invoice".
"""

from __future__ import annotations

import random
from typing import Any

from providers.sandbox.dialects import kantata_documents as documents
from providers.sandbox.dialects.base import Call, Dialect, bearer, page, route
from providers.sandbox.dialects.kantata_documents import CANCELLED, NEW, PAID, Tables
from providers.sandbox.wire import Request, Response, json_response
from providers.sandbox.world import Account, Invoice

INCLUDES = frozenset(
    (
        "additional_items",
        "billing_milestones",
        "expenses",
        "external_references",
        "fixed_fee_items",
        "recipient",
        "time_entries",
        "user",
        "workspaces",
    )
)
ORDERS = frozenset(("created_at", "id", "invoice_date", "updated_at"))

Rows = list[Invoice]


class Kantata(Dialect):
    """The invoice operations; ``.json`` at the end of a path is optional."""

    code = "kantata"
    prefix = "/kantata/api/v1"
    base_path = "/kantata/api/v1"
    accounts = {"kantata-studio": {"token": "not-a-real-token-studio"}}
    id_kind = "number"
    words = {"open": NEW, "paid": PAID, "cancelled": CANCELLED, "draft": NEW}
    closed_share = ("paid", "cancelled", "draft")

    # -- authentication -----------------------------------------------------------

    def account_of(self, call: Call) -> Account | None:
        """By the bearer token; tokens do not expire."""
        token = bearer(call.request)
        return self.world.with_credential(self.code, "token", token) if token else None

    def authenticate(self, call: Call) -> Response | None:
        """401 of type oauth."""
        return None if call.account else self.problem(call, 401)

    # -- operations ---------------------------------------------------------------

    @route("PUT", r"/invoices/(?P<id>[^/.]+)/cancel(?:\.json)?", "cancel")
    def cancel(self, call: Call) -> Response:
        """Cancel an existing invoice: 200 with the usual envelope."""
        invoice = self._visible(call)
        if invoice is None:
            return self.problem(call, 404)
        refusal = self._cancel_refusal(invoice)
        if refusal:
            return refusal
        if invoice.status != CANCELLED:
            call.cancels.append(invoice)
        return self._envelope(call, [invoice], total=1, status=CANCELLED)

    def _cancel_refusal(self, invoice: Invoice) -> Response | None:
        again = self.switches.kantata_already_cancelled
        if invoice.status == CANCELLED and again != 200:
            return _error(again, "validation", "Invoice has already been cancelled", "status")
        if invoice.extra.get("draft"):
            return _error(422, "validation", "Draft invoices cannot be cancelled", "status")
        if invoice.status == PAID:
            return _error(422, "validation", "Paid invoices cannot be cancelled", "status")
        return None

    @route("GET", r"/invoices/(?P<id>[^/.]+)(?:\.json)?", "fetch")
    def show(self, call: Call) -> Response:
        """One invoice; 404 also for one the token's user may not see."""
        invoice = self._visible(call)
        if invoice is None:
            return self.problem(call, 404)
        return self._checked_envelope(call, [invoice], 1)

    @route("DELETE", r"/invoices/(?P<id>[^/.]+)(?:\.json)?")
    def delete(self, call: Call) -> Response:
        """Drafts only; an active invoice can be cancelled but not deleted."""
        invoice = self._visible(call)
        if invoice is None:
            return self.problem(call, 404)
        if not invoice.extra.get("draft"):
            return _error(422, "validation", "Only draft invoices can be deleted", "base")
        call.effects.append(lambda: call.owner.remove(invoice.id))
        return Response(204)

    @route("GET", r"/invoices(?:\.json)?", "list")
    def index(self, call: Call) -> Response:
        """All invoices, cancelled ones too; ``only`` drops ids it does not know."""
        query = call.request.query
        try:
            rows = self._ordered(
                call, [r for r in self._candidates(call) if documents.passes(r, query)]
            )
        except ValueError as error:
            return _error(400, "system", str(error))
        start, size = _window(call.request)
        return self._checked_envelope(call, page(rows, start, size), len(rows))

    @route("GET", r"/external_payments(?:\.json)?")
    def payments(self, call: Call) -> Response:
        """Payments recorded outside of Kantata; each pays a whole invoice."""
        wanted = call.request.query.get("invoice_id", [""])[0]
        invoice = call.owner.invoices.get(wanted)
        rows = {}
        if invoice and invoice.paid:
            paid = {"id": f"9{wanted}", "invoice_id": wanted, "amount_in_cents": invoice.paid}
            rows[paid["id"]] = paid
        results = [{"key": "external_payments", "id": identity} for identity in rows]
        return json_response(
            200, {"count": len(rows), "results": results, "external_payments": rows}
        )

    def precheck(self, call: Call) -> Response | None:
        """400 for paging that is no number."""
        try:
            _window(call.request)
        except ValueError as error:
            return _error(400, "system", str(error))
        return None

    def kind_of(self, call: Call) -> str:
        """A list by ``only`` is a look at known invoices."""
        return "fetch" if call.ids and super().kind_of(call) == "list" else super().kind_of(call)

    def ids_of(self, call: Call) -> list[str]:
        """The id in the path or those in ``only``."""
        only = call.request.query.get("only", [""])[0]
        return super().ids_of(call) or [text for text in only.split(",") if text]

    def _visible(self, call: Call) -> Invoice | None:
        invoice = call.owner.invoices.get(call.params["id"])
        return None if invoice is None or invoice.extra.get("hidden") else invoice

    def _candidates(self, call: Call) -> Rows:
        if not call.ids:
            return [row for row in call.owner.listed() if not row.extra.get("hidden")]
        known = (call.owner.invoices.get(identity) for identity in dict.fromkeys(call.ids))
        return [row for row in known if row is not None and not row.extra.get("hidden")]

    def _ordered(self, call: Call, rows: Rows) -> Rows:
        name, _, direction = call.request.query.get("order", ["created_at:desc"])[0].partition(":")
        if name not in ORDERS:
            raise ValueError(f"order by {name} is not possible")
        if name == "created_at" and direction != "asc" and not call.ids:
            return rows
        return sorted(
            rows, key=lambda row: documents.order_key(row, name), reverse=direction != "asc"
        )

    # -- bodies ---------------------------------------------------------------------

    def one(self, call: Call, invoice: Invoice) -> Response:
        """The envelope with this invoice alone."""
        return self._envelope(call, [invoice], 1)

    def _checked_envelope(self, call: Call, rows: Rows, total: int) -> Response:
        unknown = _included(call.request) - INCLUDES
        if unknown:
            return _error(400, "system", f"Unknown include: {', '.join(sorted(unknown))}")
        return self._envelope(call, [self.view(call, row) for row in rows], total)

    def _envelope(self, call: Call, rows: Rows, total: int, status: str | None = None) -> Response:
        start, size = _window(call.request)
        tables: Tables = {"invoices": {}}
        for row in rows:
            tables["invoices"][row.id] = self._body(row, call, tables)
            if status:
                tables["invoices"][row.id]["status"] = status
        meta = {
            "count": total,
            "page_count": max(1, -(-total // size)),
            "page_number": start // size + 1,
            "page_size": size,
        }
        results = [{"key": "invoices", "id": row.id} for row in rows]
        return json_response(200, {"count": total, "meta": meta, "results": results, **tables})

    def _body(self, invoice: Invoice, call: Call, tables: Tables) -> dict[str, Any]:
        body = documents.facts(invoice, self._balance(invoice))
        included = _included(call.request)
        if "recipient" in included:
            body["recipient_id"] = documents.recipient(invoice, tables)
        if "workspaces" in included:
            body["workspace_ids"] = [documents.workspace(invoice, tables)]
        if "external_references" in included:
            body["external_reference_ids"] = []
        return body

    def _balance(self, invoice: Invoice) -> int:
        """Whether a paid invoice still shows its total is not said."""
        settled = invoice.status == PAID and self.switches.kantata_balance_when_paid == "zero"
        return 0 if settled else invoice.amount

    def problem(self, call: Call, status: int) -> Response:
        """The errors envelope."""
        kind, message = {
            401: ("oauth", "Invalid OAuth 2 Request"),
            403: ("oauth", "You do not have permission to perform this action"),
            404: ("system", "The requested resource was not found"),
            422: ("validation", "The request could not be processed"),
            429: ("system", "Too many requests. Please retry after a small delay"),
        }.get(status, ("system", "Something went wrong"))
        return _error(status, kind, message)

    def no_route(self, call: Call) -> Response:
        """An undocumented path and a wrong method look alike."""
        return self.problem(call, 404)

    def finish(self, call: Call, response: Response) -> None:
        """Every answer names its request id."""
        response.headers["x-request-id"] = call.trace

    # -- the world ------------------------------------------------------------------

    def complete(self, account: Account, invoice: Invoice, rng: random.Random) -> None:
        """The project it belongs to."""
        invoice.extra.setdefault("workspace", f"Project {rng.randint(1, 40)}")

    def number_for(self, account: Account, external_id: str, suggested: str) -> str | None:
        """The number people know is an integer."""
        return str(1000 + len(account.invoices))

    def status_set(self, invoice: Invoice, status: str) -> None:
        """A draft is a flag, not a status."""
        invoice.extra["draft"] = status == "draft"


def _included(request: Request) -> set[str]:
    return {name for name in request.query.get("include", [""])[0].split(",") if name}


def _window(request: Request) -> tuple[int, int]:
    """Start and size; limit and offset win over page and per_page. At most 200."""
    query = request.query
    if "limit" in query and "offset" in query:
        return _whole(query["offset"][0], 0), min(200, _whole(query["limit"][0], 1))
    size = min(200, _whole(query.get("per_page", ["20"])[0], 1))
    return (_whole(query.get("page", ["1"])[0], 1) - 1) * size, size


def _whole(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise ValueError(f"{text!r} is not a usable number")
    return int(text)


def _error(status: int, kind: str, message: str, field: str | None = None) -> Response:
    error = {"type": kind, "message": message}
    return json_response(status, {"errors": [{**error, "field": field} if field else error]})
