"""One person's request to cancel invoices: who, why, which, how, and how far it is."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

from django.conf import settings
from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from invoices.models.evidence import HistoryEvent
from providers.models import ProviderAccount

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class CancellationBatch(models.Model):
    """Its attempts are the frozen rows, over which `digest` is taken.

    One that needs approval runs only once another person has given it, which the database itself
    insists on. What is approved is `approval_digest`: the rows, the reason, note and options.
    """

    class State(models.TextChoices):
        DRAFT = "draft", "Draft"
        AWAITING_APPROVAL = "awaiting_approval", "Awaiting approval"
        RUNNING = "running", "Running"
        PAUSED = "paused", "Paused"
        STOPPING = "stopping", "Stopping"
        FINISHED = "finished", "Finished"
        REJECTED = "rejected", "Rejected"
        DISCARDED = "discarded", "Discarded"
        RECALLED = "recalled", "Recalled"
        EXPIRED = "expired", "Expired"

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
    accounts = models.ManyToManyField(
        ProviderAccount,
        related_name="+",
        help_text="Those of its invoices, noted when it was frozen: they decide who sees it.",
    )
    digest = models.CharField(max_length=64, blank=True)
    confirm_key = models.UUIDField(default=uuid4, unique=True)
    created_at = models.DateTimeField(db_default=Now())
    confirmed_at = models.DateTimeField(null=True)
    approved_at = models.DateTimeField(null=True)
    needs_approval = models.BooleanField(default=False)
    approval_reasons = models.JSONField(
        default=list, help_text="The rules by which it needs approval, in words."
    )
    approval_digest = models.CharField(max_length=64, blank=True)
    approval_key = models.UUIDField(null=True, unique=True)
    expires_at = models.DateTimeField(null=True, help_text="Until then it can be approved.")
    delay_minutes = models.PositiveSmallIntegerField(
        default=0, help_text="Between approval and the first request, to recall it."
    )
    starts_at = models.DateTimeField(
        null=True, help_text="Approved with a delay: nothing is sent before."
    )
    answer_note = models.TextField(
        max_length=2000, blank=True, help_text="What the approver said to it."
    )
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        help_text="Who rejected it, or recalled it before it began.",
    )
    finished_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "cancellation batch"
        verbose_name_plural = "cancellation batches"
        ordering: ClassVar = ["-id"]
        permissions: ClassVar = [
            ("control_cancellationbatch", "Can pause, resume, stop and retry own batches"),
            ("approve_cancellationbatch", "Can approve or reject batches of others"),
            ("recall_cancellationbatch", "Can recall batches of others before they start"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(approved_by__isnull=True) | ~Q(approved_by=F("requested_by")),
                name="batch_approver_is_another_person",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["running", "paused", "stopping", "finished"])
                | Q(needs_approval=False)
                | Q(approved_by__isnull=False, approved_at__isnull=False) & ~Q(approval_digest=""),
                name="batch_runs_approved_where_needed",
            ),
            models.CheckConstraint(
                condition=~Q(state="awaiting_approval")
                | Q(
                    needs_approval=True,
                    approved_by__isnull=True,
                    approval_key__isnull=False,
                    expires_at__isnull=False,
                )
                & ~Q(approval_digest=""),
                name="batch_awaits_something_definite",
            ),
            models.CheckConstraint(
                condition=~Q(state="rejected")
                | Q(ended_by__isnull=False) & ~Q(ended_by=F("requested_by")) & ~Q(answer_note=""),
                name="batch_rejected_by_another_with_a_note",
            ),
            models.CheckConstraint(
                condition=Q(
                    state__in=[
                        "draft",
                        "awaiting_approval",
                        "running",
                        "paused",
                        "stopping",
                        "finished",
                        "rejected",
                        "discarded",
                        "recalled",
                        "expired",
                    ]
                ),
                name="batch_state_is_known",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["draft", "discarded"]) | ~Q(reason=""),
                name="batch_has_a_reason_once_confirmed",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["state", "-id"], name="batch_by_state")]

    def __str__(self) -> str:
        return f"Batch {self.pk}"

    def move(
        self,
        actor: "User | None",
        expected: State,
        to: State,
        *,
        detail: str = "",
        **changes: Any,
    ) -> bool:
        """Take a step if the batch is still where it was, and record it; otherwise False.

        The caller has checked that the person may do so.
        """
        with transaction.atomic():
            waiting = CancellationBatch.objects.filter(pk=self.pk, state=expected)
            if not waiting.update(state=to, **changes):
                return False
            for name, value in {"state": to, **changes}.items():
                setattr(self, name, value)
            self.record(actor, expected, to, detail or str(changes.get("note", "")))
        return True

    def record(self, actor: "User | None", from_state: str, to: str, detail: str) -> None:
        """Put on record what became of it."""
        HistoryEvent.objects.create(
            kind=HistoryEvent.Kind.BATCH_STATE,
            actor=actor,
            batch_id=self.pk,
            from_state=from_state,
            to_state=to,
            code=self.reason,
            detail=detail[:500],
        )

    @property
    def is_delayed(self) -> bool:
        """Whether it is approved and its first request may not leave yet."""
        is_under_way = self.state in (self.State.RUNNING, self.State.PAUSED)
        return is_under_way and _lies_ahead(self.starts_at)

    @property
    def is_overdue(self) -> bool:
        """Whether nobody may approve it any more, although it still says that it waits."""
        waits = self.state == self.State.AWAITING_APPROVAL
        return waits and not _lies_ahead(self.expires_at)


def _lies_ahead(moment: datetime | None) -> bool:
    return moment is not None and moment > timezone.now()
