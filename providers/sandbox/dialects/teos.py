"""TEOS (CoreLedger), as its public documentation describes it.

Sources: TEOS API reference, "Cancel invoices"; the guides "Retrieve invoices",
"Retrieve a transaction by ID", "Health check", "Handling errors" and "Rate
limiting" of teos-docs.coreledger.net; CoreLedger's Postman collection.
"""

from __future__ import annotations

import json
import random
import uuid
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from providers.sandbox.dialects import teos_odata as odata
from providers.sandbox.dialects.base import Call, Dialect, bearer, page, route
from providers.sandbox.dialects.teos_documents import ASSETS, Transaction, asset_for, body
from providers.sandbox.wire import Response, json_response
from providers.sandbox.world import Account, Invoice, utc_now

PAGE_LIMIT = 50
"""Changelog of v1.0: a forced global page limit."""
CODES = {
    400: ("21000", "One or more preconditions failed"),
    401: ("11000", "Authentication failed"),
    403: ("11002", "Access denied"),
    404: ("20000", "Resource not found"),
    405: ("12003", "Method not allowed"),
    422: ("22000", "One or more validations failed"),
    429: ("13000", "Too many requests: maximum admitted 100 per 1m"),
}
VERSION = r"/odata/v1\.[01]"
REVOKED = {
    "teos_revoked_by_user": "RevokedByUser",
    "teos_revoked_by_tx_server": "RevokedByTxServer",
    "teos_revoked_by_blockchain": "RevokedByBlockchain",
}


