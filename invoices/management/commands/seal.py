"""`manage.py seal`: seal what is new on record now, instead of waiting for the worker."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from invoices.audit import checkpoints
from invoices.audit.sealing import AnotherSealer, one_round
from invoices.models import SealerNote


class Command(BaseCommand):
    """One round, over the whole margin of time."""

    help = "Seals what is new on record and makes a checkpoint; the worker does so by itself."

    def handle(self, *args: Any, **options: Any) -> None:
        """Seal, and say what came of it."""
        try:
            sealed = sum(one_round())
        except AnotherSealer:
            raise CommandError(
                "Another sealer is at work at this moment; nothing is lost."
            ) from None
        self.stdout.write(f"{sealed:,} rows were sealed.")
        if made := checkpoints.newest():
            self.stdout.write(f"Checkpoint {made.number} covers {made.count:,} rows.")
        for note in SealerNote.objects.exclude(trouble=""):
            self.stderr.write(note.trouble)
