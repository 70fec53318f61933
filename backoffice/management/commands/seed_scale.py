"""`manage.py seed_scale`: a large, made-up database to measure Annul with."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from backoffice import seeding
from invoices.models import Invoice


class Command(BaseCommand):
    """Fills an empty database, and no other."""

    help = "Fills an empty database with made-up invoices and their record, to measure Annul."

    def add_arguments(self, parser: CommandParser) -> None:
        """How many."""
        parser.add_argument("--invoices", type=int, default=1_000_000, metavar="N")

    def handle(self, *args: Any, **options: Any) -> None:
        """Accounts, a person, invoices, batches, calls and history."""
        if options["invoices"] < 1:
            raise CommandError("--invoices needs a number above 0; nothing was written.")
        if Invoice.objects.exists():
            raise CommandError("This database holds invoices; only an empty one is filled.")
        self._began = time.monotonic()
        seeding.seed(range(options["invoices"]), self._tell)
        self._tell(options["invoices"])
        self.stdout.write("")

    def _tell(self, done: int) -> None:
        seconds = time.monotonic() - self._began
        self.stdout.write(f"\r{done:,} invoices, {seconds:,.0f} s", ending="")
        self.stdout.flush()
