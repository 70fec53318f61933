"""`manage.py drain ACCOUNT`: work off one account here and now, without a queue or a worker."""

import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Count
from django.utils import timezone

from invoices import drain
from invoices.models import CancellationAttempt, HistoryEvent
from invoices.models.attempt import WORKING, AttemptQuerySet, State
from providers.models import ProviderAccount

PAUSE_SECONDS = 1.0


class Command(BaseCommand):
    """Says what it did, and what is left and when it is due."""

    help = "Works off one account's due cancellations and look-ups in this process."

    def add_arguments(self, parser: CommandParser) -> None:
        """Which account, and for how long."""
        parser.add_argument("account", help="the account's name")
        parser.add_argument(
            "--seconds",
            type=float,
            default=float(settings.DRAIN_SECONDS),
            help="how long to work (default: %(default)s)",
        )
        parser.add_argument(
            "--until-done",
            action="store_true",
            help="wait for what is due later, until every attempt has come to its end",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Work, and report."""
        account = self._account(options["account"])
        last = _last_event()
        started = time.monotonic()
        drain.run(account.pk, options["seconds"])
        while options["until_done"] and _is_left(account):
            self._refuse_if_paused(account)
            time.sleep(PAUSE_SECONDS)
            drain.run(account.pk, options["seconds"])
        self._report(account, last, time.monotonic() - started)
        self._refuse_if_paused(account)

    def _account(self, name: str) -> ProviderAccount:
        account = ProviderAccount.objects.filter(name=name).first()
        if account is None:
            known = ", ".join(ProviderAccount.objects.values_list("name", flat=True)) or "none yet"
            raise CommandError(f"There is no account {name!r}. Accounts: {known}.")
        self._refuse_if_paused(account)
        if account.lease_expires_at and account.lease_expires_at > timezone.now():
            self.stdout.write("A worker is at this account already; only one works at a time.")
        return account

    def _refuse_if_paused(self, account: ProviderAccount) -> None:
        account.refresh_from_db()
        if account.is_paused:
            reason = account.pause_reason or "no reason given"
            raise CommandError(f"{account} is paused ({reason}). Nothing more is sent.")

    def _report(self, account: ProviderAccount, last: int, seconds: float) -> None:
        done = _ended_since(account, last)
        self.stdout.write(
            f"{account}: {_in_words(done) or 'nothing came to its end'}, in {seconds:.1f} s"
        )
        left = dict(_left(account).values_list("state").annotate(Count("pk")).order_by())
        if left:
            self.stdout.write(f"still to do: {_in_words(left)}{self._next(account)}")

    def _next(self, account: ProviderAccount) -> str:
        due = _left(account).order_by("due_at").values_list("due_at", flat=True).first()
        return f"; next due at {timezone.localtime(due):%H:%M:%S %Z}" if due else ""


def _last_event() -> int:
    return HistoryEvent.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def _ended_since(account: ProviderAccount, last: int) -> dict[str, int]:
    """How many attempts came to which end after the event `last`."""
    ended = HistoryEvent.objects.filter(
        kind=HistoryEvent.Kind.ATTEMPT_STATE, account=account, pk__gt=last
    ).exclude(to_state__in=WORKING)
    return dict(ended.values_list("to_state").annotate(Count("pk")).order_by())


def _left(account: ProviderAccount) -> AttemptQuerySet:
    return CancellationAttempt.objects.filter(account=account).working()


def _is_left(account: ProviderAccount) -> bool:
    return bool(_left(account).exists())


def _in_words(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {State(state).label.lower()}" for state, count in counts.items())
