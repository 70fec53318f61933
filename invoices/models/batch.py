"""One person's request to cancel invoices: who, why, which, how, and how far it is."""

from typing import ClassVar
from uuid import uuid4

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class CancellationBatch(models.Model):
    """Its attempts are the frozen rows; `digest` is taken over them, the reason and options."""

    class State(models.TextChoices):
        DRAFT = "draft", "Draft"
        AWAITING_APPROVAL = "awaiting_approval", "Awaiting approval"
        RUNNING = "running", "Running"
        PAUSED = "paused", "Paused"
        STOPPING = "stopping", "Stopping"
        FINISHED = "finished", "Finished"
        REJECTED = "rejected", "Rejected"
        DISCARDED = "discarded", "Discarded"

    class Reason(models.TextChoices):
        DUPLICATE = "duplicate", "Duplicate invoice"
        WRONG_AMOUNT = "wrong_amount", "Wrong amount or tax"
        WRONG_CUSTOMER = "wrong_customer", "Wrong customer"
        CUSTOMER_REQUEST = "customer_request", "Customer's request"
        ORDER_CANCELLED = "order_cancelled", "Order cancelled"
        FRAUD = "fraud", "Suspected fraud"
        TEST = "test", "Issued by mistake or as a test"
        OTHER = "other", "Other (say why in the note)"

    state = models.CharField(max_length=20, choices=State.choices, default=State.DRAFT)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="requested_batches"
    )
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    reason = models.CharField(max_length=20, choices=Reason.choices, blank=True)
    note = models.TextField(max_length=2000, blank=True)
    options = models.JSONField(default=dict)
    selection = models.CharField(
        max_length=500, help_text="How the invoices were chosen, in plain words."
    )
    selected_count = models.PositiveIntegerField(default=0)
    digest = models.CharField(max_length=64, blank=True)
    confirm_key = models.UUIDField(default=uuid4, unique=True)
    created_at = models.DateTimeField(db_default=Now())
    confirmed_at = models.DateTimeField(null=True)
    approved_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "cancellation batch"
        verbose_name_plural = "cancellation batches"
        ordering: ClassVar = ["-id"]
        permissions: ClassVar = [
            ("control_cancellationbatch", "Can pause, resume, stop and retry own batches"),
            ("approve_cancellationbatch", "Can approve or reject batches of others"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(approved_by__isnull=True)
                | ~models.Q(approved_by=models.F("requested_by")),
                name="batch_approver_is_another_person",
            ),
            models.CheckConstraint(
                condition=models.Q(
                    state__in=[
                        "draft",
                        "awaiting_approval",
                        "running",
                        "paused",
                        "stopping",
                        "finished",
                        "rejected",
                        "discarded",
                    ]
                ),
                name="batch_state_is_known",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=["draft", "discarded"]) | ~models.Q(reason=""),
                name="batch_has_a_reason_once_confirmed",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["state", "-id"], name="batch_by_state")]

    def __str__(self) -> str:
        return f"Batch {self.pk}"
