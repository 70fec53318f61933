"""What two people decide about an attempt that no answer and no reading could settle."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from invoices.models.attempt import CancellationAttempt, State


class ReviewDecision(models.Model):
    """One person proposes how an attempt is to end and why; another one confirms or declines."""

    class Answer(models.TextChoices):
        OPEN = "open", "Waiting for a second person"
        CONFIRMED = "confirmed", "Confirmed"
        DECLINED = "declined", "Declined"
        TAKEN_BACK = "taken_back", "Taken back"
        OVERTAKEN = "overtaken", "Overtaken by a read"

    OUTCOMES = (
        State.CANCELLED,
        State.ALREADY_CANCELLED,
        State.REFUSED,
        State.FAILED,
        State.WITHDRAWN,
    )

    attempt = models.ForeignKey(
        CancellationAttempt, on_delete=models.PROTECT, related_name="review_decisions"
    )
    outcome = models.CharField(max_length=20, choices=[(one, one.label) for one in OUTCOMES])
    reason = models.TextField(max_length=1000)
    proposed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    proposed_at = models.DateTimeField(db_default=Now())
    answer = models.CharField(max_length=10, choices=Answer.choices, default=Answer.OPEN)
    answered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    answered_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "review decision"
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["attempt"],
                condition=Q(answer="open"),
                name="review_one_open_proposal_per_attempt",
            ),
            models.CheckConstraint(
                condition=~Q(answer="confirmed")
                | (Q(answered_by__isnull=False) & ~Q(answered_by=F("proposed_by"))),
                name="review_confirmed_by_another_person",
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="review_has_a_reason"),
        ]

    def __str__(self) -> str:
        return f"Decision {self.pk}"
