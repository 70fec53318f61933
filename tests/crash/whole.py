"""A whole run: traffic and strikes for a while, then quiet, then what the invariants say."""

import bisect
import random
import re
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.models import Count, Q
from django.db.models.functions import Now

from invoices import verification
from invoices.models import (
    CancellationAttempt,
    CancellationBatch,
    HistoryEvent,
    ProviderRequest,
)
from invoices.models.attempt import WORKING
from providers.models import ProviderAccount
from tests.crash.database import Server
from tests.crash.site import Site
from tests.crash.strikes import Strike, Striker
from tests.crash.traffic import Traffic, prepare

SHOWN = 20
STORIES = 3
SOON = 5.0
ATTEMPT = re.compile(r"attempt (\d+)")


@dataclass(frozen=True)
class Plan:
    """How much, and for how long at most (seconds)."""

    seed: int
    kills: int
    invoices: int
    seconds: float
    pause: tuple[float, float]
    quiet_seconds: float = 150.0


@dataclass
class Outcome:
    """What came of it."""

    strikes: Counter[str] = field(default_factory=Counter)
    recoveries: dict[str, list[float]] = field(default_factory=dict)
    everywhere: dict[str, list[float]] = field(default_factory=dict)
    attempts: Counter[str] = field(default_factory=Counter)
    batches: int = 0
    by_web: int = 0
    orphans: int = 0
    died_at: Counter[str] = field(default_factory=Counter)
    quiet_after: float = 0.0
    paused: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    stories: list[str] = field(default_factory=list)

    def tell(self) -> None:
        """Print it."""
        print("seconds until the next attempt was settled at any, and at each of the accounts:")
        for kind, count in self.strikes.most_common():
            self._tell_kind(
                kind, count, self.recoveries.get(kind, []), self.everywhere.get(kind, [])
            )
        every = [*chain(*self.recoveries.values())], [*chain(*self.everywhere.values())]
        self._tell_kind("all", self.strikes.total(), *every)
        print(f"{self.batches} batches ({self.by_web} through the web), attempts by outcome:")
        for outcome, count in self.attempts.most_common():
            print(f"  {outcome:<32}{count:>6}")
        print(f"all at their end {self.quiet_after:.1f} s after the last strike")
        print(f"{self.died_at.total()} drains died at failpoints:")
        for name, count in self.died_at.most_common():
            print(f"  {name:<32}{count:>6}")
        if self.orphans:
            print(f"{self.orphans} clusters outlived their worker and had to be killed")
        for account in self.paused:
            print(f"paused meanwhile: {account}")
        for violation in self.violations[:SHOWN]:
            print(f"violated: {violation}")
        for line in self.stories:
            print(line)
        print(f"{len(self.violations)} violations")

    def _tell_kind(
        self, kind: str, count: int, anywhere: list[float], everywhere: list[float]
    ) -> None:
        print(f"  {kind:<10}{count:>4}   {_in_words(anywhere)}   {_in_words(everywhere)}")


