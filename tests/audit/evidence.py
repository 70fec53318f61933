"""A record to seal, to verify and to tamper with: one row or a few of every table."""

import hashlib
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from invoices.models import (
    BodyPurge,
    CallSubject,
    CancellationAttempt,
    CancellationBatch,
    HistoryEvent,
    Invoice,
    ProviderRequest,
    ProviderResponse,
)
from invoices.models.evidence import pack_headers
from tests.factories import InvoiceFactory, UserFactory


def an_attempt() -> CancellationAttempt:
    """A queued one, with the step that queued it."""
    invoice: Invoice = InvoiceFactory.create()
    batch = CancellationBatch.objects.create(
        requested_by=UserFactory.create(role="operator"),
        state="running",
        reason="duplicate",
        selection="1 ticked invoice",
    )
    attempt = CancellationAttempt.objects.create(
        batch=batch,
        invoice=invoice,
        account=invoice.account,
        state="queued",
        due_at=timezone.now(),
        frozen_status=invoice.status,
    )
    batch.accounts.add(invoice.account_id)
    a_step(attempt, "queued", from_state="draft")
    return attempt


def a_step(attempt: CancellationAttempt, to: str, **facts: Any) -> HistoryEvent:
    """An event of an attempt."""
    return HistoryEvent.objects.create(
        kind="attempt_state",
        account_id=attempt.account_id,
        batch_id=attempt.batch_id,
        attempt=attempt,
        invoice_id=attempt.invoice_id,
        to_state=to,
        **facts,
    )


def a_call(
    attempt: CancellationAttempt, number: int = 0, *, at: datetime | None = None
) -> ProviderRequest:
    """A request, what it was about, and its answer, each different from the next one's."""
    body = b'{"number": %d}' % number
    answer = b"\x00\xff answer %d" % number
    at = at or timezone.now()
    request = ProviderRequest.objects.create(
        account_id=attempt.account_id,
        created_at=at,
        purpose="cancel",
        method="POST",
        url=f"https://provider.example/invoices/{number}/cancel",
        headers=pack_headers([("Authorization", "[masked]"), ("X-Number", str(number))]),
        body=body,
        body_sha256=hashlib.sha256(body).hexdigest(),
    )
    CallSubject.objects.create(request=request, invoice_id=attempt.invoice_id, attempt=attempt)
    ProviderResponse.objects.create(
        request=request,
        received_at=at + timedelta(milliseconds=400 + number),
        sent=True,
        status=None if number % 3 == 2 else 200 + number,
        headers=pack_headers([("X-Request-Id", f"debug-{number}")]),
        body=answer,
        body_sha256=hashlib.sha256(answer).hexdigest(),
        complete=number % 3 != 2,
        fault="timeout" if number % 3 == 2 else "",
        detail="Zürich — \n ‘quoted’" if number % 2 else "",
        correlation_id=f"debug-{number}",
        duration_ms=400 + number,
    )
    return request


def a_purge(since: datetime | None = None, until: datetime | None = None) -> BodyPurge:
    """Bodies of a day, of which none was emptied here."""
    long_ago = timezone.now() - timedelta(days=1000)
    return BodyPurge.objects.create(
        since=since or long_ago,
        until=until or long_ago + timedelta(days=1),
        requests=3,
        answers=2,
        export_sha256="ab" * 32,
    )


def a_record(calls: int = 3) -> CancellationAttempt:
    """An attempt's story and a purge: some rows in each of the sealed tables."""
    attempt = an_attempt()
    for number in range(calls):
        a_call(attempt, number)
        a_step(attempt, "queued", detail=f"step {number}")
    a_purge()
    return attempt
