"""How an import asks: no faster than the account's rate, out of a drain's way, and again after a
lost answer. Reading changes nothing, so here, and nowhere else, a request may be repeated.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from django.db.models.functions import Now

from invoices.models.sync import SyncRun
from invoices.recorder import DirectRecorder
from providers.errors import NotSent, OutcomeUnknown
from providers.exchange import Answer, OutgoingRequest
from providers.http import Client
from providers.models import ProviderAccount

BEAT_SECONDS = 5.0
WAITS = (1.0, 4.0, 15.0)
"""Seconds before asking again; a provider that names a time is believed up to LONGEST_WAIT."""
LONGEST_WAIT = 60.0
BESIDE_A_DRAIN = 4.0
"""While cancellations are under way on the account, an import asks so many times less often."""
FOR_GOOD = frozenset({"bad_url", "bad_reference", "bad_setting"})


class Overtaken(Exception):
    """Another worker has taken this run over, or it was ended."""


class Turned(Exception):
    """The account may not be asked any more; the message says why."""


class Pulse:
    """Keeps a run's sign of life fresh, paces it, and notices when it has to end."""

    def __init__(self, run: SyncRun, account: ProviderAccount) -> None:
        self._mine = SyncRun.objects.filter(
            pk=run.pk, state=SyncRun.State.RUNNING, started_at=run.started_at
        )
        self._account = ProviderAccount.objects.filter(pk=account.pk)
        self._interval = 1 / account.rate_per_second
        self._slower = 1.0
        self._beat_at = self._next_at = 0.0

    def turn(self) -> None:
        """Wait until the next request may be made."""
        self.rest(self._next_at - time.monotonic())
        self._next_at = time.monotonic() + self._interval * self._slower

    def rest(self, seconds: float) -> None:
        """Wait so long, showing that we are alive."""
        until = time.monotonic() + seconds
        self._beat()
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, BEAT_SECONDS))
            self._beat()

    def _beat(self) -> None:
        if time.monotonic() < self._beat_at:
            return
        self._beat_at = time.monotonic() + BEAT_SECONDS
        if not self._mine.update(seen_at=Now()):
            raise Overtaken
        paused_at, draining = self._state()
        if paused_at is not None:
            raise Turned("The account was paused meanwhile.")
        self._slower = BESIDE_A_DRAIN if draining else 1.0

    def _state(self) -> tuple[datetime | None, bool]:
        paused_at = self._account.values_list("paused_at", flat=True).first()
        return paused_at, self._account.filter(lease_expires_at__gt=Now()).exists()


class PacedRecorder(DirectRecorder):
    """Records like any other, once it is this run's turn."""

    def __init__(self, account: ProviderAccount, invoices: dict[str, int], pulse: Pulse) -> None:
        super().__init__(account)
        # The very same mapping, even while it is empty: the import fills it as it goes.
        self._invoices = invoices
        self._pulse = pulse

    def before(self, request: OutgoingRequest) -> None:
        self._pulse.turn()
        super().before(request)


class PatientClient(Client):
    """Stands before an account's client and asks again after a fault or a "later"."""

    def __init__(self, client: Client, rest: Callable[[float], None]) -> None:
        # Not super(): everything is done by the client behind this one.
        self._behind = client
        self._rest = rest

    def send(self, method: str, path: str, **how: Any) -> Answer:
        for wait in WAITS:
            try:
                answer = self._behind.send(method, path, **how)
            except (NotSent, OutcomeUnknown) as error:
                if error.code in FOR_GOOD:
                    raise
                self._rest(wait)
                continue
            if answer.status != 429 and answer.status < 500:
                return answer
            self._rest(min(answer.retry_after or wait, LONGEST_WAIT))
        return self._behind.send(method, path, **how)

    def learn(self, secret: str) -> None:
        self._behind.learn(secret)

    def close(self) -> None:
        self._behind.close()


def groups(references: Sequence[str], size: int) -> list[Sequence[str]]:
    """The references in pieces of at most `size`."""
    return [references[at : at + size] for at in range(0, len(references), size)]
