"""What the pages are tested with: batches, attempts and calls at any point of their life."""

import hashlib
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from invoices import batches
from invoices.models import (
    CallSubject,
    CancellationAttempt,
    CancellationBatch,
    Heartbeat,
    HistoryEvent,
    Invoice,
    ProviderRequest,
    ProviderResponse,
)
from invoices.models.evidence import pack_headers
from providers.models import ProviderAccount
from tests.factories import InvoiceFactory, UserFactory

LIST = "/admin/invoices/invoice/"
BATCHES = "/admin/invoices/cancellationbatch/"
CALLS = "/admin/invoices/providerrequest/"
HISTORY = "/admin/invoices/historyevent/"
QUEUE = "/admin/invoices/cancellationattempt/"

XSS = """"><script>alert(1)</script><img src=x onerror=alert(1)>' onload='x"""


def login(client: Client, role: str, **facts: Any) -> User:
    """A person of this role at the browser."""
    user: User = UserFactory.create(role=role, **facts)
    client.force_login(user)
    return user


def text(client: Client, url: str, status: int = 200) -> str:
    """The page at an address, which must answer with this status."""
    answer = client.get(url)
    assert answer.status_code == status, (url, answer.status_code)
    return answer.content.decode()


def queries(client: Client, url: str) -> int:
    """How many queries a page takes."""
    with CaptureQueriesContext(connection) as made:
        text(client, url)
    return len(made)


def invoices(account: ProviderAccount, count: int, **facts: Any) -> list[Invoice]:
    """So many alike."""
    return [InvoiceFactory.create(account=account, **facts) for _ in range(count)]


def draft(user: User, *chosen: Invoice) -> CancellationBatch:
    """A frozen selection."""
    rows = Invoice.objects.filter(pk__in=[one.pk for one in chosen])
    return batches.freeze(user, rows, f"{len(chosen)} ticked invoices")


def form_of(batch: CancellationBatch, **changes: str) -> dict[str, str]:
    """The preview's form, filled in."""
    filled = {"digest": batch.digest, "key": str(batch.confirm_key), "reason": "duplicate"}
    return {**filled, "note": "", **changes}


def running(user: User, **facts: Any) -> CancellationBatch:
    """A batch that has been confirmed, without rows."""
    now = timezone.now()
    given = {"state": "running", "reason": "duplicate", "selection": "1 ticked invoice"}
    return CancellationBatch.objects.create(
        requested_by=user, confirmed_at=now, **{**given, **facts}
    )


def attempt(batch: CancellationBatch, invoice: Invoice, state: str, **facts: Any) -> Any:
    """A row of a batch in this state."""
    if state in ("queued", "unknown", "accepted"):
        facts.setdefault("due_at", timezone.now() + timedelta(minutes=1))
    if state == "cancelled":
        facts.setdefault("evidence", "answer")
    CancellationBatch.objects.filter(pk=batch.pk).update(selected_count=batch.attempts.count() + 1)
    batch.accounts.add(invoice.account_id)
    return CancellationAttempt.objects.create(
        batch=batch,
        invoice=invoice,
        account=invoice.account,
        state=state,
        frozen_status=invoice.status,
        frozen_amount_minor=invoice.amount_minor,
        frozen_currency=invoice.currency,
        frozen_exponent=invoice.exponent,
        frozen_customer=invoice.customer_name,
        **facts,
    )


def call(
    invoice: Invoice,
    made: Any = None,
    *,
    purpose: str = "cancel",
    status: int | None = 204,
    answered: bool = True,
    body: bytes = b"",
    **facts: Any,
) -> ProviderRequest:
    """A call about an invoice with its answer."""
    request = ProviderRequest.objects.create(
        account=invoice.account,
        purpose=purpose,
        method="POST" if purpose == "cancel" else "GET",
        url=f"https://provider.example/invoices/{invoice.external_id}/{purpose}",
        headers=pack_headers([("Authorization", "[masked 48 chars sha256:0b762ede]")]),
        body=b'{"send_to_recipient": false}',
        created_at=timezone.now(),
    )
    CallSubject.objects.create(request=request, invoice=invoice, attempt=made)
    if not answered:
        return request
    given = {"sent": True, "complete": True, "correlation_id": "debug-1", "duration_ms": 412}
    ProviderResponse.objects.create(
        request=request,
        status=status,
        headers=pack_headers([("Paypal-Debug-Id", "debug-1")]),
        body=body,
        body_sha256=hashlib.sha256(body).hexdigest(),
        **{**given, **facts},
    )
    return request


def event(made: Any, to: str, **facts: Any) -> HistoryEvent:
    """A step of an attempt in the history."""
    return HistoryEvent.objects.create(
        kind="attempt_state",
        account=made.account,
        batch=made.batch,
        attempt=made,
        invoice=made.invoice,
        to_state=to,
        at=timezone.now(),
        **facts,
    )


def a_worker_runs() -> None:
    """A sign of life, just now."""
    Heartbeat.objects.update_or_create(pk=1, defaults={"seen_at": timezone.now()})
