"""PayPal Invoicing v2, as its public reference describes it.

Sources: PayPal REST API reference, Invoices v2 ("Cancel sent invoice", "Show
invoice details", "List invoices", "Search for invoices"), the OpenAPI file
invoicing_v2.json of paypal-rest-api-specifications, and the authentication guide.
"""

from __future__ import annotations

import base64
import binascii
import json
import random
import time
from typing import Any

from providers.sandbox.dialects import paypal_documents as documents
from providers.sandbox.dialects.base import Call, Dialect, bearer, page, route
from providers.sandbox.wire import Request, Response, json_response
from providers.sandbox.world import Account, Invoice

MESSAGES = {
    400: (
        "INVALID_REQUEST",
        "Request is not well-formed, syntactically incorrect, or violates schema.",
    ),
    401: ("AUTHENTICATION_FAILURE", "Authentication failed due to missing authorization header."),
    403: ("NOT_AUTHORIZED", "Authorization failed due to insufficient permissions."),
    404: ("RESOURCE_NOT_FOUND", "The specified resource does not exist."),
    405: ("METHOD_NOT_SUPPORTED", "The server does not implement the requested HTTP method."),
    408: ("REQUEST_TIMEOUT", "The request timed out."),
    409: ("RESOURCE_CONFLICT", "The server has detected a conflict while processing this request."),
    415: ("UNSUPPORTED_MEDIA_TYPE", "The server does not support the media type."),
    422: (
        "UNPROCESSABLE_ENTITY",
        "The requested action could not be performed, semantically incorrect,"
        " or failed business validation.",
    ),
    429: ("RATE_LIMIT_REACHED", "Too many requests. Blocked due to rate limiting."),
    503: ("SERVICE_UNAVAILABLE", "Service Unavailable."),
}
REFUSALS = {
    "DRAFT": "CANNOT_CANCEL_DRAFT_INVOICE",
    "SCHEDULED": "CANNOT_CANCEL_SCHEDULED_INVOICE",
    "PARTIALLY_PAID": "CANNOT_CANCEL_PAID_INVOICE",
    "PAID": "CANNOT_CANCEL_PAID_INVOICE",
    "MARKED_AS_PAID": "CANNOT_CANCEL_PAID_INVOICE",
    "PARTIALLY_REFUNDED": "CANNOT_CANCEL_REFUNDED_INVOICE",
    "REFUNDED": "CANNOT_CANCEL_REFUNDED_INVOICE",
    "MARKED_AS_REFUNDED": "CANNOT_CANCEL_REFUNDED_INVOICE",
    "CANCELLED": "INVOICE_CANCELED_ALREADY",
    "AUTO_CANCELLED": "INVOICE_CANCELED_ALREADY",
}
"""Status to the issue that refuses its cancellation ("Cancel sent invoice")."""

ID = r"/v2/invoicing/invoices/(?P<id>[^/]+)"


