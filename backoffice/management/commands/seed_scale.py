"""`manage.py seed_scale`: a large, made-up database to measure Annul with."""

import time
from typing import Any

from django.contrib.auth.models import Group, User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from backoffice import seeding
from invoices.models import Invoice
from providers.adapters import ADAPTERS
from providers.models import ProviderAccount


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
        _accounts()
        seeding.seed(options["invoices"], _operator(), self._tell)
        with connection.cursor() as cursor:
            # Plans are made by these figures, and the first query must not wait for them.
            cursor.execute("ANALYZE")
        self._tell(options["invoices"])
        self.stdout.write("")

    def _tell(self, done: int) -> None:
        seconds = time.monotonic() - self._began
        self.stdout.write(f"\r{done:,} invoices, {seconds:,.0f} s", ending="")
        self.stdout.flush()


def _accounts() -> None:
    """One for each provider; without credentials, so that nothing can be sent for them."""
    for code, adapter in ADAPTERS.items():
        ProviderAccount.objects.get_or_create(
            name=f"scale-{code}",
            defaults={
                "provider": code,
                "environment": next(iter(adapter.environments)),
                "rate_per_second": 5.0,
            },
        )


def _operator() -> User:
    """Who is said to have asked for all of it; cannot sign in."""
    user, made = User.objects.get_or_create(username="scale-operator")
    if made:
        user.set_unusable_password()
        user.save()
        user.groups.add(Group.objects.get(name="operator"))
    return user
