"""The tables of the main job."""

from invoices.models.attempt import CancellationAttempt
from invoices.models.batch import CancellationBatch
from invoices.models.evidence import CallSubject, HistoryEvent, ProviderRequest, ProviderResponse
from invoices.models.heartbeat import Heartbeat
from invoices.models.invoice import Invoice, InvoiceSnapshot, remote_values
from invoices.models.review import ReviewDecision
from invoices.models.sync import SyncRun

__all__ = [
    "CallSubject",
    "CancellationAttempt",
    "CancellationBatch",
    "Heartbeat",
    "HistoryEvent",
    "Invoice",
    "InvoiceSnapshot",
    "ProviderRequest",
    "ProviderResponse",
    "ReviewDecision",
    "SyncRun",
    "remote_values",
]
