"""The record: what was sent, what came back, and what happened. Rows are only ever added."""

import json
from collections.abc import Iterable
from typing import Any, ClassVar, NoReturn

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from invoices import presence
from providers.identity import uuid7
from providers.models import ProviderAccount


class EvidenceIsFinal(Exception):
    """Somebody tried to change or delete a row of the record."""


class InsertOnlyQuerySet(models.QuerySet[Any]):
    """Reads and adds; refuses the rest."""

    def update(self, **kwargs: Any) -> NoReturn:
        raise EvidenceIsFinal("The record is never changed.")

    def delete(self) -> NoReturn:
        raise EvidenceIsFinal("The record is never deleted.")

    def bulk_update(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise EvidenceIsFinal("The record is never changed.")


class InsertOnly(models.Model):
    """A row that is added once and then stays as it is."""

    objects: ClassVar[models.Manager[Any]] = models.Manager.from_queryset(InsertOnlyQuerySet)()

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise EvidenceIsFinal("The record is never changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise EvidenceIsFinal("The record is never deleted.")


def pack_headers(pairs: Iterable[tuple[str, str]]) -> bytes:
    """Headers as they are stored: a JSON list of pairs in plain ASCII."""
    return json.dumps([list(pair) for pair in pairs]).encode()


def unpack_headers(stored: bytes) -> list[tuple[str, str]]:
    """The stored headers, in order."""
    return [(name, value) for name, value in json.loads(bytes(stored) or b"[]")]


class ProviderRequest(InsertOnly):
    """One HTTP request as it left, secrets masked. Stored before its first byte."""

    class Purpose(models.TextChoices):
        TOKEN = "token", "Sign in"
        CANCEL = "cancel", "Cancel"
        FETCH = "fetch", "Read"
        LIST = "list", "List"
        CHECK = "check", "Test connection"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(
        ProviderAccount, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(db_default=Now())
    purpose = models.CharField(max_length=8, choices=Purpose.choices)
    method = models.CharField(max_length=8)
    url = models.TextField()
    headers = models.BinaryField()
    body = models.BinaryField()
    body_sha256 = models.CharField(max_length=64)

    class Meta:
        verbose_name = "provider call"
        ordering: ClassVar = ["-id"]
        permissions: ClassVar = [
            ("view_payload", "Can read raw requests and answers"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["account", "-id"], name="request_by_account"),
            models.Index(fields=["created_at", "id"], name="request_by_time"),
            # Imports and checks would else be looked for among millions of cancellations and reads.
            models.Index(
                fields=["purpose", "-id"],
                name="request_by_rare_purpose",
                condition=~models.Q(purpose__in=("cancel", "fetch")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.method} {self.id}"


class ProviderResponse(InsertOnly):
    """How one request ended: the answer as it came, secrets masked, or the fault."""

    request = models.OneToOneField(
        ProviderRequest, on_delete=models.PROTECT, primary_key=True, related_name="response"
    )
    received_at = models.DateTimeField(db_default=Now())
    sent = models.BooleanField(
        help_text="False only when provably no byte of the request left this machine."
    )
    status = models.PositiveSmallIntegerField(null=True)
    headers = models.BinaryField()
    body = models.BinaryField()
    body_sha256 = models.CharField(max_length=64)
    complete = models.BooleanField()
    fault = models.CharField(max_length=32, blank=True)
    detail = models.CharField(max_length=500, blank=True)
    correlation_id = models.CharField(max_length=100, blank=True)
    duration_ms = models.PositiveIntegerField()

    class Meta:
        verbose_name = "provider answer"
        indexes: ClassVar = [
            models.Index(fields=["correlation_id"], name="response_by_correlation"),
            models.Index(fields=["status", "-request"], name="response_by_status"),
            models.Index(fields=["received_at", "request"], name="response_by_time"),
            models.Index(
                fields=["fault", "-request"],
                name="response_by_fault",
                condition=~models.Q(fault=""),
            ),
            models.Index(
                fields=["-request"], name="response_unsent", condition=models.Q(sent=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.status or self.fault} {self.request_id}"


class CallSubject(InsertOnly):
    """Which invoice, and which attempt if any, a request was about; one request may cover many."""

    request = models.ForeignKey(ProviderRequest, on_delete=models.PROTECT, related_name="subjects")
    invoice = models.ForeignKey(
        "invoices.Invoice",
        on_delete=models.PROTECT,
        related_name="call_subjects",
        db_index=False,
    )
    attempt = models.ForeignKey(
        "invoices.CancellationAttempt",
        on_delete=models.PROTECT,
        null=True,
        related_name="call_subjects",
        db_index=False,
    )

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["invoice", "-request"], name="subject_by_invoice"),
            # Drafts are deleted by the thousand, and for each the database looks for what is of it.
            models.Index(fields=["attempt"], name="subject_by_attempt"),
        ]

    def __str__(self) -> str:
        return f"{self.request_id} about invoice {self.invoice_id}"


class HistoryEvent(InsertOnly):
    """One thing that happened: who, what, from, to, why. No actor means Annul itself."""

    class Kind(models.TextChoices):
        ATTEMPT_STATE = "attempt_state", "Attempt"
        ATTEMPT_VERIFIED = "attempt_verified", "Cancellation verified"
        REVIEW_PROPOSED = "review_proposed", "Decision proposed"
        REVIEW_DECLINED = "review_declined", "Decision declined"
        REVIEW_TAKEN_BACK = "review_taken_back", "Decision taken back"
        REVIEW_OVERTAKEN = "review_overtaken", "Decision overtaken by a read"
        BATCH_STATE = "batch_state", "Batch"
        INVOICE_STATUS = "invoice_status", "Status at the provider"
        INVOICE_IMPORTED = "invoice_imported", "Imported"
        ACCOUNT_PAUSED = "account_paused", "Account paused"
        ACCOUNT_RESUMED = "account_resumed", "Account resumed"
        ACCOUNT_CHANGED = "account_changed", "Account changed"
        ACCOUNT_CHECKED = "account_checked", "Connection tested"
        SYNC_REQUESTED = "sync_requested", "Import requested"
        PAYLOAD_VIEWED = "payload_viewed", "Raw payload opened"
        EVIDENCE_EXPORTED = "evidence_exported", "Evidence exported"
        EVIDENCE_VERIFIED = "evidence_verified", "Evidence verified"
        EVIDENCE_PURGED = "evidence_purged", "Payloads purged"
        SIGNED_IN = "signed_in", "Signed in"
        SIGNED_OUT = "signed_out", "Signed out"
        SIGN_IN_FAILED = "sign_in_failed", "Sign-in failed"
        USER_CHANGED = "user_changed", "User changed"
        USER_LIMITED = "user_limited", "User limited to accounts"
        RULE_CHANGED = "rule_changed", "Approval rule changed"
        VIEW_CHANGED = "view_changed", "Saved view changed"
        LIST_PASTED = "list_pasted", "List of numbers pasted"

    at = models.DateTimeField(db_default=Now())
    kind = models.CharField(max_length=20, choices=Kind.choices)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
    )
    account = models.ForeignKey(
        ProviderAccount, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    batch = models.ForeignKey(
        "invoices.CancellationBatch",
        on_delete=models.PROTECT,
        null=True,
        related_name="events",
        db_index=False,
    )
    attempt = models.ForeignKey(
        "invoices.CancellationAttempt",
        on_delete=models.PROTECT,
        null=True,
        related_name="events",
        db_index=False,
    )
    invoice = models.ForeignKey(
        "invoices.Invoice",
        on_delete=models.PROTECT,
        null=True,
        related_name="events",
        db_index=False,
    )
    from_state = models.CharField(max_length=20, blank=True)
    to_state = models.CharField(max_length=20, blank=True)
    code = models.CharField(max_length=40, blank=True)
    detail = models.CharField(max_length=500, blank=True)
    address = models.CharField(
        max_length=45,
        blank=True,
        default=presence.address,
        help_text="From which network address a person did it.",
    )

    class Meta:
        verbose_name = "history event"
        verbose_name_plural = "history"
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            models.Index(fields=["invoice", "-id"], name="event_by_invoice"),
            models.Index(fields=["batch", "-id"], name="event_by_batch"),
            models.Index(fields=["attempt"], name="event_by_attempt"),
            models.Index(fields=["account", "-id"], name="event_by_account"),
            models.Index(fields=["at", "id"], name="event_by_time"),
            # What persons did, and what happens seldom, would else be looked for among millions.
            models.Index(
                fields=["actor", "-id"],
                name="event_by_actor",
                condition=models.Q(actor__isnull=False),
            ),
            models.Index(
                fields=["kind", "-id"],
                name="event_by_rare_kind",
                condition=~models.Q(kind__in=("attempt_state", "attempt_verified")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.from_state} {self.to_state}".strip()
