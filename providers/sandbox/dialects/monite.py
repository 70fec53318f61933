"""Monite receivables, as its public reference describes them.

Sources: Monite API reference, "Cancel an invoice", "Obtain an access token",
"Get all receivables"; the guides on rate limiting, versioning, HTTP headers and
invoice compliance; the OpenAPI schema in team-monite/monite-sdk.
"""

from __future__ import annotations

import base64
import json
import random
import time
import uuid
from datetime import timedelta
from typing import Any

from providers.sandbox.dialects import monite_documents as documents
from providers.sandbox.dialects.base import Call, Dialect, bearer, page, route
from providers.sandbox.wire import Response, json_response
from providers.sandbox.world import OUTSIDE, Account, Invoice, utc_now

VERSIONS = frozenset(("2023-06-04", "2023-09-01", "2024-01-31", "2024-05-25"))
CANCELLABLE = ("issued", "overdue")
"""The SDK's own documentation: while unpaid, in these two."""
TOKEN_FIELDS = {
    "client_credentials": {"grant_type", "client_id", "client_secret"},
    "entity_user": {"grant_type", "client_id", "client_secret", "entity_user_id"},
}
MESSAGES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Action is not allowed for your role",
    404: "Object not found",
    405: "Method not allowed",
    409: "Action update for receivable not allowed",
    416: "Requested range not satisfiable",
    429: "Rate limit exceeded",
}
ID = r"/receivables/(?P<id>[^/]+)"


class Monite(Dialect):
    """The token endpoint, receivables and the entity's settings."""

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

    # -- authentication -----------------------------------------------------------

    @route("POST", r"/auth/token", "token", auth=False)
    def token(self, call: Call) -> Response:
        """Obtain an access token: JSON, nothing beside the documented properties."""
        body = _json_object(call.request.body)
        refusal = self._version_fault(call) or _token_fault(body)
        if refusal:
            return refusal
        if call.account is None or call.account.credentials["client_secret"] != body.get(
            "client_secret"
        ):
            return _error(401, "Invalid client credentials")
        token = f"made-up-monite-token-{call.trace}"
        call.account.tokens[token] = time.time() + self.switches.monite_token_life
        life = int(self.switches.monite_token_life)
        return json_response(
            200, {"access_token": token, "expires_in": life, "token_type": "Bearer"}
        )

    @route("POST", r"/auth/revoke", "token", auth=False)
    def revoke(self, call: Call) -> Response:
        """Revoke a token."""
        body = _json_object(call.request.body)
        if call.account is None or call.account.credentials["client_secret"] != body.get(
            "client_secret"
        ):
            return _error(401, "Invalid client credentials")
        call.account.tokens.pop(str(body.get("token")), None)
        return json_response(200, {"message": "Token revoked"})

    def account_of(self, call: Call) -> Account | None:
        """By the client id in a token request, else by the bearer token (and its entity)."""
        if call.route and not call.route.needs_auth:
            client_id = _json_object(call.request.body).get("client_id")
            return self.world.with_credential(self.code, "client_id", str(client_id))
        issued_to = self.world.with_token(self.code, bearer(call.request) or "")
        return self._account_of_entity(call, issued_to) or issued_to

    def _account_of_entity(self, call: Call, issued_to: Account | None) -> Account | None:
        """A partner's token serves all entities of that partner."""
        entity = call.request.headers.get("x-monite-entity-id")
        for account in self.world.of_provider(self.code):
            client = issued_to.credentials["client_id"] if issued_to else None
            wanted = {"client_id": client, "entity_id": entity}
            if wanted.items() <= account.credentials.items():
                return account
        return None

    def authenticate(self, call: Call) -> Response | None:
        """The version header comes first: without it 400, not 401."""
        refusal = self._version_fault(call)
        if refusal:
            return refusal
        token = bearer(call.request) or ""
        issued_to = self.world.with_token(self.code, token)
        if issued_to is None or issued_to.tokens[token] <= time.time():
            return self.problem(call, 401)
        return None

    def precheck(self, call: Call) -> Response | None:
        """The entity header: missing 400 or 422, another's 404."""
        entity = call.request.headers.get("x-monite-entity-id")
        if entity is None:
            message = "x-monite-entity-id is required"
            if self.switches.monite_missing_entity == 400:
                return _error(400, message)
            return _unprocessable(["header", "x-monite-entity-id"], message)
        return None if call.owner.credentials["entity_id"] == entity else self.problem(call, 404)

    @staticmethod
    def _version_fault(call: Call) -> Response | None:
        version = call.request.headers.get("x-monite-version")
        if version in VERSIONS:
            return None
        kind = "invalid_api_version" if version else "missing_api_version"
        message = "Header x-monite-version is missing or names no version"
        return json_response(400, {"error": {"type": kind, "message": message}})

    # -- operations ---------------------------------------------------------------

    @route("POST", ID + "/cancel", "cancel")
    def cancel(self, call: Call) -> Response:
        """Cancel an invoice: 204 without a body."""
        found = self._receivable(call)
        if isinstance(found, Response):
            return found
        refusal = self._cancel_refusal(found)
        if refusal:
            return _error(refusal, f"Action cancel not allowed for status {found.status}")
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
            return _error(409, "Only drafts can be deleted")
        call.effects.append(lambda: call.owner.remove(found.id))
        return Response(204)

    @route("GET", r"/receivables", "list")
    def index(self, call: Call) -> Response:
        """Get all receivables: filters as query parameters."""
        return self._page(call, call.request.query)

    @route("POST", r"/receivables/search", "list")
    def search(self, call: Call) -> Response:
        """The same filters as a JSON body."""
        return self._page(call, _as_query(_json_object(call.request.body)))

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
            return _unprocessable(["path", "receivable_id"], "value is not a valid uuid")
        return call.owner.invoices.get(call.params["id"]) or self.problem(call, 404)

    def _page(self, call: Call, query: dict[str, list[str]]) -> Response:
        limit = query.get("limit", [str(min(100, self.switches.monite_max_limit))])[0]
        if not limit.isdecimal():
            return _unprocessable(["query", "limit"], "value is not a valid integer")
        if not 1 <= int(limit) <= self.switches.monite_max_limit:
            return self.problem(call, 416)
        try:
            start, query = _continued(query)
            rows = documents.select(call.owner, query)
        except ValueError as error:
            return _unprocessable(["query"], str(error))
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

    def problem(self, call: Call, status: int) -> Response:
        """The error object; 422 names the place instead."""
        if status == 422:
            return _unprocessable(["path", "receivable_id"], "value is not valid")
        response = _error(status, MESSAGES.get(status, "Internal server error"))
        if status == 429 and call.account and call.account.limit:
            response.headers["Retry-After"] = str(max(1, round(call.account.limit.reset)))
        return response

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


def _token_fault(body: dict[str, Any]) -> Response | None:
    allowed = TOKEN_FIELDS.get(str(body.get("grant_type")))
    if allowed is None:
        return _unprocessable(["body", "grant_type"], "unexpected value")
    for name in sorted(set(body) - allowed):
        return _unprocessable(["body", name], "extra fields not permitted")
    for name in sorted(allowed - set(body)):
        return _unprocessable(["body", name], "field required")
    return None


def _error(status: int, message: str) -> Response:
    return json_response(status, {"error": {"message": message}})


def _unprocessable(where: list[str], message: str) -> Response:
    return json_response(422, {"detail": [{"loc": where, "msg": message, "type": "value_error"}]})


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


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
