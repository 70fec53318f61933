"""One run of reading an account's invoices, for its progress and its record."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from providers.models import ProviderAccount


class SyncRun(models.Model):
    """Reads all of an account's invoices, or those named in `external_ids`."""

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting for a worker"
        RUNNING = "running", "Running"
        FINISHED = "finished", "Finished"
        FAILED = "failed", "Failed"

    account = models.ForeignKey(ProviderAccount, on_delete=models.PROTECT, related_name="+")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    since = models.DateTimeField(null=True)
    external_ids = models.JSONField(null=True)
    created = models.PositiveIntegerField(default=0)
    updated = models.PositiveIntegerField(default=0)
    unchanged = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=500, blank=True)
    requested_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)
    seen_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "import"
        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        return f"Import {self.pk}"
