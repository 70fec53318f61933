"""Seals over the record: proof that no row was changed, removed or slipped in since.

`invoices/audit/` says how they come about and how they are verified.
"""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from invoices.models.evidence import HistoryEvent, InsertOnly


class Seal(InsertOnly):
    """One row of the record, sealed. Numbers begin at 1 and have no gap."""

    number = models.BigIntegerField(primary_key=True)
    layout = models.PositiveSmallIntegerField()
    key = models.CharField(max_length=32)
    digest = models.BinaryField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["layout", "key"], name="seal_once_per_row"),
        ]

    def __str__(self) -> str:
        return f"Seal {self.number}"


class SealTile(InsertOnly):
    """The Merkle root over 1024 seals: tile 0 spans the numbers 1 to 1024."""

    number = models.BigIntegerField(primary_key=True)
    root = models.BinaryField()

    def __str__(self) -> str:
        return f"Tile {self.number}"


class Checkpoint(InsertOnly):
    """A signed statement of how many seals there are and what their Merkle root is.

    `made_at`: everything that was on record at that time is sealed by it.
    """

    number = models.BigIntegerField(primary_key=True)
    count = models.BigIntegerField()
    root = models.BinaryField()
    previous = models.BinaryField()
    made_at = models.DateTimeField()
    key_id = models.CharField(max_length=16)
    signature = models.BinaryField()

    def __str__(self) -> str:
        return f"Checkpoint {self.number}"


class BodyPurge(InsertOnly):
    """Bodies of requests made, and answers received, in [since, until) may have been emptied.

    Written, in the same transaction, by whoever empties them; sealed like the rest of the record.
    """

    at = models.DateTimeField(db_default=Now())
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
    )
    since = models.DateTimeField()
    until = models.DateTimeField()
    requests = models.BigIntegerField()
    answers = models.BigIntegerField()
    export_sha256 = models.CharField(
        max_length=64, blank=True, help_text="Of the export that was verified before."
    )

    def __str__(self) -> str:
        return f"Purge {self.pk}"


class SealerNote(models.Model):
    """What sealers on any machine tell one another. One row; no part of the record."""

    mailed_at = models.DateTimeField(null=True)
    trouble = models.CharField(max_length=300, blank=True)
    trouble_since = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.trouble or "no trouble"


class EvidenceExport(HistoryEvent):
    """An evidence pack that somebody asked for: the same rows, under a list of their own."""

    class Meta:
        proxy = True
        default_permissions = ()
        ordering: ClassVar = ["-id"]
        verbose_name = "evidence export"
        verbose_name_plural = "evidence"
        permissions: ClassVar = [
            ("export_evidence", "Can export evidence packs, raw requests and answers included"),
        ]
