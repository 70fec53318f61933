"""Ways to look at the list of invoices: views that somebody saved, and lists that were pasted."""

from typing import ClassVar
from uuid import UUID, uuid4

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models.functions import Now

from invoices.models.invoice import Invoice


class SavedView(models.Model):
    """A search with its filters and order under a name: for its owner, or for a role as well.

    `query` is a query string of the list. It narrows what its visitor may see and never widens it.
    """

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_views"
    )
    name = models.CharField(max_length=40)
    shared_with = models.ForeignKey(
        Group, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    query = models.CharField(max_length=1000)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        default_permissions = ()
        ordering: ClassVar = ["name", "pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["owner", "name"], name="view_name_once_per_owner"),
        ]

    def __str__(self) -> str:
        return self.name


class PastedList(models.Model):
    """Numbers and provider ids that one person pasted, and which invoices they meant.

    `entries` counts each once, `repeated` how often some came again. `unmatched` are those that
    nothing is called.
    """

    id: models.UUIDField[UUID, UUID] = models.UUIDField(
        primary_key=True, default=uuid4, editable=False
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="pasted_lists"
    )
    created_at = models.DateTimeField(db_default=Now(), db_index=True)
    entries = models.PositiveIntegerField()
    repeated = models.PositiveIntegerField()
    unmatched: models.JSONField[list[str], list[str]] = models.JSONField(default=list)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return "1 number" if self.entries == 1 else f"{self.entries:,} numbers"


class PastedEntry(models.Model):
    """An invoice that a pasted entry is called like; several for one entry are ambiguous."""

    pasted = models.ForeignKey(PastedList, on_delete=models.CASCADE, related_name="rows")
    invoice = models.ForeignKey(Invoice, on_delete=models.CASCADE, related_name="+")
    entry = models.CharField(max_length=150)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.entry
