"""Import invoices in the foreground."""

from argparse import ArgumentTypeError
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from invoices import sync
from invoices.models import SyncRun
from invoices.terminal import ProgressLine
from providers.models import ProviderAccount


class Command(BaseCommand):
    """One account after the other; a failing one does not keep the others from being read."""

    help = (
        "Import invoices from their providers: of one account, or of all that are not paused."
        " Exit status 1 when any import failed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--account", metavar="NAME", help="Only this account.")
        parser.add_argument(
            "--since",
            type=_moment,
            metavar="ISO",
            help="Only what changed since, for providers that can tell; others list everything.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = _chosen(options["account"])
        failures = [one for one in chosen if not self._imported(one, options["since"])]
        if failures:
            raise CommandError(f"{len(failures)} of {len(chosen)} imports failed.")

    def _imported(self, account: ProviderAccount, since: datetime | None) -> bool:
        line = ProgressLine(self.stdout)
        try:
            run = sync.request(account, None, since)
        except sync.SyncRefused as refusal:
            self.stdout.write(f"{account}: {refusal}")
            return False
        try:
            sync.run(run.pk, lambda seen: line.show(f"{account}: {_counted(seen)}"))
        except KeyboardInterrupt:
            line.clear()
            raise CommandError(
                f"{account}: stopped by hand. What was read before is kept.", returncode=130
            ) from None
        line.clear()
        run.refresh_from_db()
        note = f" {run.error}" if run.error else ""
        self.stdout.write(f"{account}: {run.get_state_display().lower()}, {_counted(run)}.{note}")
        return run.state == SyncRun.State.FINISHED


def _chosen(name: str | None) -> list[ProviderAccount]:
    if name is None:
        accounts = list(ProviderAccount.objects.filter(paused_at=None))
        if not accounts:
            raise CommandError("There is no account to import from.")
        return accounts
    account = ProviderAccount.objects.filter(name=name.replace("\0", "")).first()
    if account is None:
        raise CommandError(f"There is no account named {name!a}.")
    return [account]


def _moment(text: str) -> datetime:
    try:
        moment = parse_datetime(text)
        day = parse_date(text) if moment is None else None
    except ValueError:
        moment = day = None
    if day is not None:
        moment = datetime(day.year, day.month, day.day)
    if moment is None:
        raise ArgumentTypeError("must be a date or a time such as 2026-11-20 or 2026-11-20T09:00Z")
    return timezone.make_aware(moment) if timezone.is_naive(moment) else moment


def _counted(run: SyncRun) -> str:
    return (
        f"{run.created:,} created, {run.updated:,} updated, "
        f"{run.unchanged:,} unchanged, {run.failed:,} failed"
    )
