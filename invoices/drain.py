"""Working off one account's due attempts: the engine.

One drainer holds an account's lease. Its main thread does all that touches the database: it
claims due attempts, stores each request before it leaves, and writes what came of it. A pool of
threads (`calls.py`) does nothing but HTTP. What follows from what happened is decided in
`outcomes.py` and written by `settling.py`; `health.py` knows when the account is to be left alone.

A pipeline, not a barrier: claiming, storing and settling go on while calls are under way. No
transaction is open during a call.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import DatabaseError, close_old_connections

from invoices import batches, due, grouping, resting
from invoices.calls import Calls, Done, Intent, Job
from invoices.contention import is_contention
from invoices.failpoints import failpoint
from invoices.health import Health
from invoices.intents import put_on_record
from invoices.judging import differs_from_copy
from invoices.lease import Lease
from invoices.models.attempt import CancellationAttempt
from invoices.models.batch import CancellationBatch
from invoices.pacing import Rate
from invoices.recorder import refuse_inside_transaction
from invoices.settling import Settling
from providers.adapters.base import Adapter, Found
from providers.credentials import UnreadableCredentials
from providers.errors import NotSent
from providers.exchange import Exchange
from providers.models import ProviderAccount

log = logging.getLogger(__name__)

CLAIM = 256
"""Attempts taken in hand at once; a pause or stop of a batch takes effect within so many."""
AHEAD_SECONDS = 0.1
"""Requests are put on record ahead of a free slot, as many as the rate allows in this time."""
FRESH = timedelta(minutes=10)
"""A copy that is older is read again before a cancel, where one read covers one invoice."""
FLUSH_SECONDS = 0.1
LOOK_SECONDS = 0.25
LAST_CLAIM_SECONDS = 3.0
"""So long before its end a drain takes nothing new in hand, to have nothing to give back."""
LINGER_SECONDS = 2.5
"""What falls due so soon is waited for rather than left to the next drain."""


def run(account_id: int, seconds: float | None = None) -> bool:
    """Work off an account for so many seconds; True when something due is left over.

    Returns at once when another drainer holds the account. While it is paused, what a drain that
    is gone left behind is settled, and nothing is asked of the provider.
    """
    refuse_inside_transaction()
    lease = Lease(account_id, settings.DRAIN_LEASE_SECONDS)
    if not lease.acquire():
        return False
    try:
        failpoint("drain.after_lease")
        drain = Drain(ProviderAccount.objects.get(pk=account_id), lease)
        adapter = drain.connect()
        if adapter is None:
            drain.tidy()
            return False
        try:
            return drain.work(adapter, seconds or settings.DRAIN_SECONDS)
        finally:
            adapter.client.close()
    finally:
        failpoint("drain.before_release")
        lease.release()


class Drain:
    """One spell of work on one account, by the holder of its lease."""

    def __init__(
        self,
        account: ProviderAccount,
        lease: Lease,
        make_calls: Callable[[Lease, Rate], Calls] = Calls,
    ) -> None:
        self._account = account
        self._lease = lease
        burst = max(1.0, min(account.rate_per_second, 10.0))
        self._calls = make_calls(lease, Rate(account.rate_per_second, burst))
        self._health = Health(account, lease, self._calls)
        self._settling = Settling(account, lease)
        self._adapter: Adapter
        self._in_hand: set[int] = set()
        self._jobs = 0
        self._looked = 0.0
        self._nothing_due_until = 0.0
        self._finishing = False
        self._ends = self._last_claim = 0.0

    def connect(self) -> Adapter | None:
        """The account's adapter; None while it is paused, as it is when none can be had."""
        if self._account.is_paused:
            return None
        try:
            missing = self._account.missing_credentials()
            if missing:
                raise ValidationError(f"These credentials are missing: {', '.join(missing)}.")
            return self._account.connect(self._calls)
        except UnreadableCredentials as error:
            problem = f"The stored credentials cannot be read: {error}."
        except ValidationError as error:
            problem = " ".join(error.messages)
        resting.pause(self._account, "configuration", problem)
        return None

    def tidy(self) -> None:
        """What can be brought to an end without a call."""
        self._settling.settle_interrupted()
        stopping = CancellationBatch.objects.filter(state=CancellationBatch.State.STOPPING)
        mine = CancellationAttempt.objects.working().filter(account=self._account)
        for batch_id in stopping.filter(pk__in=mine.values("batch")).values_list("pk", flat=True):
            batches.finish_if_done(batch_id)

    def work(self, adapter: Adapter, seconds: float) -> bool:
        """Claim, store and settle until the time is over or nothing is due."""
        self.begin(adapter, seconds)
        try:
            while self.turn():
                pass
        finally:
            self.end()
        return self._is_more_due()

    # --- the loop -------------------------------------------------------------------------

    def begin(self, adapter: Adapter, seconds: float) -> None:
        """Settle what a drain that is gone left behind, and start the threads."""
        self._adapter = adapter
        self.tidy()
        self._ends = time.monotonic() + seconds
        self._last_claim = self._ends - min(LAST_CLAIM_SECONDS, seconds / 4)
        at_once = max(1, min(self._account.concurrency, 64))
        ahead = min(at_once, int(self._account.rate_per_second * AHEAD_SECONDS))
        self._calls.start(adapter, at_once, ahead)

    def turn(self) -> bool:
        """Once through the loop; False when there is nothing more to do."""
        if self._lease.is_due() and not self._lease.renew():
            self._calls.shut("lease_lost")
        self._look_around()
        if time.monotonic() >= self._ends:
            self._calls.shut("not_running")
        may_claim = not self._health.is_blocked and time.monotonic() < self._last_claim
        claimed = self._claim(self._adapter) if may_claim else 0
        idle = not claimed and not self._jobs and not self._settling.waiting
        if idle and not self._may_continue(self._ends):
            return False
        self._handle(self._calls.messages(0.02 if self._jobs else 0.0))
        if self._settling.is_due(FLUSH_SECONDS) or not self._jobs:
            self._settle()
        return True

    def end(self) -> None:
        """Let nothing new leave, and write what is still coming in."""
        self._calls.shut("not_running")
        self._calls.stop()
        self._finish()

    def _may_continue(self, ends: float) -> bool:
        """Nothing is under way: wait for what is due within this spell, or end it."""
        rest = self._health.rest
        if self._calls.is_shut and not rest:
            return False
        if rest.left > 0:
            if time.monotonic() + rest.left >= ends:
                return False
            time.sleep(min(rest.left, LOOK_SECONDS))
            return True
        if rest:
            self._health.wake()
            # Before anything leaves: was the account paused meanwhile?
            self._looked = 0.0
            return True
        if self._is_due_within(LINGER_SECONDS):
            time.sleep(LOOK_SECONDS / 5)
            return time.monotonic() < ends
        return False

    def _is_due_within(self, seconds: float) -> bool:
        soon = self._lease.now() + timedelta(seconds=seconds)
        return due.is_anything_due(self._account.pk, soon)

    def _look_around(self) -> None:
        """Now and then: may the account still be called?"""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            self._health.look()

    # --- taking work in hand ----------------------------------------------------------------

    def _claim(self, adapter: Adapter) -> int:
        """Hand due work to the threads; returns how many attempts were taken in hand."""
        appetite = self._appetite(adapter)
        if len(self._in_hand) > appetite // 2 or time.monotonic() < self._nothing_due_until:
            return 0
        if self._health.needs_probe:
            return self._probe()
        reads = due.reads(self._account.pk, self._in_hand, CLAIM)
        for group in grouping.grouped(reads, adapter.fetch_limit):
            self._submit(Job("read", group))
        claimed = self._claim_queued(appetite)
        self._send_or_check(adapter, claimed)
        if not reads and not claimed and self._jobs:
            self._nothing_due_until = time.monotonic() + LOOK_SECONDS
        return len(reads) + len(claimed)

    def _appetite(self, adapter: Adapter) -> int:
        """About as many attempts as can be worked off in five seconds."""
        in_five_seconds = int(self._account.rate_per_second * 5) * adapter.cancel_limit
        return max(self._account.concurrency * 2, min(CLAIM, in_five_seconds))

    def _probe(self) -> int:
        """The breaker was open: first see by a read whether the provider is back."""
        if self._jobs:
            return 0
        self._submit(Job("probe"))
        return 1

    def _claim_queued(self, most: int) -> list[CancellationAttempt]:
        return due.claim(self._account.pk, self._lease, self._in_hand, most)

    def _send_or_check(self, adapter: Adapter, claimed: Sequence[CancellationAttempt]) -> None:
        """Read again before the cancel where one read covers many, or our copy is not as frozen."""
        oldest = self._lease.now() - FRESH
        # One malformed id must not spoil a call about fifty invoices.
        sound = [one for one in claimed if adapter.accepts(one.invoice.external_id)]
        self._settling.turn_down(one for one in claimed if one not in sound)
        to_check = [
            attempt
            for attempt in sound
            if adapter.fetch_limit > 1
            or attempt.invoice.synced_at < oldest
            or differs_from_copy(attempt)
        ]
        for group in grouping.grouped(to_check, adapter.fetch_limit):
            self._submit(Job("precheck", group))
        checked = {attempt.pk for attempt in to_check}
        self._send(adapter, [one for one in sound if one.pk not in checked])

    def _send(self, adapter: Adapter, attempts: Iterable[CancellationAttempt]) -> None:
        for job in grouping.cancels(adapter, attempts):
            self._submit(job)

    def _submit(self, job: Job) -> None:
        self._in_hand.update(attempt.pk for attempt in job.attempts)
        self._jobs += 1
        self._calls.submit(job)

    # --- what comes back --------------------------------------------------------------------

    def _handle(self, messages: Sequence[Intent | Exchange | Done]) -> None:
        intents = [one for one in messages if isinstance(one, Intent)]
        if intents:
            self._store(intents)
        for message in messages:
            if isinstance(message, Exchange):
                failpoint("drain.before_record")
                self._settling.answered(message)
            elif isinstance(message, Done):
                self._take(message)

    def _take(self, done: Done) -> None:
        self._jobs -= 1
        try:
            self._health.note(done)
        except DatabaseError:
            # The answers that came in with this one are still to be taken in.
            log.exception("The account's rest could not be noted; nothing more is sent.")
            self._calls.shut("not_running")
        finally:
            self._calls.taken_in(done)
        job, result = done.job, done.result
        adapter = self._adapter
        if job.kind == "precheck" and isinstance(result, Found):
            good = self._settling.take_precheck(done, result)
            failpoint("drain.after_precheck")
            # No thread would make the call any more: they stay in hand, and are given back.
            self._send(adapter, () if self._finishing else good)
        elif job.kind != "probe":
            self._settling.take(done)

    # --- writing ------------------------------------------------------------------------------

    def _store(self, intents: Sequence[Intent]) -> None:
        """Put requests on record, all in one transaction, and only then let them go.

        A database that is gone stops the sending, and no more: answers are still to be taken in.
        """
        refusal = NotSent("not_running", "The request could not be put on record.")
        try:
            if not put_on_record(intents, self._account.pk, self._lease.token):
                for intent in intents:
                    put_on_record([intent], self._account.pk, self._lease.token)
        except DatabaseError:
            log.exception("Requests could not be put on record; nothing more is sent.")
            self._calls.shut("not_running")
        finally:
            # Whatever ended it: the drain does not wait for threads that wait for it.
            for intent in intents:
                if not intent.ready.is_set():
                    intent.settle(refusal)

    def _settle(self) -> None:
        """Write what came in; a database that is gone is given thirty seconds to come back."""
        for pause in (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, None):
            try:
                self._in_hand -= self._settling.flush()
                return
            except DatabaseError as error:
                if pause is None:
                    raise
                if is_contention(error):
                    continue
                log.exception("What came back could not be written; trying again.")
                self._calls.shut("not_running")
                time.sleep(pause)
                close_old_connections()

    def _finish(self) -> None:
        """Nothing new leaves: take in what is under way, and write it."""
        self._finishing = True
        gives_up = time.monotonic() + self._adapter.total_seconds + 10.0
        while self._jobs and time.monotonic() < gives_up:
            if self._lease.is_due():
                with suppress(DatabaseError):
                    self._lease.renew()
            self._handle(self._calls.messages(0.1))
        self._settle()
        failpoint("drain.before_give_back")
        self._settling.give_back(self._in_hand)

    def _is_more_due(self) -> bool:
        if self._health.rest or not self._lease.is_good():
            return False
        if ProviderAccount.objects.filter(pk=self._account.pk, paused_at__isnull=False).exists():
            return False
        return self._is_due_within(0.0)
