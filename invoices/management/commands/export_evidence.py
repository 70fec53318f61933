"""`manage.py export_evidence`: an evidence pack, into a file."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from invoices.packs import asking, exporting
from providers.models import ProviderAccount


class Command(BaseCommand):
    """Ends with status 1 if nothing was exported."""

    help = "Writes an evidence pack: a ZIP file with what is on record, and what proves it."

    def add_arguments(self, parser: CommandParser) -> None:
        """What it is about, and where to."""
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--invoice", metavar="ID", help="by its number in the database")
        what.add_argument("--batch", metavar="N")
        what.add_argument("--sample", metavar="N", help="so many invoices, drawn by --seed")
        parser.add_argument("--seed", default="", help="the same seed draws the same sample")
        parser.add_argument(
            "--from",
            dest="first",
            default="",
            metavar="DAY",
            help="all from this day (2026-01-31); of a sample, asked for from it",
        )
        parser.add_argument("--to", dest="last", default="", metavar="DAY")
        parser.add_argument("--account", default="", metavar="NAME")
        parser.add_argument("--output", required=True, type=Path, metavar="FILE")

    def handle(self, *args: Any, **options: Any) -> None:
        """Export, and say what came of it."""
        output: Path = options["output"]
        if output.exists():
            raise CommandError(f"{output} is there already. Nothing was exported.")
        try:
            made = exporting.export(asking.scope_of(_typed(options), None), None)
            exporting.write(made, output)
        except (asking.NotUnderstood, exporting.ExportRefused, OSError) as reason:
            raise CommandError(str(reason)) from None
        built = made.built
        self.stdout.write(f"{output}: {built.rows:,} sealed rows, {built.size:,} bytes.")
        self.stdout.write(f"SHA-256 of its manifest: {built.manifest_sha256}")
        if built.unsealed:
            self.stderr.write(f"{built.unsealed:,} rows are not sealed yet and not in it.")
        if built.tampered:
            raise CommandError("The record was tampered with; report.html says where.")


def _typed(options: dict[str, Any]) -> dict[str, str]:
    what = next((one for one in ("invoice", "batch", "sample") if options[one]), "span")
    return {
        "what": what,
        "key": str(options.get(what, "")),
        "size": str(options["sample"]),
        "seed": options["seed"],
        "from": options["first"],
        "to": options["last"],
        "account": _account(options["account"]),
    }


def _account(name: str) -> str:
    if not name:
        return ""
    account = ProviderAccount.objects.filter(name=name.replace("\0", "")).first()
    if account is None:
        raise CommandError(f"There is no account named {name!r}. Nothing was exported.")
    return str(account.pk)
