"""The tables of the main job."""

from invoices.models.access import AccountAccess
from invoices.models.approval import ApprovalRule, AwaitingBatch
from invoices.models.attempt import CancellationAttempt
from invoices.models.batch import CancellationBatch
from invoices.models.evidence import CallSubject, HistoryEvent, ProviderRequest, ProviderResponse
from invoices.models.heartbeat import Heartbeat
from invoices.models.invoice import Invoice, InvoiceSnapshot, remote_values
from invoices.models.review import ReviewDecision
from invoices.models.seal import (
    BodyPurge,
    Checkpoint,
    EvidenceExport,
    Seal,
    SealerNote,
    SealTile,
)
from invoices.models.sync import SyncRun
from invoices.models.view import PastedEntry, PastedList, SavedView

__all__ = [
    "AccountAccess",
    "ApprovalRule",
    "AwaitingBatch",
    "BodyPurge",
    "CallSubject",
    "CancellationAttempt",
    "CancellationBatch",
    "Checkpoint",
    "EvidenceExport",
    "Heartbeat",
    "HistoryEvent",
    "Invoice",
    "InvoiceSnapshot",
    "PastedEntry",
    "PastedList",
    "ProviderRequest",
    "ProviderResponse",
    "ReviewDecision",
    "SavedView",
    "Seal",
    "SealTile",
    "SealerNote",
    "SyncRun",
    "remote_values",
]
