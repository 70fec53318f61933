"""`manage.py retain`: export and then empty bodies that are older than they have to be kept."""

import re
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from invoices import retention
from invoices.packs.exporting import ExportRefused, seal

AGE = re.compile(r"(\d{1,3})([my])")
MONTHS = {"m": 1, "y": 12}


class Command(BaseCommand):
    """A dry run, unless --yes is given. Ends with status 1 if a month could not be purged."""

    help = (
        "Exports closed months, verifies the exports, then purges the bodies of their requests and"
        " answers. Their SHA-256 stays, so that the record still verifies."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """How old, and where to."""
        parser.add_argument("--older-than", required=True, metavar="24m", help="months, or 2y")
        parser.add_argument("--export", type=Path, metavar="DIR", help="needed with --yes")
        parser.add_argument("--yes", action="store_true", help="do it, instead of saying it")

    def handle(self, *args: Any, **options: Any) -> None:
        """Say what is due, and with --yes do it."""
        try:
            months = retention.due(_months(options["older_than"]))
        except retention.RetentionRefused as reason:
            raise CommandError(f"{reason} Nothing was purged.") from None
        for month in months:
            bodies = month.requests + month.answers
            self.stdout.write(f"{month}: {bodies:,} bodies, {month.size:,} bytes")
        if not months:
            self.stdout.write("No bodies are as old as that.")
        elif not options["yes"]:
            self.stdout.write("This was a dry run. With --yes they are exported, then purged.")
        else:
            self._purge(months, options["export"])

    def _purge(self, months: list[retention.Month], folder: Path | None) -> None:
        if folder is None or not folder.is_dir():
            raise CommandError("Name a folder by --export. Nothing was purged.")
        for month in months:
            try:
                path, made = retention.purge(month, folder)
            except (retention.RetentionRefused, ExportRefused, OSError) as reason:
                raise CommandError(f"{month}: {reason}") from None
            self.stdout.write(
                f"{month}: exported to {path}, verified; {made.requests:,} requests and"
                f" {made.answers:,} answers were purged."
            )
        seal(retention.SEAL_SECONDS)


def _months(text: str) -> int:
    found = AGE.fullmatch(text.strip())
    if found is None:
        raise CommandError(f"{text!r} is no age; write 24m or 2y. Nothing was purged.")
    return int(found[1]) * MONTHS[found[2]]
