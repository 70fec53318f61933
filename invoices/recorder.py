"""Writing the record: a request before its first byte leaves, its answer as soon as it is in."""

import hashlib
from collections.abc import Mapping
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from invoices import bulk
from invoices.models.evidence import CallSubject, ProviderRequest, ProviderResponse, pack_headers
from providers.adapters.base import text
from providers.exchange import Exchange, OutgoingRequest, parse
from providers.models import ProviderAccount

CORRELATION_HEADERS = ("paypal-debug-id", "v-c-correlation-id", "cltraceid", "x-request-id")
CORRELATION_FIELDS = ("debug_id", "clTraceId")


class InsideTransaction(Exception):
    """A call to a provider was about to be made while a database transaction is open."""


def refuse_inside_transaction() -> None:
    """No transaction may span a call: its locks would, and a rollback would lose the record."""
    blocks = getattr(connection, "atomic_blocks", [])
    if any(not getattr(block, "_from_testcase", False) for block in blocks):
        raise InsideTransaction("No call to a provider inside a database transaction.")


def request_row(request: OutgoingRequest, account_id: int) -> ProviderRequest:
    """The row of a request that is about to leave."""
    return ProviderRequest(
        id=request.id,
        account_id=account_id,
        created_at=timezone.now(),
        purpose=request.purpose,
        method=request.method,
        url=request.url,
        headers=pack_headers(request.headers),
        body=request.body,
        body_sha256=hashlib.sha256(request.body).hexdigest(),
    )


def response_row(exchange: Exchange) -> ProviderResponse:
    """The row of how a request ended."""
    return ProviderResponse(
        request_id=exchange.request_id,
        received_at=timezone.now(),
        sent=exchange.sent,
        status=exchange.status,
        headers=pack_headers(exchange.headers),
        body=exchange.body,
        body_sha256=hashlib.sha256(exchange.body).hexdigest(),
        complete=exchange.complete,
        fault=exchange.fault,
        detail=text(exchange.detail, 500),
        correlation_id=_correlation_id(exchange),
        duration_ms=exchange.duration_ms,
    )


def _correlation_id(exchange: Exchange) -> str:
    """The id by which the provider's support desk finds the call; "" when it gave none."""
    headers = {name.lower(): value for name, value in exchange.headers}
    found: Any = next((headers[name] for name in CORRELATION_HEADERS if name in headers), "")
    if not found and any(name.encode() in exchange.body for name in CORRELATION_FIELDS):
        body = parse(exchange.body)
        if isinstance(body, dict):
            found = next((body[name] for name in CORRELATION_FIELDS if name in body), "")
    return text(found, 100)


class DirectRecorder:
    """Writes each row at once, in the thread that calls: for imports and connection tests.

    `invoices` maps references to our invoices' ids, where the calls are about some.
    """

    def __init__(self, account: ProviderAccount, invoices: Mapping[str, int] | None = None) -> None:
        self._account = account
        self._invoices = {} if invoices is None else invoices

    def before(self, request: OutgoingRequest) -> None:
        refuse_inside_transaction()
        with transaction.atomic():
            request_row(request, self._account.pk).save(force_insert=True)
            bulk.insert(
                CallSubject(request_id=request.id, invoice_id=self._invoices[reference])
                for reference in request.references
                if reference in self._invoices
            )

    def gate(self) -> None:
        """Nothing forbids a read once it is recorded."""

    def after(self, exchange: Exchange) -> None:
        response_row(exchange).save(force_insert=True)
