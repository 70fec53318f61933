"""Bringing our copies up to date by what a provider stated: imports and drains both end here.

Rows are created or updated, never deleted, and never replaced by what was read earlier than what
they already show. The number of statements does not grow with every row.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from invoices import bulk
from invoices.models.attempt import CancellationAttempt, State
from invoices.models.evidence import HistoryEvent
from invoices.models.invoice import REMOTE_FIELDS, Invoice, InvoiceSnapshot, remote_values
from providers.adapters.base import RemoteInvoice, Status

COPIED = (*REMOTE_FIELDS, "search_text")


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the invoices that were read; `failed` made no sense or were not there."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    failed: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.created + other.created,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
            self.failed + other.failed,
        )

    @property
    def total(self) -> int:
        """All that were read."""
        return self.created + self.updated + self.unchanged + self.failed


def apply_remote(account_id: int, remotes: Sequence[RemoteInvoice], read_at: datetime) -> Counts:
    """Store what the provider stated at `read_at`, the moment before it was asked.

    Works within the caller's transaction or else in one of its own, and may be repeated. A row
    that shows a later read stays as it is and counts as unchanged. Meant for up to some hundred
    invoices at a time; of two with the same reference the last one counts.
    """
    stated = {remote.reference: remote for remote in remotes}
    if not stated:
        return Counts()
    with transaction.atomic(savepoint=False):
        held = _held(account_id, stated)
        fresh = [
            remote
            for reference, remote in stated.items()
            if reference not in held or held[reference].synced_at <= read_at
        ]
        changed = [remote for remote in fresh if _differs(held.get(remote.reference), remote)]
        ids = {one.external_id: one.pk for one in held.values()}
        ids |= _write(account_id, changed, read_at)
        _mark_read(fresh, changed, ids, read_at)
        _keep_raw(fresh, ids, read_at)
        _record(account_id, changed, held, ids)
    created = sum(reference not in held for reference in stated)
    return Counts(created, len(changed) - created, len(stated) - len(changed))


def _held(account_id: int, stated: Mapping[str, RemoteInvoice]) -> dict[str, Invoice]:
    """Our rows, locked in one order whoever asks, so that two callers never wait for each other."""
    rows = Invoice.objects.filter(account_id=account_id, external_id__in=list(stated))
    return {row.external_id: row for row in rows.order_by("pk").select_for_update(no_key=True)}


def _differs(row: Invoice | None, remote: RemoteInvoice) -> bool:
    if row is None:
        return True
    return any(getattr(row, name) != value for name, value in remote_values(remote).items())


def _write(account_id: int, remotes: Sequence[RemoteInvoice], read_at: datetime) -> dict[str, int]:
    """Insert or update; returns the ids by reference."""
    rows = Invoice.objects.bulk_create(
        [
            Invoice(
                account_id=account_id,
                external_id=remote.reference,
                synced_at=read_at,
                **remote_values(remote),
            )
            for remote in remotes
        ],
        update_conflicts=True,
        unique_fields=["external_id", "account"],
        update_fields=[*COPIED, "synced_at"],
    )
    return {row.external_id: row.pk for row in rows}


def _mark_read(
    fresh: Sequence[RemoteInvoice],
    changed: Sequence[RemoteInvoice],
    ids: Mapping[str, int],
    read_at: datetime,
) -> None:
    """What was read and found the same is as fresh as what changed."""
    same = {one.reference for one in fresh} - {one.reference for one in changed}
    if same:
        rows = Invoice.objects.filter(pk__in=[ids[reference] for reference in same])
        rows.update(synced_at=read_at)


def _keep_raw(remotes: Sequence[RemoteInvoice], ids: Mapping[str, int], read_at: datetime) -> None:
    InvoiceSnapshot.objects.bulk_create(
        [
            InvoiceSnapshot(invoice_id=ids[one.reference], raw=_raw(one), read_at=read_at)
            for one in remotes
        ],
        update_conflicts=True,
        unique_fields=["invoice"],
        update_fields=["raw", "read_at"],
    )


def _raw(remote: RemoteInvoice) -> bytes:
    try:
        text = json.dumps(remote.raw, ensure_ascii=False)
    except RecursionError:
        # The answer itself is kept with the call; this is only the copy beside the invoice.
        return b""
    # A lone surrogate becomes its JSON escape.
    return text.encode("utf-8", "backslashreplace")


def _record(
    account_id: int,
    remotes: Sequence[RemoteInvoice],
    held: Mapping[str, Invoice],
    ids: Mapping[str, int],
) -> None:
    """An event for each invoice that we knew and whose status is another now.

    What is cancelled although our last request for it was refused is told with that attempt.
    """
    refused = _refused([ids[one.reference] for one in remotes if one.status is Status.CANCELLED])
    bulk.insert(
        HistoryEvent(
            kind=HistoryEvent.Kind.INVOICE_STATUS,
            account_id=account_id,
            invoice_id=ids[remote.reference],
            from_state=held[remote.reference].status,
            to_state=str(remote.status),
            detail=f"The provider states {remote.provider_status or 'no status'}.",
            **refused.get(ids[remote.reference], {}),
        )
        for remote in remotes
        if remote.reference in held and held[remote.reference].status != str(remote.status)
    )


def _refused(invoice_ids: Sequence[int]) -> Mapping[int, Mapping[str, Any]]:
    """By invoice, what to say of its last attempt where the provider said no to that one."""
    if not invoice_ids:
        return {}
    rows = CancellationAttempt.objects.filter(invoice__in=invoice_ids, sends__gt=0).order_by("pk")
    last = {row.invoice_id: row for row in rows.only("invoice_id", "batch_id", "state")}
    return {
        invoice_id: {"attempt_id": row.pk, "batch_id": row.batch_id, "code": "contradicted"}
        for invoice_id, row in last.items()
        if row.state == State.REFUSED
    }
