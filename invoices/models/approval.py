"""From what on a batch needs a second person, and the batches that wait for one."""

from fractions import Fraction
from typing import ClassVar

from django.db import models

from invoices.models.batch import CancellationBatch
from providers.models import ProviderAccount
from providers.money import format_minor

LONGEST_DELAY = 24 * 60


class ApprovalRule(models.Model):
    """One limit from which on a batch needs an approver, in general or at one account."""

    class Measure(models.TextChoices):
        COUNT = "count", "Invoices in a batch"
        SINGLE = "single", "Amount of one invoice"
        TOTAL = "total", "Amounts of a batch together"
        DAY_COUNT = "day_count", "Invoices that one person asks for within 24 hours"
        DAY_TOTAL = "day_total", "Amounts that one person asks for within 24 hours"

    COUNTS = (Measure.COUNT, Measure.DAY_COUNT)
    AMOUNTS = (Measure.SINGLE, Measure.TOTAL, Measure.DAY_TOTAL)

    account = models.ForeignKey(
        ProviderAccount, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    measure = models.CharField(max_length=10, choices=Measure.choices)
    threshold = models.BigIntegerField(
        help_text="From so many invoices, or from so many minor units of the currency."
    )
    currency = models.CharField(max_length=12, blank=True)
    exponent = models.PositiveSmallIntegerField(default=0)
    delay_minutes = models.PositiveSmallIntegerField(
        default=0, help_text="Between approval and the first request, to recall the batch."
    )
    is_active = models.BooleanField(default=True)

    class Meta:
        verbose_name = "approval rule"
        ordering: ClassVar = ["-is_active", "account__name", "measure", "currency", "threshold"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(threshold__gte=0), name="rule_threshold_is_no_debt"
            ),
            models.CheckConstraint(
                condition=models.Q(measure__in=["count", "day_count"], currency="", exponent=0)
                | (models.Q(measure__in=["single", "total", "day_total"]) & ~models.Q(currency="")),
                name="rule_amount_has_a_currency",
            ),
        ]

    def __str__(self) -> str:
        return f"From {self.limit} {self._of_what()}{self.where}"

    @property
    def is_amount(self) -> bool:
        """Whether it limits amounts; otherwise it limits numbers of invoices."""
        return self.measure in self.AMOUNTS

    @property
    def amount(self) -> Fraction:
        """The limit as an exact amount of its currency."""
        return Fraction(self.threshold, 10**self.exponent)

    @property
    def limit(self) -> str:
        """The limit as people read it: "100 invoices" or "10,000.00 EUR"."""
        if self.is_amount:
            return f"{format_minor(self.threshold, self.exponent)} {self.currency}"
        return f"{self.threshold:,} invoice" + ("" if self.threshold == 1 else "s")

    @property
    def where(self) -> str:
        """The words that name its account, "" for all accounts."""
        return f" at {self.account}" if self.account else ""

    def in_words(self) -> str:
        """All of it, for the history."""
        delay = f", then {self.delay_minutes} min to recall" if self.delay_minutes else ""
        return f"{self}{delay}" + ("" if self.is_active else " (off)")

    def _of_what(self) -> str:
        return {
            self.Measure.COUNT: "in a batch",
            self.Measure.SINGLE: "for one invoice",
            self.Measure.TOTAL: "for a batch",
            self.Measure.DAY_COUNT: "that one person asks for within 24 hours",
            self.Measure.DAY_TOTAL: "that one person asks for within 24 hours",
        }[self.Measure(self.measure)]


class AwaitingBatch(CancellationBatch):
    """A batch that waits for an approver: the same rows, under a list of their own."""

    class Meta:
        proxy = True
        default_permissions = ()
        ordering: ClassVar = ["expires_at", "id"]
        verbose_name = "batch waiting for approval"
        verbose_name_plural = "batches waiting for approval"