class Run:
    """One run against a site whose sandbox answers already."""

    def __init__(self, plan: Plan, site: Site, server: Server, sandbox: str) -> None:
        self._plan = plan
        self._site = site
        self._dice = random.Random(plan.seed)
        self._striker = Striker(
            site, server, random.Random(plan.seed + 1), settings.DRAIN_LEASE_SECONDS
        )
        self._world = prepare(sandbox, self._dice)
        self._traffic = Traffic(self._world, site.origin, sandbox, random.Random(plan.seed + 2))
        self._outcome = Outcome()
        self._began = time.time()

    def play(self) -> Outcome:
        """From the first batch to the last look at the record."""
        self._site.start()
        self._traffic.start()
        try:
            self._strike()
        finally:
            self._traffic.stop()
            self._striker.thaw(all_of_them=True)
        self._wait()
        self._outcome.orphans = self._site.orphans()
        for name, by_itself in self._site.stop().items():
            if not by_itself:
                self._outcome.violations.append(f"{name} did not end when it was asked to")
        self._site.stop_sandbox()
        self._judge()
        return self._outcome

    def _strike(self) -> None:
        ends = time.monotonic() + self._plan.seconds
        while len(self._striker.strikes) < self._plan.kills and time.monotonic() < ends:
            self._pass(self._dice.uniform(*self._plan.pause))
            if self._striker.strike() and len(self._striker.strikes) % 20 == 0:
                print(f"  {len(self._striker.strikes)} strikes", flush=True)

    def _pass(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._site.keep()
            self._striker.thaw()
            time.sleep(0.1)

    def _wait(self) -> None:
        """Faults are off, and nothing is struck any more: everything must come to its end."""
        started = time.monotonic()
        # The server that it was opened to may have been crashed.
        connection.close()
        self._outcome.paused = [
            f"{one} ({one.pause_reason})"
            for one in ProviderAccount.objects.filter(paused_at__isnull=False)
        ]
        ProviderAccount.objects.update(paused_at=None)
        while self._is_left() and time.monotonic() - started < self._plan.quiet_seconds:
            self._pass(0.5)
        self._outcome.quiet_after = time.monotonic() - started

    def _is_left(self) -> bool:
        """Reads that failed often are hours apart; here it is as if those had passed."""
        try:
            left = CancellationAttempt.objects.filter(state__in=WORKING)
            left.filter(due_at__gt=Now() + timedelta(seconds=SOON)).update(due_at=Now())
            return bool(left.exists())
        except (DatabaseError, InterfaceError):
            connection.close()
            return True

    def _judge(self) -> None:
        outcome, strikes = self._outcome, self._striker.strikes
        outcome.strikes = Counter(one.kind for one in strikes)
        settled = _settled()
        outcome.recoveries = recoveries(strikes, [settled])
        by_account = [_settled(pk) for pk in ProviderAccount.objects.values_list("pk", flat=True)]
        outcome.everywhere = recoveries(strikes, by_account)
        outcome.batches = CancellationBatch.objects.exclude(state="draft").count()
        outcome.died_at = self._site.died_at()
        outcome.by_web = self._traffic.by_web
        for row in CancellationAttempt.objects.values("state", "evidence", "code").annotate(
            count=Count("pk")
        ):
            how = row["evidence"] or row["code"]
            outcome.attempts[f"{row['state']} {how}".strip()] += row["count"]
        whole = verification.from_file(self._site.sandbox_log)
        # The import before asked faster, as it was allowed to.
        log = [one for one in whole.log if one["wall"] >= self._began]
        provider = verification.Provider(log, whole.cancelled_by)
        outcome.violations += verification.violations(provider)
        outcome.violations += self._not_at_their_end()
        for entry in provider.cancels:
            touched = {(entry["account"], one) for one in entry["ids"]} & self._world.bystanders
            outcome.violations += [f"{one} was picked by nobody" for one in touched]
        named = {int(found) for one in outcome.violations for found in ATTEMPT.findall(one)}
        outcome.stories = [line for pk in sorted(named)[:STORIES] for line in story(pk, provider)]

    def _not_at_their_end(self) -> list[str]:
        left = CancellationAttempt.objects.filter(state__in=WORKING).select_related("account")
        running = CancellationBatch.objects.filter(state="running")
        return [
            *(
                f"attempt {one.pk} at {one.account} is still {one.state} ({one.code}),"
                f" due {one.due_at}"
                for one in left
            ),
            *(f"{one} does not finish" for one in running if not left.filter(batch=one).exists()),
        ]


def recoveries(
    strikes: Sequence[Strike], settled: Sequence[Sequence[float]]
) -> dict[str, list[float]]:
    """For each kind, how long it took each time until something had come to its end in each list.

    A strike after which some list has nothing more is left out.
    """
    found: dict[str, list[float]] = {}
    for strike in strikes:
        places = [bisect.bisect_right(times, strike.at) for times in settled]
        if all(place < len(times) for place, times in zip(places, settled, strict=True)):
            next_ones = [times[place] for place, times in zip(places, settled, strict=True)]
            found.setdefault(strike.kind, []).append(max(next_ones) - strike.at)
    return found


def story(pk: int, provider: verification.Provider) -> list[str]:
    """What happened to an attempt, by our record and by the provider's, in the order of time."""
    attempt = CancellationAttempt.objects.select_related("invoice", "account").get(pk=pk)
    reference, account = attempt.invoice.external_id, attempt.account.name
    told = [
        (one.at.timestamp(), f"we: {one.kind} {one.from_state} -> {one.to_state} {one.code}")
        for one in HistoryEvent.objects.filter(Q(attempt=attempt) | Q(invoice=attempt.invoice))
    ]
    for call in ProviderRequest.objects.filter(subjects__attempt=attempt).distinct():
        answer = getattr(call, "response", None)
        what = f"{answer.status} {answer.fault} sent={answer.sent}" if answer else "no answer"
        told.append((call.created_at.timestamp(), f"we: {call.purpose} {call.pk}: {what}"))
    for entry in provider.log:
        if entry["account"] == account and reference in entry["ids"]:
            what = f"{entry['kind']} {entry['request_id']} {entry['status']} {entry['fault']}"
            told.append((entry["wall"], f"they: {what} applied={reference in entry['applied']}"))
    told.sort()
    times = (time.strftime("%H:%M:%S", time.gmtime(at)) + f"{at % 1:.3f}"[1:] for at, _ in told)
    lines = [f"  {at} {what}" for at, (_, what) in zip(times, told, strict=True)]
    return [f"attempt {pk}, {reference} at {account}, {attempt.state} {attempt.code}", *lines]


def _settled(account: int | None = None) -> list[float]:
    events = HistoryEvent.objects.filter(kind=HistoryEvent.Kind.ATTEMPT_STATE)
    if account is not None:
        events = events.filter(account=account)
    ended = events.exclude(to_state__in=WORKING).exclude(from_state="draft")
    return sorted(at.timestamp() for at in ended.values_list("at", flat=True))


def _in_words(seconds: list[float]) -> str:
    if not seconds:
        return "-"
    return f"median {statistics.median(seconds):5.1f}, max {max(seconds):5.1f}"