class PayPal(Dialect):
    """The token endpoint and the invoice operations."""

    code = "paypal"
    prefix = "/paypal"
    base_path = "/paypal"
    accounts = {
        "paypal-europe": {
            "client_id": "SANDBOX-paypal-europe-client",
            "client_secret": "not-a-real-secret-europe",
        },
        "paypal-america": {
            "client_id": "SANDBOX-paypal-america-client",
            "client_secret": "not-a-real-secret-america",
        },
    }
    id_kind = "paypal"
    words = {
        "open": "SENT",
        "unpaid": "UNPAID",
        "draft": "DRAFT",
        "scheduled": "SCHEDULED",
        "partially_paid": "PARTIALLY_PAID",
        "paid": "PAID",
        "paid_outside": "MARKED_AS_PAID",
        "payment_pending": "PAYMENT_PENDING",
        "partially_refunded": "PARTIALLY_REFUNDED",
        "refunded": "REFUNDED",
        "refunded_outside": "MARKED_AS_REFUNDED",
        "cancelled": "CANCELLED",
        "auto_cancelled": "AUTO_CANCELLED",
    }
    open_share = ("open", "open", "open", "unpaid")
    closed_share = tuple(word for word in words if word not in ("open", "unpaid"))

    # -- authentication -----------------------------------------------------------

    @route("POST", r"/v1/oauth2/token", "token", auth=False)
    def token(self, call: Call) -> Response:
        """Authentication guide: client credentials by HTTP Basic, the same token until it ends."""
        if not self._client_is_known(call):
            return _oauth_error(401, "invalid_client", "Client Authentication failed")
        if call.request.media_type != "application/x-www-form-urlencoded":
            return self.problem(call, 415)
        if call.request.body != b"grant_type=client_credentials":
            return _oauth_error(400, "unsupported_grant_type", "unsupported grant_type")
        token, expires = self._token_of(call.owner)
        return json_response(
            200,
            {
                "scope": "https://uri.paypal.com/services/invoicing",
                "access_token": token,
                "token_type": "Bearer",
                "app_id": "APP-80W000000X000000T",
                "expires_in": int(expires - time.time()),
                "nonce": f"{time.strftime('%Y-%m-%dT%H:%M:%SZ')}{call.trace}",
            },
        )

    @route("POST", r"/v1/oauth2/token/terminate", "token", auth=False)
    def terminate(self, call: Call) -> Response:
        """Revokes the account's present token."""
        if not self._client_is_known(call):
            return _oauth_error(401, "invalid_client", "Client Authentication failed")
        call.owner.tokens.clear()
        return Response(200)

    def account_of(self, call: Call) -> Account | None:
        """By the client id of a Basic header or the token of a Bearer header."""
        client_id, _ = _basic(call.request)
        if client_id:
            return self.world.with_credential(self.code, "client_id", client_id)
        return self.world.with_token(self.code, bearer(call.request) or "")

    def authenticate(self, call: Call) -> Response | None:
        """401 in the gateway's shape for a bad token, in the invoicing one for none."""
        token = bearer(call.request)
        if token and call.account and call.account.tokens.get(token, 0.0) > time.time():
            return None
        return self.problem(call, 401)

    def _client_is_known(self, call: Call) -> bool:
        _, secret = _basic(call.request)
        return call.account is not None and call.account.credentials["client_secret"] == secret

    def _token_of(self, account: Account) -> tuple[str, float]:
        now = time.time()
        for token, expires in account.tokens.items():
            if expires > now + 1:
                return token, expires
        token = f"A21AA-made-up-{account.name}-{self.new_trace()}"
        account.tokens[token] = now + self.switches.paypal_token_life
        return token, account.tokens[token]

    # -- operations ---------------------------------------------------------------

    @route("POST", ID + "/cancel", "cancel")
    def cancel(self, call: Call) -> Response:
        """Cancel sent invoice: 204 without a body; the notification object is required."""
        if call.request.media_type != "application/json":
            return self.problem(call, 415)
        body = _json_object(call.request.body)
        if body is None:
            return self._invalid(call, "MALFORMED_REQUEST_JSON", "/", "body")
        wrong = documents.notification_issue(body)
        if wrong:
            return self._invalid(call, wrong[1], f"/{wrong[0]}", "body")
        invoice = call.owner.invoices.get(call.params["id"])
        if invoice is None:
            return self._missing(call)
        return self._cancel(call, invoice, body)

    def _cancel(self, call: Call, invoice: Invoice, body: dict[str, Any]) -> Response:
        issue = REFUSALS.get(invoice.status)
        if invoice.status == "PAYMENT_PENDING" and self.switches.paypal_payment_pending == 422:
            issue = "CANNOT_CANCEL_PAID_INVOICE"
        if issue:
            return self._unprocessable(call, issue)
        call.cancels.append(invoice)
        mails = documents.mails(invoice, body)
        call.effects.append(lambda: invoice.extra.setdefault("mails", []).extend(mails))
        return Response(204)

    @route("GET", ID, "fetch")
    def show(self, call: Call) -> Response:
        """Show invoice details."""
        invoice = call.owner.invoices.get(call.params["id"])
        return self.one(call, self.view(call, invoice)) if invoice else self._missing(call)

    @route("DELETE", ID)
    def delete(self, call: Call) -> Response:
        """Delete invoice: drafts and scheduled ones only."""
        invoice = call.owner.invoices.get(call.params["id"])
        if invoice is None:
            return self._missing(call)
        if invoice.status not in ("DRAFT", "SCHEDULED"):
            return self._unprocessable(call, "CANNOT_DELETE_NON_DRAFT_INVOICE")
        call.effects.append(lambda: call.owner.remove(invoice.id))
        return Response(204)

    @route("GET", r"/v2/invoicing/invoices", "list")
    def index(self, call: Call) -> Response:
        """List invoices: no filters, newest first."""
        return self._page(call, call.owner.listed())

    @route("POST", r"/v2/invoicing/search-invoices", "list")
    def search(self, call: Call) -> Response:
        """Search for invoices: every given property must match."""
        if call.request.media_type != "application/json":
            return self.problem(call, 415)
        wanted = _json_object(call.request.body)
        if wanted is None:
            return self._invalid(call, "MALFORMED_REQUEST_JSON", "/", "body")
        statuses = wanted.get("status", [])
        if not isinstance(statuses, list) or len(statuses) > 5:
            return self._invalid(call, "INVALID_ARRAY_MAX_ITEMS", "/status", "body")
        for name, value in wanted.items():
            if name.endswith("_range") and not isinstance(value, dict):
                return self._invalid(call, "INVALID_PARAMETER_SYNTAX", f"/{name}", "body")
        rows = [row for row in call.owner.listed() if documents.found(row, wanted)]
        return self._page(call, rows)

    def _page(self, call: Call, rows: list[Invoice]) -> Response:
        query = call.request.query
        number = _int(query.get("page", ["1"])[0], 1, 1000)
        size = _int(query.get("page_size", ["20"])[0], 1, 100)
        if number is None or size is None:
            field = "page" if number is None else "page_size"
            return self._invalid(call, "INVALID_INTEGER_MAX_VALUE", field, "query")
        items = [self._condensed(call, row) for row in page(rows, (number - 1) * size, size)]
        answer: dict[str, Any] = {"items": items, "links": []}
        if query.get("total_required") == ["true"]:
            answer["total_items"] = len(rows)
            answer["total_pages"] = -(-len(rows) // size)
        return json_response(200, answer)

    # -- bodies ---------------------------------------------------------------------

    def one(self, call: Call, invoice: Invoice) -> Response:
        """The invoice in full."""
        return json_response(200, documents.full(invoice))

    def _condensed(self, call: Call, invoice: Invoice) -> dict[str, Any]:
        """List entries lack line items and the amount's breakdown."""
        return documents.summary(self.view(call, invoice))

    def problem(self, call: Call, status: int) -> Response:
        """The invoicing error object without details; a bad token's has a shape of its own."""
        gateway = self.switches.paypal_bearer_refusal == "invalid_token"
        if status == 401 and gateway and bearer(call.request):
            return _oauth_error(401, "invalid_token", "Token signature verification failed")
        return self._error(call, status, [])

    def _error(self, call: Call, status: int, details: list[dict[str, str]]) -> Response:
        name, message = MESSAGES.get(
            status, ("INTERNAL_SERVER_ERROR", "An internal server error has occurred.")
        )
        body: dict[str, Any] = {"name": name, "message": message, "debug_id": call.trace}
        if status != 429:
            body |= {"details": details, "links": []}
        return json_response(status, body)

    def _invalid(self, call: Call, issue: str, field: str, location: str) -> Response:
        detail = {"field": field, "location": location, "issue": issue}
        return self._error(call, 400, [{**detail, "description": issue.capitalize()}])

    def _unprocessable(self, call: Call, issue: str) -> Response:
        detail = {
            "field": "invoiceId",
            "value": call.params["id"],
            "location": "path",
            "issue": issue,
            "description": issue.replace("_", " ").capitalize() + ".",
        }
        return self._error(call, 422, [detail])

    def _missing(self, call: Call) -> Response:
        """403 for another account's invoice, 404 for nobody's."""
        for account in self.world.of_provider(self.code):
            if call.params["id"] in account.invoices:
                detail = {"issue": "PERMISSION_DENIED", "description": "No permission."}
                return self._error(call, 403, [detail])
        return self.problem(call, 404)

    def finish(self, call: Call, response: Response) -> None:
        """Every answer names its debug id."""
        response.headers["PayPal-Debug-Id"] = call.trace

    def complete(self, account: Account, invoice: Invoice, rng: random.Random) -> None:
        """UNPAID invoices are shared by link: there is nobody to mail."""
        if invoice.status == "UNPAID":
            invoice.email = None
        invoice.extra.setdefault("person", rng.random() < 0.2)


def _basic(request: Request) -> tuple[str, str]:
    scheme, _, coded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        client_id, _, secret = base64.b64decode(coded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return client_id, secret


def _oauth_error(status: int, error: str, description: str) -> Response:
    return json_response(status, {"error": error, "error_description": description})


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _int(text: str, low: int, high: int) -> int | None:
    return int(text) if text.isdecimal() and low <= int(text) <= high else None
