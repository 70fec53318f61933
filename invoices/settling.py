"""Collecting what came back from the provider, and writing it together.

Everything that arrived since the last flush is written by one transaction: answers, states with
their history, and what the provider now says of the invoices. What is decided about each attempt
is the affair of `judging.py`.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import Q

from invoices import batches, bulk, judging, outcomes, sync
from invoices.calls import Done
from invoices.failpoints import failpoint
from invoices.judging import IN_HAND, Verdict, settle_seconds
from invoices.lease import Lease
from invoices.models.attempt import LIVE, WORKING, CancellationAttempt, State, Step
from invoices.models.evidence import HistoryEvent, ProviderResponse
from invoices.models.invoice import Invoice
from invoices.recorder import response_row
from providers.adapters.base import Found, RemoteInvoice
from providers.exchange import Exchange
from providers.models import ProviderAccount


class Settling:
    """Collects what came back and writes it together."""

    def __init__(self, account: ProviderAccount, lease: Lease) -> None:
        self._account = account
        self._adapter = account.adapter_class
        self._lease = lease
        self._exchanges: list[Exchange] = []
        self._verdicts: list[Verdict] = []
        self._seen: list[tuple[Sequence[RemoteInvoice], datetime]] = []
        self._since = time.monotonic()

    @property
    def waiting(self) -> bool:
        """Whether something is still to be written."""
        return bool(self._exchanges or self._verdicts or self._seen)

    def is_due(self, seconds: float) -> bool:
        """Whether something has waited for so long."""
        return self.waiting and time.monotonic() - self._since >= seconds

    def answered(self, exchange: Exchange) -> None:
        """An answer, or a fault, of one request."""
        if not self.waiting:
            self._since = time.monotonic()
        self._exchanges.append(exchange)

    def take(self, done: Done) -> None:
        """A call that has ended: decide for each of its attempts."""
        if isinstance(done.result, Found):
            self._note_seen(done, done.result)
        now = self._lease.now()
        begun = now - self._age(done)
        for attempt in done.job.attempts:
            self._add(judging.judged(attempt, done, self._adapter, now, begun))

    def take_precheck(self, done: Done, found: Found) -> list[CancellationAttempt]:
        """The read before a cancel: decide, and return those that nothing speaks against."""
        self._note_seen(done, found)
        good, now = [], self._lease.now()
        for attempt in done.job.attempts:
            verdict = judging.ruled_out(attempt, done, found, self._adapter, now)
            if verdict is None:
                good.append(attempt)
            else:
                self._add(verdict)
        return good

    def turn_down(self, malformed: Iterable[CancellationAttempt]) -> None:
        """Attempts whose id does not have the provider's form: nothing is sent for them."""
        for attempt in malformed:
            self._add(judging.malformed(attempt))

    def settle_interrupted(self) -> None:
        """What a drain that is gone had in hand: unsent goes back, sent is in doubt."""
        self._give_up(~Q(lease_token=self._lease.token) | Q(lease_token=None))

    def give_back(self, ids: Iterable[int]) -> None:
        """At the end of a drain: attempts still claimed by us, of which nothing was sent."""
        self._give_up(Q(pk__in=list(ids), lease_token=self._lease.token, state=State.CLAIMED))

    def _give_up(self, condition: Q) -> None:
        in_hand = CancellationAttempt.objects.filter(
            condition, account=self._account, state__in=IN_HAND
        )
        for attempt in in_hand.select_related("batch"):
            self._add(judging.interrupted(attempt, self._lease.now()))
        self.flush()

    def flush(self) -> set[int]:
        """Write all; returns the ids of the attempts that are done with for now."""
        exchanges, verdicts, seen = self._exchanges, self._verdicts, self._seen
        if not self.waiting:
            return set()
        try:
            with transaction.atomic():
                self._write_answers(exchanges)
                failpoint("settling.after_answers")
                self._write_seen(seen)
                self._write_verdicts(self._ours(verdicts))
                failpoint("settling.before_flush_commits")
            failpoint("settling.after_flush")
        except Exception:
            # Whatever is wrong with the rest: an answer that is in must be kept.
            with suppress(DatabaseError):
                self._write_answers(exchanges)
            raise
        self._exchanges, self._verdicts, self._seen = [], [], []
        self._since = time.monotonic()
        for batch_id in {one.attempt.batch_id for one in verdicts}:
            batches.finish_if_done(batch_id)
        return {one.attempt.pk for one in verdicts}

    # --- collecting -----------------------------------------------------------------------------

    def _add(self, verdict: Verdict) -> None:
        if not self.waiting:
            self._since = time.monotonic()
        self._verdicts.append(verdict)

    def _note_seen(self, done: Done, found: Found) -> None:
        if not self.waiting:
            self._since = time.monotonic()
        # A read may be as far behind the truth as the provider's lag.
        taken = self._lease.now() - self._age(done) - timedelta(seconds=self._adapter.read_lag)
        self._seen.append((list(found.invoices.values()), taken))

    def _age(self, done: Done) -> timedelta:
        """How long ago a call was begun."""
        return timedelta(seconds=time.monotonic() - done.job.started)

    # --- writing --------------------------------------------------------------------------------

    def _write_answers(self, exchanges: Iterable[Exchange]) -> None:
        """Once each, also when the news of an earlier commit was lost on its way to us."""
        rows = {one.request_id: response_row(one) for one in exchanges}
        # Not left to the database to ignore: the record's triggers refuse a key that exists.
        kept = ProviderResponse.objects.filter(pk__in=list(rows)).values_list("pk", flat=True)
        for request_id in kept:
            del rows[request_id]
        bulk.insert(rows.values())

    def _ours(self, verdicts: list[Verdict]) -> list[Verdict]:
        """Without a lease only what carries its token: what was read is another drain's now."""
        if all(one.lease is not None for one in verdicts) or self._lease.is_held():
            return verdicts
        return [one for one in verdicts if one.lease is not None]

    def _write_seen(self, seen: Iterable[tuple[Sequence[RemoteInvoice], datetime]]) -> None:
        for remotes, taken in seen:
            sync.apply_remote(self._account.pk, remotes, taken)

    def _write_verdicts(self, verdicts: list[Verdict]) -> None:
        groups: dict[tuple[Any, ...], list[Verdict]] = defaultdict(list)
        for verdict in verdicts:
            decision = verdict.decision
            due = None if decision.due_in is None else round(decision.due_in, 1)
            key = (
                verdict.expected,
                verdict.lease,
                decision.to,
                decision.code,
                due,
                decision.evidence,
                decision.doubt,
                decision.alone,
                decision.verified,
                verdict.message,
                verdict.sends,
                verdict.unsent,
                verdict.reads,
            )
            groups[key].append(verdict)
        for group in groups.values():
            self._write_group(group)

    def _write_group(self, group: list[Verdict]) -> None:
        first, attempts = group[0], [one.attempt for one in group]
        changes = self._columns(first)
        if first.decision.to == first.expected:
            self._write_same(first, attempts, changes)
            return
        step = Step(
            first.expected,
            first.decision.to,
            code=first.decision.code,
            detail=first.message,
            changes=changes,
            lease=first.lease,
        )
        if first.expected not in LIVE and first.decision.to in LIVE:
            attempts = self._without_a_newer_one(attempts, first.expected)
        moved = CancellationAttempt.objects.move(attempts, step)
        if first.decision.to in (State.CANCELLED, State.ALREADY_CANCELLED):
            self._mark_cancelled([one for one in attempts if one.pk in moved])

    def _without_a_newer_one(
        self, attempts: list[CancellationAttempt], expected: State
    ) -> list[CancellationAttempt]:
        """Only one attempt may speak for an invoice; where a newer one does, look again later."""
        spoken_for = CancellationAttempt.objects.live().filter(
            invoice__in=[one.invoice_id for one in attempts]
        )
        taken = set(spoken_for.values_list("invoice_id", flat=True))
        later = self._lease.now() + timedelta(seconds=outcomes.DAY * settings.PACE)
        waiting = [one for one in attempts if one.invoice_id in taken]
        CancellationAttempt.objects.filter(state=expected).reschedule(waiting, due_at=later)
        return [one for one in attempts if one.invoice_id not in taken]

    def _write_same(
        self, first: Verdict, attempts: list[CancellationAttempt], changes: dict[str, Any]
    ) -> None:
        newly_verified = first.decision.verified and attempts[0].verified_at is None
        changes["code"] = first.decision.code
        CancellationAttempt.objects.filter(state=first.expected).reschedule(attempts, **changes)
        if newly_verified:
            bulk.insert(
                HistoryEvent(
                    kind=HistoryEvent.Kind.ATTEMPT_VERIFIED,
                    account_id=one.account_id,
                    batch_id=one.batch_id,
                    attempt_id=one.pk,
                    invoice_id=one.invoice_id,
                )
                for one in attempts
            )

    def _columns(self, verdict: Verdict) -> dict[str, Any]:
        decision, now = verdict.decision, self._lease.now()
        pace = settings.PACE
        changes: dict[str, Any] = {
            "message": verdict.message,
            "sends": verdict.sends,
            "unsent": verdict.unsent,
            "reads": verdict.reads,
            "lease_token": None,
            "due_at": None
            if decision.due_in is None
            else now + timedelta(seconds=decision.due_in * pace),
        }
        if decision.evidence:
            changes["evidence"] = decision.evidence
        if decision.doubt:
            changes["doubted"] = True
            changes["settled_at"] = now + timedelta(seconds=settle_seconds(self._adapter) * pace)
        elif decision.doubt is False:
            changes["settled_at"] = None
        if decision.alone:
            changes["alone"] = True
        if decision.verified:
            changes["verified_at"] = now
        if decision.to not in WORKING and decision.to != verdict.expected:
            changes["finished_at"] = now
        return changes

    def _mark_cancelled(self, attempts: list[CancellationAttempt]) -> None:
        """The provider said so: from now on the invoice reads cancelled here, too."""
        Invoice.objects.filter(pk__in=[one.invoice_id for one in attempts]).exclude(
            status=Invoice.Status.CANCELLED
        ).update(status=Invoice.Status.CANCELLED, synced_at=self._lease.now())
