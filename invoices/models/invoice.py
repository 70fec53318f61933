"""Our copy of a provider's invoice."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Upper
from django.utils import timezone

from invoices.search import searchable
from providers.adapters.base import RemoteInvoice
from providers.models import ProviderAccount
from providers.money import format_minor


class Invoice(models.Model):
    """Facts in our words, the provider's own word for the status beside ours.

    `amount_minor` and `balance_minor` are whole minor units of `currency`, which has `exponent`
    decimal places; null when the provider's amount cannot be represented exactly.
    """

    class Status(models.TextChoices):
        DRAFT = "draft", "Draft"
        SCHEDULED = "scheduled", "Scheduled"
        OPEN = "open", "Open"
        PARTIALLY_PAID = "partially_paid", "Partially paid"
        PAYMENT_PENDING = "payment_pending", "Payment pending"
        PAID = "paid", "Paid"
        REFUNDED = "refunded", "Refunded"
        WRITTEN_OFF = "written_off", "Written off"
        EXPIRED = "expired", "Expired"
        CANCELLED = "cancelled", "Cancelled"
        UNKNOWN = "unknown", "Unknown"

    account = models.ForeignKey(
        ProviderAccount, on_delete=models.PROTECT, related_name="invoices", db_index=False
    )
    external_id = models.CharField("provider id", max_length=64)
    number = models.CharField(max_length=150, blank=True)
    customer_name = models.CharField("customer", max_length=300, blank=True)
    customer_email = models.CharField("e-mail", max_length=254, blank=True)
    currency = models.CharField(max_length=12, blank=True)
    exponent = models.PositiveSmallIntegerField(default=2)
    amount_minor = models.BigIntegerField("amount", null=True)
    balance_minor = models.BigIntegerField("balance", null=True)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.UNKNOWN)
    provider_status = models.CharField("status at the provider", max_length=60, blank=True)
    issued_on = models.DateField("issued", null=True)
    due_on = models.DateField("due", null=True)
    synced_at = models.DateTimeField("last read", default=timezone.now)
    search_text = models.TextField(editable=False)

    class Meta:
        permissions: ClassVar = [
            ("cancel_invoice", "Can request the cancellation of invoices"),
            ("refresh_invoice", "Can read invoices anew from their provider"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["external_id", "account"], name="invoice_once_per_account"
            ),
            models.CheckConstraint(
                condition=models.Q(
                    status__in=[
                        "draft",
                        "scheduled",
                        "open",
                        "partially_paid",
                        "payment_pending",
                        "paid",
                        "refunded",
                        "written_off",
                        "expired",
                        "cancelled",
                        "unknown",
                    ]
                ),
                name="invoice_status_is_known",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["-issued_on", "-id"], name="invoice_by_date"),
            models.Index(
                fields=["account", "status", "-issued_on", "-id"], name="invoice_account_status"
            ),
            models.Index(fields=["status", "-issued_on", "-id"], name="invoice_by_status"),
            models.Index(fields=["account", "-issued_on", "-id"], name="invoice_by_account"),
            models.Index(fields=["number"], name="invoice_by_number"),
            models.Index(fields=["amount_minor"], name="invoice_by_amount"),
            models.Index(fields=["currency", "-issued_on", "-id"], name="invoice_by_currency"),
            models.Index(fields=["due_on"], name="invoice_by_due"),
            models.Index(
                fields=["due_on"],
                name="invoice_open_by_due",
                condition=models.Q(status="open"),
            ),
            models.Index(Upper("number"), name="invoice_by_upper_number"),
            models.Index(Upper("external_id"), name="invoice_by_upper_id"),
        ]

    def __str__(self) -> str:
        return self.number or self.external_id

    @property
    def is_overdue(self) -> bool:
        """Still open and past its due date."""
        return (
            self.status == self.Status.OPEN
            and self.due_on is not None
            and self.due_on < timezone.localdate()
        )

    @property
    def amount_text(self) -> str:
        """The amount with its currency, e.g. "1,240.00 USD"."""
        if self.amount_minor is None:
            return "not stated"
        return f"{format_minor(self.amount_minor, self.exponent)} {self.currency}"


REMOTE_FIELDS = (
    "number",
    "customer_name",
    "customer_email",
    "currency",
    "exponent",
    "amount_minor",
    "balance_minor",
    "status",
    "provider_status",
    "issued_on",
    "due_on",
)
"""What an invoice takes over from the provider."""


def remote_values(remote: RemoteInvoice) -> dict[str, object]:
    """The columns of an invoice by what the provider states, with the text to search by."""
    values: dict[str, object] = {name: getattr(remote, name) for name in REMOTE_FIELDS}
    values["status"] = str(remote.status)
    values["search_text"] = searchable(
        remote.number, remote.reference, remote.customer_name, remote.customer_email
    )
    return values


class InvoiceSnapshot(models.Model):
    """The provider's own JSON for an invoice, apart so that lists stay narrow."""

    invoice = models.OneToOneField(
        Invoice, on_delete=models.PROTECT, primary_key=True, related_name="snapshot"
    )
    raw = models.BinaryField()
    read_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"Snapshot of invoice {self.invoice_id}"
