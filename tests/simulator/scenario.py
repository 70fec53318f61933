"""One scenario: a batch, a seed that chooses what happens to it, and how it must end."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from django.contrib.auth.models import User
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.models.functions import Now

from invoices import batches, sync, waking
from invoices.lease import Lease
from invoices.models import CancellationAttempt, CancellationBatch, Invoice
from invoices.models.attempt import WORKING
from providers.exchange import OutgoingRequest
from providers.models import ProviderAccount
from tests.simulator.adapters import remote_invoice
from tests.simulator.checks import Checks, Violation
from tests.simulator.clock import Clock
from tests.simulator.flights import LOST, UNSENT, Flight, Flights
from tests.simulator.process import Process, Stage, Strike
from tests.simulator.provider import GONE, LIES, TURNED_AWAY, Act, FakeProvider, Plan

SERVER_ERRORS = ("500", "502", "503", "504", "408", "302")
WORLD = ("paid", "cancelled", "cancelled", "gone", "partially_paid", "payment_pending", "open")
SLEEPS = ((5.0, 60.0), (115.0, 140.0), (115.0, 300.0), (115.0, 5000.0))
JUMPS = (0.3, 2.0, 6.0, 35.0, 130.0, 240.0, 700.0, 4000.0)
ACTS: Sequence[Act] = ("now", "later", "never")
BLOWS: Sequence[str] = ("kill", "freeze", "database", "commit", "sleep", "now")
STRUCK: Mapping[str, str] = {
    "kill": "process killed",
    "freeze": "process frozen",
    "database": "process without its database",
    "commit": "process without the news of its commit",
}
ATTEMPTS = CancellationAttempt._meta.db_table
MOST_ROUNDS = 120
AMOUNT = 12_345


@dataclass(frozen=True)
class Temper:
    """How bad things get in a scenario, each as a chance."""

    fault: float
    process: float
    world: float
    person: float
    time: float
    blows: Sequence[str] = BLOWS

    @classmethod
    def rolled(cls, dice: random.Random) -> "Temper":
        """Some are calm, some are wild, most have one kind of trouble more than another."""
        if dice.random() < 0.15:
            return TAKEOVERS
        return cls(
            fault=dice.choice((0.0, 0.3, 0.6, 0.9)),
            process=dice.choice((0.0, 0.1, 0.4)),
            world=dice.choice((0.0, 0.1, 0.3)),
            person=dice.choice((0.0, 0.0, 0.1, 0.3)),
            time=dice.choice((0.02, 0.1, 0.3)),
        )


TAKEOVERS = Temper(0.3, 0.8, 0.05, 0.0, 0.2, blows=("sleep", "sleep", "sleep", "freeze"))
"""Drains stand still for about as long as their lease lasts, and find another in their place."""


class Scenario:
    """Everything of one seed; also the world that its drains live in."""

    def __init__(
        self, seed: int, clock: Clock, dice: random.Random, people: Sequence[User]
    ) -> None:
        self.clock = clock
        self.dice = dice
        self.trace: list[str] = []
        self.seen: Counter[str] = Counter()
        self._people = people
        self._temper = Temper.rolled(dice)
        accounts = list(ProviderAccount.objects.order_by("pk"))
        self._account = accounts[seed % len(accounts)]
        self.provider = FakeProvider(self._account.name, self._account.adapter_class, clock, dice)
        self._checks = Checks(self._account.pk, self.provider, clock)
        self._processes: list[Process] = []
        self._running: list[Process] = []
        self._calm = self._honest_now = False
        self._changed = True
        self._seen_applied = 0
        self._named = 0

    def run(self) -> None:
        """From the confirmation to the end. Raises `Violation`."""
        with connection.execute_wrapper(self._on_statement), self._commits_noticed():
            self._prepare()
            for _ in range(self.dice.randint(15, 60)):
                self.clock.now += self.dice.uniform(0.001, 0.05)
                self._something_happens(depth=0)
            self._end_well()
            self._checks.whole_record()

    def outcomes(self) -> list[str]:
        """State and evidence of each attempt."""
        rows = CancellationAttempt.objects.values_list("state", "evidence")
        return [f"{state} {evidence}".strip() for state, evidence in rows]

    # --- the beginning ----------------------------------------------------------------------------

    def _prepare(self) -> None:
        count = self.dice.choice((1, 1, 2, 3, 5))
        references = [f"INV-{number}" for number in range(1, count + 1)]
        for reference in references:
            self.provider.add(reference, AMOUNT)
        Invoice.objects.bulk_create(self._copy(reference) for reference in references)
        bystander = count > 2 and self.dice.random() < 0.3
        chosen = references[:-1] if bystander else references
        self._start(self._people[0], chosen)
        self._look(None, "a person")

    def _copy(self, reference: str) -> Invoice:
        age = self.dice.choice((60, 60, 3600))
        return Invoice(
            account=self._account,
            external_id=reference,
            number=reference,
            customer_name="Sample customer",
            currency="EUR",
            exponent=2,
            amount_minor=AMOUNT,
            balance_minor=AMOUNT,
            status="open",
            provider_status="open",
            synced_at=self.clock.utc() - timedelta(seconds=age),
        )

    def _start(self, user: User, references: Sequence[str]) -> None:
        chosen = Invoice.objects.filter(external_id__in=references)
        batch = batches.freeze(user, chosen, "some")
        form = batches.Confirmation(batch.confirm_key, batch.digest, "duplicate", "", {})
        self._checks.batches[batch.pk] = [(self.clock.now, "running")]
        batches.confirm(batch, user, form)
        self._note(f"batch {batch.pk} of {' '.join(references)}")

    # --- what happens -----------------------------------------------------------------------------

    def _something_happens(self, depth: int, busy: Process | None = None) -> None:
        """One step of somebody, chosen by the dice."""
        temper = self._temper
        chances: list[tuple[float, Callable[[], None]]] = [
            (1.0, lambda: self._a_process_works(depth)),
            (1.5, lambda: self._a_call_moves(busy)),
        ]
        if not self._calm:
            chances += [
                (temper.time * 0.5, self._time_passes),
                (temper.world * 0.5, self._the_world_moves),
                (temper.person * 0.5, self._a_person_acts),
                (temper.process * 0.5, self._a_process_is_struck),
            ]
        weights = [weight for weight, _ in chances]
        self.dice.choices([act for _, act in chances], weights)[0]()

    def _a_process_works(self, depth: int) -> None:
        process = self._some_process()
        if process is not None and depth < 3:
            self._advance(process)

    def _some_process(self) -> Process | None:
        now = self.clock.now
        living = [one for one in self._processes if one.stage is not Stage.GONE]
        self._processes = living
        ready = [one for one in living if not one.busy and one.frozen_until <= now]
        if self._is_another_wanted(living):
            self._named += 1
            name = chr(64 + self._named % 26)
            skew = self.dice.choice((0.0, 0.0, -40.0, 40.0))
            made = Process(name, self._account.pk, self, skew)
            self._processes.append(made)
            ready.append(made)
        return self.dice.choice(ready) if ready else None

    def _is_another_wanted(self, living: Sequence[Process]) -> bool:
        """Mostly when nobody holds the lease; seldom one that will find it taken."""
        held = any(one.lease.is_good() for one in living)
        return len(living) < 4 and (not held or self.dice.random() < 0.03)

    def _advance(self, process: Process) -> None:
        """Let a process go on; others may come in between while it stands still or waits."""
        self._note(f"{process.name} {process.stage.value}")
        if self._running:
            self._look(self._running[-1].lease.token, self._running[-1].name)
        process.busy = True
        self._running.append(process)
        skew, self.clock.skew = self.clock.skew, process.skew
        try:
            process.advance()
        finally:
            self.clock.skew = skew
            self._running.pop()
            process.busy = False
        if process.dead:
            self._note(f"{process.name} is killed")
        self._look(process.lease.token, process.name)

    def _a_call_moves(self, busy: Process | None) -> None:
        now = self.clock.now
        owners = [one for one in self._processes if one.frozen_until <= now or one is busy]
        movable = [
            (one, one.flights, flight)
            for one in owners
            if one.flights is not None
            for flight in one.flights.movable()
        ]
        if movable:
            self._step(*self.dice.choice(movable))

    def _step(self, process: Process, flights: Flights, flight: Flight) -> None:
        skew, self.clock.skew = self.clock.skew, process.skew
        running, self._running = self._running, []
        try:
            said = flights.step(flight)
        finally:
            self.clock.skew, self._running = skew, running
        self._note(f"{process.name}'s {said}")

    def _time_passes(self) -> None:
        self.clock.now += self.dice.choice(JUMPS)
        self._note("time has passed")

    def _the_world_moves(self) -> None:
        reference = self.dice.choice(list(self.provider.truth))
        if self.dice.random() < 0.15:
            self._import(reference)
            return
        if self.dice.random() < 0.1:
            self.provider.truth[reference].amount += 1
            self._note(f"{reference} has another amount")
            return
        status = self.dice.choice(WORLD)
        if self.provider.change(reference, status):
            self.seen[f"invoice {status} meanwhile"] += 1
            self._note(f"{reference} is {status} by somebody else")

    def _import(self, reference: str) -> None:
        """An import beside the drains brings our copy up to date."""
        truth = self.provider.truth[reference]
        said = {"id": reference, "status": truth.status, "amount": truth.amount}
        remote = None if truth.status == GONE else remote_invoice(said)
        if remote is not None:
            lag = timedelta(seconds=self.provider.adapter.read_lag)
            sync.apply_remote(self._account.pk, [remote], self.clock.utc() - lag)
            self._note(f"{reference} is imported")

    def _a_process_is_struck(self) -> None:
        living = [one for one in self._processes if one.stage is not Stage.GONE]
        if not living:
            return
        process = self.dice.choice(living)
        blow = self.dice.choice(self._temper.blows)
        match blow:
            case "sleep":
                self.seen["process asleep"] += 1
                process.frozen_until = self.clock.now + self.dice.uniform(*self.dice.choice(SLEEPS))
            case "now":
                if not process.busy:
                    self.seen["process killed"] += 1
                    process.die()
            case "commit":
                process.strike = Strike("commit", self.dice.randint(1, 4))
            case "kill" | "freeze" | "database":
                process.strike = Strike(blow, self.dice.randint(1, 25))
        self._note(f"{process.name} is struck: {blow}")

    # --- people -----------------------------------------------------------------------------------

    def _a_person_acts(self) -> None:
        act = self.dice.choice((self._pause, self._resume, self._resume, self._stop, self._rival))
        with suppress(batches.BatchRefused):
            act()
            self.seen[f"person {act.__name__.strip('_')}"] += 1
            self._note(f"a person: {act.__name__.strip('_')}")
        with self._between():
            self._look(None, "a person")

    def _pause(self) -> None:
        batch = self._some_batch()
        batches.pause(batch, self._people[0])
        self._is_now(batch, "paused")

    def _resume(self) -> None:
        batch = self._some_batch()
        ProviderAccount.objects.update(paused_at=None, pause_code="", pause_reason="")
        batches.resume(batch, self._people[0])
        self._is_now(batch, "running")

    def _stop(self) -> None:
        batch = self._some_batch()
        batches.stop(batch, self._people[0])
        self._is_now(batch, "stopping")

    def _rival(self) -> None:
        """Another person wants the same invoices cancelled."""
        self._start(self._people[1], list(self.provider.truth))

    def _some_batch(self) -> CancellationBatch:
        return self.dice.choice(list(CancellationBatch.objects.exclude(state="discarded")))

    def _is_now(self, batch: CancellationBatch, state: str) -> None:
        self._checks.batches.setdefault(batch.pk, []).append((self.clock.now, state))

    # --- what the drains live in ------------------------------------------------------------------

    def plan(self, request: OutgoingRequest) -> Plan:
        plan = self._plan(request)
        self.seen[f"call {request.purpose}"] += 1
        if plan.answer != "honest":
            self.seen[f"fault {plan.answer}"] += 1
        if request.purpose == "cancel":
            self.seen[f"cancel done {plan.act if plan.arrives else 'never'}"] += 1
        return plan

    def _plan(self, request: OutgoingRequest) -> Plan:
        if self._honest_now or self.dice.random() >= self._temper.fault:
            return self._honest(request)
        if request.purpose != "cancel":
            return self._bad_read()
        return self._bad_cancel()

    def _honest(self, request: OutgoingRequest) -> Plan:
        took = self.dice.uniform(0.02, 1.0)
        if request.purpose == "cancel" and self.provider.adapter.cancel_limit > 1:
            return Plan(act=self.dice.choice((*ACTS, "later")), took=took)
        return Plan(took=took)

    def _bad_read(self) -> Plan:
        answers = (*UNSENT, *LOST, *SERVER_ERRORS, "429", "401", "html", "list", "garbled_entry")
        return self._slow_or_lost(self.dice.choice(answers), "never")

    def _bad_cancel(self) -> Plan:
        roll = self.dice.random()
        if roll < 0.15:
            return Plan("never", self.dice.choice(UNSENT))
        if roll < 0.4:
            return Plan("never", self.dice.choice(TURNED_AWAY), self.dice.uniform(0.02, 2.0))
        act: Act = self.dice.choice(ACTS)
        answers = self.dice.choice((LOST, LOST, SERVER_ERRORS, LIES))
        return self._slow_or_lost(self.dice.choice(answers), act)

    def _slow_or_lost(self, answer: str, act: Act) -> Plan:
        took = self.dice.choice((0.1, 1.0, 20.0))
        if answer in ("timeout", "connection_lost") and self.dice.random() < 0.3:
            return Plan("never", answer, took, arrives=False)
        return Plan(act, answer, took)

    def leaving(self, request: OutgoingRequest, lease: Lease) -> None:
        self._checks.leaving(request, lease)

    def idle(self, flights: Flights, seconds: float) -> None:
        """A drain waits for a message: others go on, most often its own calls."""
        busy = self._running[-1] if self._running else None
        until = self.clock.now + seconds
        if busy is not None:
            self._own_calls_move(busy, flights)
        if not self._calm and self.dice.random() < 0.3:
            depth = len(self._running)
            with self._between():
                self._something_happens(depth, busy)
        self.clock.now = max(self.clock.now, until)

    def releasing(self, lease: Lease) -> None:
        """A drain ends, well or badly."""
        self._look(lease.token, self._running[-1].name)

    def _own_calls_move(self, busy: Process, flights: Flights) -> None:
        """As far as the dice let them; when all is calm, as far as they can."""
        while movable := flights.movable():
            if not self._calm and self.dice.random() < 0.2:
                return
            self._step(busy, flights, self.dice.choice(movable))

    def _stand_still(self, process: Process) -> None:
        """A process is stopped at a statement; the others go on, and it wakes up again."""
        self._note(f"{process.name} stands still")
        if self.dice.random() < 0.5:
            self.clock.now += self.dice.choice((1.0, 60.0, 125.0, 300.0, 1000.0))
        depth = len(self._running)
        with self._between():
            for _ in range(self.dice.randint(1, 30)):
                self.clock.now += self.dice.uniform(0.001, 0.05)
                self._something_happens(depth)
        self._note(f"{process.name} wakes up")

    @contextmanager
    def _between(self) -> Iterator[None]:
        """Whose statements these are, nobody is struck by them."""
        if self._running:
            self._look(self._running[-1].lease.token, self._running[-1].name)
        running, self._running = self._running, []
        try:
            yield
        finally:
            self._running = running

    def _on_statement(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if self._running and not self._running[-1].dead:
            with self._strikes_counted(self._running[-1]):
                self._running[-1].before_statement(self._stand_still)
        self._changed = self._changed or (sql.startswith("UPDATE") and ATTEMPTS in sql)
        return execute(sql, params, many, context)

    @contextmanager
    def _strikes_counted(self, process: Process) -> Iterator[None]:
        strike = process.strike
        try:
            yield
        finally:
            if strike is not None and process.strike is not strike:
                self.seen[STRUCK[strike.blow]] += 1

    @contextmanager
    def _commits_noticed(self) -> Iterator[None]:
        wrapper: Any = connections[DEFAULT_DB_ALIAS]
        real = wrapper._commit

        def commit() -> None:
            real()
            if self._running and not self._running[-1].dead:
                with self._strikes_counted(self._running[-1]):
                    self._running[-1].after_commit()

        with patch.object(wrapper, "_commit", commit):
            yield

    def _look(self, token: Any, who: str) -> None:
        """Once something may be otherwise than before."""
        self.provider.catch_up()
        if not self._changed and self.provider.applied == self._seen_applied:
            return
        self._changed, self._seen_applied = False, self.provider.applied
        running, self._running = self._running, []
        for change in self._checks.look(token, who):
            self._note(f"    {change}")
        self._running = running

    def _note(self, what: str) -> None:
        self.trace.append(f"{self.clock.now:10.3f}  {what}")

    # --- the end ----------------------------------------------------------------------------------

    def _end_well(self) -> None:
        """First all else stops, then the bad answers; and everything comes to its end."""
        self._note("--- nothing happens any more but calls")
        self._calm = True
        until_answers_are_good = self.dice.randint(0, 4)
        for process in self._processes:
            process.strike, process.frozen_until = None, 0.0
        for number in range(MOST_ROUNDS):
            self._honest_now = number >= until_answers_are_good
            self._people_let_it_go_on()
            self._drain_once()
            if not CancellationAttempt.objects.filter(state__in=WORKING).exists():
                break
            self._until_something_is_due()
        else:
            raise Violation("it does not come to its end")
        waking.tidy_up()
        if CancellationBatch.objects.filter(state__in=("running", "paused", "stopping")).exists():
            raise Violation("a batch without work is not finished")

    def _people_let_it_go_on(self) -> None:
        ProviderAccount.objects.filter(paused_at__isnull=False).update(
            paused_at=None, pause_code="", pause_reason=""
        )
        for batch in CancellationBatch.objects.filter(state="paused"):
            batches.resume(batch, self._people[0])
            self._is_now(batch, "running")

    def _drain_once(self) -> None:
        """All that is still there comes to its end, and then one more drain, if one is due."""
        self._work_off()
        if self._account.pk in waking.accounts_due():
            self._named += 1
            fresh = Process(chr(64 + self._named % 26), self._account.pk, self, 0.0)
            self._processes.append(fresh)
            self._work_off()

    def _work_off(self) -> None:
        for process in self._processes:
            while process.stage is not Stage.GONE:
                self._advance(process)
        self._processes = []

    def _until_something_is_due(self) -> None:
        """On to the next moment at which anything can happen."""
        self._people_let_it_go_on()
        now = Now()
        working = CancellationAttempt.objects.filter(state__in=WORKING, due_at__gt=now)
        account = ProviderAccount.objects.get(pk=self._account.pk)
        moments = [
            *working.order_by("due_at").values_list("due_at", flat=True)[:1],
            account.resting_until,
            account.lease_expires_at,
        ]
        ahead = [self.clock.at(one) for one in moments if one is not None]
        ahead = [one for one in ahead if one > self.clock.now]
        if ahead:
            self.clock.now = min(ahead) + 0.01
            return
        # As a worker does every few seconds: what came back to a stopped batch is withdrawn.
        waking.tidy_up()
        left = CancellationAttempt.objects.filter(state__in=WORKING).exists()
        if left and self._account.pk not in waking.accounts_due():
            raise Violation("something is left over, and nothing will ever be done about it")
