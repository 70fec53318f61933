"""`manage.py verify_audit`: whether anybody changed the record since it was sealed."""

from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from invoices.audit import keys
from invoices.audit.findings import Report
from invoices.audit.verifying import verify
from invoices.models import HistoryEvent, SealerNote


class Command(BaseCommand):
    """Ends with status 1 if anything is wrong."""

    help = "Recomputes every seal and checkpoint of the record and names what was tampered with."

    def add_arguments(self, parser: CommandParser) -> None:
        """What to hold the database against."""
        parser.add_argument(
            "--checkpoints",
            metavar="FILE",
            help="a file of checkpoints that was kept apart (default: AUDIT_CHECKPOINTS)",
        )
        parser.add_argument(
            "--public-key",
            action="append",
            default=[],
            metavar="HEX",
            help="who may have signed, instead of the keys in the settings; may be repeated",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Verify, put it on record, and say what was found."""
        require_tables()
        file = self._file(options["checkpoints"])
        try:
            public = keys.public_keys(options["public_key"])
            report = verify(public, file)
        except (keys.BadPublicKey, OSError) as reason:
            raise CommandError(str(reason)) from None
        record(report)
        self.stdout.write(f"Public keys: {', '.join(map(keys.public_hex, public.values()))}")
        self.stdout.write("\n".join(report.told()))
        for note in SealerNote.objects.exclude(trouble=""):
            self.stderr.write(f"Since {note.trouble_since:%Y-%m-%d %H:%M} UTC: {note.trouble}")
        if not report.is_well:
            raise CommandError("The record is not as it was sealed.", returncode=1)

    def _file(self, given: str | None) -> Path | None:
        """What was named must be there; the usual one need not be on this machine."""
        usual = Path(settings.AUDIT_CHECKPOINTS)
        return Path(given) if given else usual if usual.is_file() else None


def require_tables() -> None:
    """Whoever names the wrong database is told so. Raises `CommandError`."""
    present = set(connection.introspection.table_names())
    for model in apps.get_app_config("invoices").get_models():
        if model._meta.db_table not in present:
            raise CommandError(
                f"There is no table {model._meta.db_table} here. Either DATABASE_URL names another "
                "database than Annul's, or the migrations have not run."
            )


def record(report: Report) -> None:
    """That somebody verified, and what came of it, becomes part of the record."""
    HistoryEvent.objects.create(
        kind=HistoryEvent.Kind.EVIDENCE_VERIFIED,
        code="well" if report.is_well else report.first.kind.value,
        detail=" ".join(report.told()[:1] if report.is_well else [report.first.sentence])[:500],
    )