class Teos(Dialect):
    """Invoices, transactions, assets and the ping."""

    code = "teos"
    prefix = "/teos"
    base_path = "/teos"
    accounts = {"teos-ledger": {"api_key": "not-a-real-api-key-ledger"}}
    id_kind = "uuid"
    words = {
        "open": "Open",
        "payment_pending": "Processing",
        "paid": "Paid",
        "expired": "Expired",
        "cancelled": "Cancelled",
        "failed": "Failed",
    }
    closed_share = ("paid", "cancelled", "expired", "payment_pending", "failed")

    # -- authentication -----------------------------------------------------------

    def account_of(self, call: Call) -> Account | None:
        """By the API key."""
        key = bearer(call.request)
        return self.world.with_credential(self.code, "api_key", key) if key else None

    def authenticate(self, call: Call) -> Response | None:
        """401 with the common error body."""
        return None if call.account else self.problem(call, 401)

    @route("GET", VERSION + "/Ping")
    def ping(self, call: Call) -> Response:
        """Health check: 200 with a good key."""
        return json_response(200, "pong")

    # -- cancelling ---------------------------------------------------------------

    @route("POST", VERSION + "/(?:Invoices/Cancel|invoices/cancel)", "cancel")
    def cancel(self, call: Call) -> Response:
        """Cancel invoices: 202 and a transaction; ids that are not open are ignored silently."""
        if call.request.media_type != "application/json":
            return self._bad(call, "12002", "Input binding failed")
        ids = _invoice_ids(call.request.body)
        if ids is None:
            return self._bad(call, "12002", "Input binding failed")
        transaction = Transaction.new(call.owner, self.new_trace())
        found = (call.owner.invoices.get(identity) for identity in dict.fromkeys(ids))
        self._undertake(call, transaction, [i for i in found if i is not None and _is_open(i)])
        return self._accepted(call, transaction)

    def _undertake(self, call: Call, transaction: Transaction, wanted: list[Invoice]) -> None:
        """What becomes of the transaction, and with it of the invoices."""
        fault = call.fault.name if call.fault else ""
        end = REVOKED.get(fault, "Confirmed")
        if fault != "teos_never_signed":
            self.world.later(self.switches.teos_delay, lambda: transaction.end(end))
        if end == "Confirmed" and fault not in ("teos_never_signed", "teos_confirmed_but_open"):
            call.cancels.extend(wanted)

    def _accepted(self, call: Call, transaction: Transaction) -> Response:
        variant = self.switches.teos_cancel_answer
        if variant == "empty":
            return Response(202)
        shown = transaction.as_dict(self.switches.teos_state)
        if call.fault and call.fault.name == "teos_no_id":
            shown = {name: value for name, value in shown.items() if name != "Id"}
        return json_response(int(variant), shown)

    def ids_of(self, call: Call) -> list[str]:
        """The ids in a cancel's body, in a filter, or in parentheses."""
        if call.route and call.route.handler == "cancel":
            return _invoice_ids(call.request.body, strict=False) or []
        if call.route and call.route.handler == "index":
            return odata.ids_in(call.request.query.get("$filter", [""])[0])
        return super().ids_of(call)

    def kind_of(self, call: Call) -> str:
        """A list by ids is a look at known invoices."""
        return "fetch" if call.ids and super().kind_of(call) == "list" else super().kind_of(call)

    def cancellation_delay(self) -> float:
        """Cancelling is asynchronous."""
        return self.switches.teos_delay

    def may_take_effect(self, invoice: Invoice) -> bool:
        """Only while it is still open."""
        return _is_open(invoice)

    # -- reading ------------------------------------------------------------------

    @route("GET", VERSION + r"/Invoices\((?P<id>[^)/]+)\)", "fetch")
    def show(self, call: Call) -> Response:
        """One invoice."""
        if not odata.is_guid(call.params["id"]):
            return self._bad(call, "12002", "Input binding failed")
        invoice = call.owner.invoices.get(call.params["id"].lower())
        return self.one(call, self.view(call, invoice)) if invoice else self.problem(call, 404)

    @route("GET", VERSION + "/Invoices", "list")
    def index(self, call: Call) -> Response:
        """Retrieve invoices: OData query options, never more than a page."""
        query = call.request.query
        try:
            rows = self._filtered(call, query.get("$filter", [""])[0])
            rows = odata.ordered(rows, query.get("$orderby", [""])[0])
            skip, top = odata.window(query)
        except ValueError as error:
            return self._bad(call, "12000", str(error))
        select = odata.selection(query)
        shown = [body(row, select) for row in page(rows, skip, min(top, PAGE_LIMIT))]
        return self._listing(call, shown, rows[skip : skip + top], skip, len(rows))

    def _filtered(self, call: Call, text: str) -> list[Invoice]:
        test = odata.compiled(text)
        known = (call.owner.invoices.get(identity) for identity in dict.fromkeys(call.ids))
        rows = [row for row in known if row] if call.ids else call.owner.listed()
        seen = (self.view(call, row) for row in rows)
        return [row for row in seen if test is None or test(row)]

    def _listing(
        self, call: Call, shown: list[dict[str, Any]], asked: list[Invoice], skip: int, total: int
    ) -> Response:
        if self.switches.teos_list == "bare":
            return json_response(200, shown)
        origin = f"http://{call.request.headers.get('host', '')}{self.prefix}"
        answer: dict[str, Any] = {"@odata.context": f"{origin}/odata/v1.1/$metadata#Invoices"}
        if call.request.query.get("$count") == ["true"]:
            answer["@odata.count"] = total
        answer["value"] = shown
        if len(asked) > len(shown):
            answer["@odata.nextLink"] = origin + _next_target(call, skip + len(shown))
        return json_response(200, answer)

    @route("GET", VERSION + r"/Transactions\((?P<transaction>[^)/]+)\)")
    def transaction(self, call: Call) -> Response:
        """Retrieve a transaction by ID: a bare guid in parentheses."""
        made: dict[str, Transaction] = call.owner.extra["transactions"]
        found = made.get(call.params["transaction"])
        if found is None:
            return self.problem(call, 404)
        return json_response(200, found.as_dict(self.switches.teos_state))

    @route("GET", VERSION + r"/Assets\((?P<asset>[^)/]+)\)")
    def asset(self, call: Call) -> Response:
        """One asset: its id is a string and quoted."""
        identity = call.params["asset"]
        found = ASSETS.get(identity.strip("'")) if odata.is_quoted(identity) else None
        if found is None:
            return self.problem(call, 404)
        select = odata.selection(call.request.query)
        return json_response(200, {k: v for k, v in found.items() if not select or k in select})

    @route("GET", VERSION + "/Assets")
    def assets(self, call: Call) -> Response:
        """All assets, or those whose UniqueAssetId is in a list."""
        wanted = odata.quoted_strings(call.request.query.get("$filter", [""])[0])
        rows = [row for key, row in ASSETS.items() if not wanted or key in wanted]
        return json_response(200, rows if self.switches.teos_list == "bare" else {"value": rows})

    def view(self, call: Call, invoice: Invoice) -> Invoice:
        """Reads lag behind the chain by a while."""
        seen = super().view(call, invoice)
        lag = self.switches.teos_read_lag
        if lag and seen is invoice and invoice.previous and self._is_fresh(invoice, lag):
            return invoice.previous
        return seen

    @staticmethod
    def _is_fresh(invoice: Invoice, lag: float) -> bool:
        return utc_now() - invoice.updated < timedelta(seconds=lag)

    # -- bodies ---------------------------------------------------------------------

    def one(self, call: Call, invoice: Invoice) -> Response:
        """One invoice by itself."""
        return json_response(200, body(invoice, odata.selection(call.request.query)))

    def problem(self, call: Call, status: int) -> Response:
        """The common error body; technical codes start with 1, business ones with 2."""
        code, message = CODES.get(status, ("23000", "Internal error"))
        if status == 429:
            status = self.switches.teos_throttle_status
        return self._error(call, status, code, message)

    def _bad(self, call: Call, code: str, message: str) -> Response:
        return self._error(call, 400, code, message)

    @staticmethod
    def _error(call: Call, status: int, code: str, message: str) -> Response:
        target = call.path.rpartition("/")[2].lower()
        error = {"code": code, "message": message, "target": target, "details": []}
        return json_response(status, {**error, "clTraceId": call.trace})

    def finish(self, call: Call, response: Response) -> None:
        """The trace id, and the rate headers once calls are frequent."""
        response.headers["clTraceId"] = call.trace
        limit = call.account.limit if call.account else None
        if limit and limit.remaining * 2 < limit.calls:
            response.headers |= _rate_headers(limit.remaining, limit.reset or limit.seconds)
        elif call.fault and (call.fault.retry_after or "").isdecimal():
            response.headers |= _rate_headers(0, float(call.fault.retry_after or 0))

    def new_trace(self) -> str:
        """A guid."""
        return str(uuid.UUID(int=self._traces.getrandbits(128), version=4))

    # -- the world ------------------------------------------------------------------

    def prepare(self, account: Account) -> None:
        """No transactions yet."""
        account.extra["transactions"] = {}

    def complete(self, account: Account, invoice: Invoice, rng: random.Random) -> None:
        """An asset in which the amount is owed, and a description in JSON or in words."""
        asset = invoice.extra.get("asset") or asset_for(invoice, rng)
        invoice.extra["asset"] = asset["UniqueAssetId"] if isinstance(asset, dict) else asset
        spelled = json.dumps({"number": invoice.number, "customer": invoice.customer})
        words = f"{invoice.customer}, invoice {invoice.number}"
        invoice.extra.setdefault("description", words if rng.random() < 0.2 else spelled)


