"""Monite receivables, as its public reference describes them.

Sources: Monite API reference, "Cancel an invoice", "Get all
receivables"; the guides on rate limiting, HTTP headers and invoice compliance;
the OpenAPI schema in team-monite/monite-sdk.
"""

from __future__ import annotations

import base64
import json
import random
import uuid
from datetime import timedelta
from typing import Any

from providers.sandbox.dialects import monite_documents as documents
from providers.sandbox.dialects.base import Call, page, route
from providers.sandbox.dialects.monite_access import (
    MoniteAccess,
    error_answer,
    json_object,
    unprocessable,
)
from providers.sandbox.wire import Response, json_response
from providers.sandbox.world import OUTSIDE, Account, Invoice, utc_now

CANCELLABLE = ("issued", "overdue")
"""The SDK's own documentation: while unpaid, in these two."""
ID = r"/receivables/(?P<id>[^/]+)"


class Monite(MoniteAccess):
    """Receivables and the entity's settings."""

    code = "monite"
    prefix = "/monite/v1"
    base_path = "/monite/v1"
    accounts = {
        "monite-nord": {
            "client_id": "5a4db0c5-0000-4000-8000-00000000c11e",
            "client_secret": "not-a-real-secret-nord",
            "entity_id": "5a4db0c5-0000-4000-8000-0000000e7171",
        },
    }
    id_kind = "uuid"
    words = {
        "open": "issued",
        "overdue": "overdue",
        "draft": "draft",
        "issuing": "issuing",
        "failed": "failed",
        "recurring": "recurring",
        "partially_paid": "partially_paid",
        "paid": "paid",
        "written_off": "uncollectible",
        "cancelled": "canceled",
        "deleted": "deleted",
        "quote": "accepted",
        "quote_declined": "declined",
    }
    open_share = ("open", "overdue", "open")
    closed_share = ("paid", "cancelled", "partially_paid", "draft", "written_off", "issuing")

    # -- operations ---------------------------------------------------------------

    @route("POST", ID + "/cancel", "cancel")
    def cancel(self, call: Call) -> Response:
        """Cancel an invoice: 204 without a body."""
        found = self._receivable(call)
        if isinstance(found, Response):
            return found
        refusal = self._cancel_refusal(found)
        if refusal:
            return error_answer(refusal, f"Action cancel not allowed for status {found.status}")
        call.cancels.append(found)
        return Response(204)

    def _cancel_refusal(self, invoice: Invoice) -> int:
        """The status of the refusal, 0 for none."""
        if invoice.extra["type"] != "invoice":
            return 409
        if invoice.status == "canceled":
            again = self.switches.monite_already_cancelled
            return 0 if again == 204 else again
        if invoice.status == "partially_paid":
            return 409 if self.switches.monite_partially_paid == "409" else 0
        return 0 if invoice.status in CANCELLABLE else 409

    @route("GET", ID, "fetch")
    def show(self, call: Call) -> Response:
        """One receivable, whatever its type."""
        found = self._receivable(call)
        return found if isinstance(found, Response) else self.one(call, self.view(call, found))

    @route("DELETE", ID)
    def delete(self, call: Call) -> Response:
        """Drafts only."""
        found = self._receivable(call)
        if isinstance(found, Response):
            return found
        if found.status != "draft":
            return error_answer(409, "Only drafts can be deleted")
        call.effects.append(lambda: call.owner.remove(found.id))
        return Response(204)

    @route("GET", r"/receivables", "list")
    def index(self, call: Call) -> Response:
        """Get all receivables: filters as query parameters."""
        return self._page(call, call.request.query)

    @route("POST", r"/receivables/search", "list")
    def search(self, call: Call) -> Response:
        """The same filters as a JSON body."""
        return self._page(call, _as_query(json_object(call.request.body)))

    @route("GET", ID + "/history")
    def history(self, call: Call) -> Response:
        """Document history: the only place that says when an invoice was cancelled."""
        found = self._receivable(call)
        if isinstance(found, Response):
            return found
        wanted = call.request.query.get("event_type__in", ["status_changed"])
        rows = documents.history(found) if "status_changed" in wanted else []
        return json_response(200, {"data": rows, **documents.NO_MORE_PAGES})

    @route("GET", r"/entities/(?P<entity>[^/]+)/settings")
    def settings(self, call: Call) -> Response:
        """The entity's settings; receivable_edit_flow decides about credit notes."""
        if call.params["entity"] != call.owner.credentials["entity_id"]:
            return self.problem(call, 404)
        flow = self.switches.monite_edit_flow
        return json_response(
            200, {"language": "en", "currency": {"default": "EUR"}, "receivable_edit_flow": flow}
        )

    def kind_of(self, call: Call) -> str:
        """A list by id__in is a look at known invoices."""
        return "fetch" if call.ids and super().kind_of(call) == "list" else super().kind_of(call)

    def ids_of(self, call: Call) -> list[str]:
        """The id in the path or those in id__in."""
        return super().ids_of(call) or call.request.query.get("id__in", [])

    def _receivable(self, call: Call) -> Invoice | Response:
        if not _is_uuid(call.params["id"]):
            return unprocessable(["path", "receivable_id"], "value is not a valid uuid")
        return call.owner.invoices.get(call.params["id"]) or self.problem(call, 404)

    def _page(self, call: Call, query: dict[str, list[str]]) -> Response:
        limit = query.get("limit", [str(min(100, self.switches.monite_max_limit))])[0]
        if not limit.isdecimal():
            return unprocessable(["query", "limit"], "value is not a valid integer")
        if not 1 <= int(limit) <= self.switches.monite_max_limit:
            return self.problem(call, 416)
        try:
            start, query = _continued(query)
            rows = documents.select(call.owner, query)
        except ValueError as error:
            return unprocessable(["query"], str(error))
        return self._rows(call, rows, start, int(limit), query)

    def _rows(
        self, call: Call, rows: list[Invoice], start: int, size: int, query: dict[str, list[str]]
    ) -> Response:
        shown = [documents.receivable(self.view(call, row)) for row in page(rows, start, size)]
        more = start + size < len(rows)
        return json_response(
            200,
            {
                "data": shown,
                "next_pagination_token": _page_token(start + size, query) if more else None,
                "prev_pagination_token": (
                    _page_token(max(0, start - size), query) if start else None
                ),
            },
        )

    # -- bodies ---------------------------------------------------------------------

    def one(self, call: Call, invoice: Invoice) -> Response:
        """One receivable."""
        return json_response(200, documents.receivable(invoice))

    def finish(self, call: Call, response: Response) -> None:
        """The headers the guide on HTTP headers and the one on rate limiting list."""
        sent = call.request.headers
        response.headers |= {"x-request-id": call.trace, "x-process-time": "0.004"}
        for name in ("x-monite-version", "x-monite-entity-id"):
            if name in sent:
                response.headers[name] = sent[name]
        limit = call.account.limit if call.account else None
        if limit:
            response.headers |= {
                "RateLimit-Limit": str(limit.calls),
                "RateLimit-Remaining": str(limit.remaining),
                "RateLimit-Reset": str(max(1, round(limit.reset))),
                "X-RateLimit-Limit-Second": str(limit.calls),
                "X-RateLimit-Remaining-Second": str(limit.remaining),
            }

    def new_trace(self) -> str:
        """A uuid."""
        return str(uuid.UUID(int=self._traces.getrandbits(128), version=4))

    # -- the world ------------------------------------------------------------------

    def beside(self, account: Account) -> tuple[str, ...]:
        """Quotes are receivables too."""
        return ("quote", "quote_declined")

    def status_set(self, invoice: Invoice, status: str) -> None:
        """The two quote statuses make a quote."""
        if status.startswith("quote"):
            invoice.extra["type"] = "quote"

    def complete(self, account: Account, invoice: Invoice, rng: random.Random) -> None:
        """Type, counterpart, and no number or issue date before the invoice is issued."""
        invoice.extra.setdefault("type", "invoice")
        invoice.extra.setdefault("credit_notes", [])
        invoice.extra["counterpart_id"] = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        if invoice.status in ("draft", "issuing"):
            invoice.number = None
            invoice.issued_on = None
        _agree_on_due_date(invoice)

    def as_cancelled(self, invoice: Invoice, by: int = OUTSIDE) -> None:
        """Invoice compliance guide: in compliant mode a credit note is issued and mailed.

        Crediting what is left of a partly paid invoice makes it ``paid`` (credit notes guide)."""
        before = invoice.status
        rest = invoice.open_amount
        super().as_cancelled(invoice, by)
        if before == "partially_paid":
            invoice.status = "paid"
        documents.record_status_change(invoice, before)
        if self.switches.monite_edit_flow == "compliant":
            note = {"id": self.new_trace(), "amount": rest, "issued": utc_now().isoformat()}
            invoice.extra["credit_notes"] = [*invoice.extra["credit_notes"], note]

    def may_take_effect(self, invoice: Invoice) -> bool:
        """A part payment does not stop what was accepted before."""
        return invoice.status != "paid"


def _agree_on_due_date(invoice: Invoice) -> None:
    """Overdue is a status here: it has to agree with the date."""
    today = utc_now().date()
    late = invoice.due_on is not None and invoice.due_on < today
    if invoice.status == "overdue" and not late:
        invoice.due_on = today - timedelta(days=3)
    elif invoice.status == "issued" and late:
        invoice.due_on = today + timedelta(days=14)


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def _as_query(body: dict[str, Any]) -> dict[str, list[str]]:
    rows = {name: value if isinstance(value, list) else [value] for name, value in body.items()}
    return {name: [str(item) for item in value] for name, value in rows.items()}


def _page_token(start: int, query: dict[str, list[str]]) -> str:
    kept = {name: values for name, values in query.items() if name != "limit"}
    return base64.urlsafe_b64encode(json.dumps([start, kept]).encode()).decode()


def _continued(query: dict[str, list[str]]) -> tuple[int, dict[str, list[str]]]:
    """With a token every other parameter but limit is ignored."""
    token = query.get("pagination_token", [""])[0]
    if not token:
        return 0, query
    try:
        start, kept = json.loads(base64.urlsafe_b64decode(token))
    except TypeError as error:
        raise ValueError("pagination_token: not one of ours") from error
    return int(start), dict(kept)
