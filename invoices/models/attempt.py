"""The cancellation of one invoice within a batch; also the unit of work.

Its states and the ways between them are in `moves.py`, under whose names they are known here, too.
"""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from invoices.models.batch import CancellationBatch
from invoices.models.invoice import Invoice
from invoices.models.moves import (
    LEGAL,
    LIVE,
    UNVERIFIED,
    WORKING,
    AttemptQuerySet,
    IllegalMove,
    State,
    Step,
)
from providers.models import ProviderAccount

__all__ = [
    "LEGAL",
    "LIVE",
    "UNVERIFIED",
    "WORKING",
    "AttemptQuerySet",
    "CancellationAttempt",
    "IllegalMove",
    "State",
    "Step",
]

EVIDENCE = [
    ("answer", "The provider's answer"),
    ("read_back", "Reading it back"),
    ("person", "Two persons' decision"),
]
"""By what an attempt is known to be cancelled."""


class CancellationAttempt(models.Model):
    """One invoice of a batch: what was frozen, how far it is, and what is due when."""

    State = State

    # The composite indexes below begin with each of these.
    batch = models.ForeignKey(
        CancellationBatch, on_delete=models.PROTECT, related_name="attempts", db_index=False
    )
    invoice = models.ForeignKey(
        Invoice, on_delete=models.PROTECT, related_name="attempts", db_index=False
    )
    account = models.ForeignKey(
        ProviderAccount, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    state = models.CharField(max_length=20, choices=State.choices, default=State.DRAFT)
    code = models.CharField(max_length=40, blank=True)
    message = models.CharField(max_length=300, blank=True)
    evidence = models.CharField(max_length=10, blank=True, choices=EVIDENCE)
    moved_by = models.UUIDField(null=True, editable=False)

    frozen_status = models.CharField(max_length=16)
    frozen_amount_minor = models.BigIntegerField(null=True)
    frozen_currency = models.CharField(max_length=12, blank=True)
    frozen_exponent = models.PositiveSmallIntegerField(default=2)
    frozen_customer = models.CharField(max_length=300, blank=True)

    due_at = models.DateTimeField(null=True)
    lease_token = models.UUIDField(null=True, editable=False)
    sends = models.PositiveSmallIntegerField(
        default=0, help_text="Cancel requests that left, those turned away for credentials apart."
    )
    unsent = models.PositiveSmallIntegerField(
        default=0, help_text="Tries of which provably nothing left."
    )
    reads = models.PositiveSmallIntegerField(default=0, help_text="Reads in the present state.")
    doubted = models.BooleanField(
        default=False,
        help_text="Of some request of ours it was at one time not known whether it was done.",
    )
    alone = models.BooleanField(
        db_default=False,
        help_text="Refused together with others and without a reason, so it is sent by itself.",
    )
    settled_at = models.DateTimeField(
        null=True,
        help_text="Set while a request is in doubt: from then on a read shows whatever it did.",
    )
    verified_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    objects = AttemptQuerySet.as_manager()

    class Meta:
        verbose_name = "cancellation attempt"
        permissions: ClassVar = [
            ("review_cancellationattempt", "Can decide what needs review, with a second person"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["batch", "invoice"], name="attempt_once_per_batch"),
            models.UniqueConstraint(
                fields=["invoice"],
                condition=Q(
                    state__in=[
                        "queued",
                        "claimed",
                        "sending",
                        "unknown",
                        "accepted",
                        "needs_review",
                    ]
                ),
                name="attempt_one_live_per_invoice",
            ),
            models.CheckConstraint(
                condition=Q(
                    state__in=[
                        "draft",
                        "ineligible",
                        "queued",
                        "claimed",
                        "sending",
                        "unknown",
                        "accepted",
                        "cancelled",
                        "already_cancelled",
                        "refused",
                        "skipped",
                        "failed",
                        "withdrawn",
                        "needs_review",
                    ]
                ),
                name="attempt_state_is_known",
            ),
            models.CheckConstraint(
                condition=~Q(state="cancelled") | Q(evidence__in=["answer", "read_back", "person"]),
                name="attempt_cancelled_on_evidence",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["queued", "unknown", "accepted"]) | Q(due_at__isnull=False),
                name="attempt_unfinished_is_due",
            ),
        ]
        indexes: ClassVar = [
            # The id, too: else a page of a large batch would be looked for along all attempts.
            models.Index(fields=["batch", "state", "id"], name="attempt_by_outcome"),
            models.Index(
                fields=["account", "due_at", "id"],
                condition=Q(due_at__isnull=False),
                name="attempt_due",
            ),
            models.Index(
                fields=["account", "lease_token"],
                condition=Q(state__in=["claimed", "sending"]),
                name="attempt_in_hand",
            ),
            models.Index(fields=["invoice", "-id"], name="attempt_by_invoice"),
            models.Index(
                fields=["finished_at", "id"],
                condition=Q(state="needs_review"),
                name="attempt_parked",
            ),
            # What did not end as wished: few, and looked for by the list's filters.
            models.Index(
                fields=["state", "invoice"],
                condition=Q(
                    state__in=[
                        "unknown",
                        "refused",
                        "skipped",
                        "failed",
                        "withdrawn",
                        "needs_review",
                    ]
                ),
                name="attempt_in_trouble",
            ),
        ]

    def __str__(self) -> str:
        return f"Attempt {self.pk}"

    @property
    def is_unverified(self) -> bool:
        """As `UNVERIFIED`: the provider's word, still to be confirmed by a read."""
        by_provider = self.state == State.CANCELLED and self.evidence != "person"
        return by_provider and self.verified_at is None
