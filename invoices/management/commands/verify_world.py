"""`manage.py verify_world --provider-log FILE`: does our record agree with what a provider saw?"""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from invoices import verification


class Command(BaseCommand):
    """Looks only. Exit status 1 and a line for each thing that is wrong."""

    help = "Compare the database with the log of a sandbox: what must hold whatever happened."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--provider-log", type=Path, required=True, metavar="FILE")
        parser.add_argument(
            "--account", action="append", default=[], metavar="NAME", help="only this account"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            provider = verification.from_file(options["provider_log"], options["account"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CommandError(f"The log cannot be read: {error}", returncode=2) from None
        wrong = verification.violations(provider)
        for line in wrong:
            self.stdout.write(line)
        if wrong:
            raise CommandError(f"{len(wrong)} violations.", returncode=1)
        attempts, cancels = provider.attempts().count(), len(provider.cancels)
        self.stdout.write(
            f"All {len(verification.CHECKS)} invariants hold:"
            f" {attempts} attempts, {cancels} cancels that arrived."
        )