def _is_open(invoice: Invoice) -> bool:
    return invoice.status == "Open"


def _invoice_ids(raw: bytes, *, strict: bool = True) -> list[str] | None:
    """``invoiceIds`` of a cancel's body; with ``strict`` None unless all are guids."""
    try:
        value = json.loads(raw)
    except ValueError:
        return None
    ids = value.get("invoiceIds") if isinstance(value, dict) else None
    if not isinstance(ids, list) or not all(isinstance(identity, str) for identity in ids):
        return None
    usable = bool(ids) and all(odata.is_guid(identity) for identity in ids)
    return None if strict and not usable else [identity.lower() for identity in ids]


def _next_target(call: Call, skip: int) -> str:
    kept = {name: values[0] for name, values in call.request.query.items() if name != "$skip"}
    pairs = {**kept, "$skip": str(skip)}.items()
    return call.path + "?" + "&".join(f"{name}={quote(value)}" for name, value in pairs)


def _rate_headers(remaining: int, seconds: float) -> dict[str, str]:
    return {
        "X-Rate-Limit-Limit": "1m",
        "X-Rate-Limit-Remaining": str(remaining),
        "X-Rate-Limit-Reset": _seven_digits(utc_now() + timedelta(seconds=seconds)),
    }


def _seven_digits(moment: datetime) -> str:
    """.NET's round-trip form: seven fractional digits and Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"
