"""A drain's calls without threads: each call is at some place, and takes a step when it is told."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from invoices import calls
from invoices.calls import Calls, Intent, Job
from invoices.lease import Lease
from invoices.pacing import Rate
from providers.adapters.base import Adapter
from providers.errors import NotSent, OutcomeUnknown
from providers.exchange import Answer, Exchange, OutgoingRequest
from tests.simulator.adapters import Awaited, Heard, StandIn
from tests.simulator.clock import Clock
from tests.simulator.provider import FakeProvider, Plan

UNSENT = ("dns", "unreachable", "tls")
"""Faults before the first byte."""
LOST = ("timeout", "connection_lost", "garbled", "cut")
"""Faults after it: no whole answer."""


class Place(Enum):
    """How far a call is."""

    WAITING = "waits for a thread"
    STORING = "waits to be put on record"
    LEAVING = "is on record"
    AWAY = "is under way"


@dataclass(eq=False)
class Flight:
    """One job and what its adapter has heard so far."""

    job: Job
    place: Place = Place.WAITING
    heard: list[Heard] = field(default_factory=list)
    intent: Intent | None = None
    since: float = 0.0
    plan: Plan = field(default_factory=Plan)
    entry: dict[str, Any] | None = None


class World(Protocol):
    """What calls need of the scenario they are part of."""

    clock: Clock
    provider: FakeProvider

    def plan(self, request: OutgoingRequest) -> Plan:
        """What is to come of a request."""

    def leaving(self, request: OutgoingRequest, lease: Lease) -> None:
        """The first byte leaves: may it?"""

    def idle(self, flights: "Flights", seconds: float) -> None:
        """A drain waits for so long."""

    def releasing(self, lease: Lease) -> None:
        """A drain is about to let go of the account: what it did was done while it held it."""


class Flights(Calls):
    """Takes the place of the threads; the gate, the notes and the judgement are the real ones."""

    def __init__(self, lease: Lease, rate: Rate, world: World) -> None:
        super().__init__(lease, rate)
        self.lease = lease
        self.rate = rate
        self.under_way: list[Flight] = []
        self._world = world
        self._adapter: StandIn
        self._size = 1

    def start(self, adapter: Adapter, size: int, ahead: int = 0) -> None:
        assert isinstance(adapter, StandIn)
        self._adapter, self._size = adapter, size + ahead

    def submit(self, job: Job) -> None:
        self.under_way.append(Flight(job))

    def stop(self) -> None:
        """There are no threads to end."""

    def messages(self, wait: float) -> list[calls.Message]:
        if wait and self.inbox.empty():
            self._world.idle(self, wait)
        return super().messages(0.0)

    def movable(self) -> list[Flight]:
        """Calls that can take a step now; only so many have a thread."""
        return [one for one in self.under_way[: self._size] if self._can_move(one)]

    def step(self, flight: Flight) -> str:
        """Let one call take its next step; returns what happened, in words."""
        match flight.place:
            case Place.WAITING:
                flight.job.started = self._world.clock.monotonic()
                return self._run(flight)
            case Place.STORING:
                return self._stored(flight)
            case Place.LEAVING:
                return self._leave(flight)
            case Place.AWAY:
                return self._come_back(flight)

    def _can_move(self, flight: Flight) -> bool:
        if flight.place is not Place.STORING or flight.intent is None:
            return True
        return flight.intent.ready.is_set() or self._gave_up(flight)

    def _gave_up(self, flight: Flight) -> bool:
        return self._world.clock.now - flight.since >= calls.STORE_SECONDS

    def _run(self, flight: Flight) -> str:
        """Have the adapter go on as far as it can by what has been heard."""
        self._adapter.replay.rewind(flight.heard)
        try:
            result = calls._result(self._adapter, flight.job)
        except Awaited as awaited:
            return self._hand_in(flight, awaited.request)
        self.under_way.remove(flight)
        self.inbox.put(calls.Done(flight.job, result))
        said = f"{type(result).__name__} {getattr(result, 'code', '')}".strip()
        return f"{flight.job.kind} ends: {said}"

    def _hand_in(self, flight: Flight, request: OutgoingRequest) -> str:
        self._world.clock.now += self.rate.reserve()
        try:
            flight.intent = self.hand_in(request, flight.job)
        except NotSent as refusal:
            return self._heard(flight, refusal)
        flight.place, flight.since = Place.STORING, self._world.clock.now
        return f"{request.purpose} waits to be put on record"

    def _stored(self, flight: Flight) -> str:
        assert flight.intent is not None
        if not flight.intent.ready.is_set():
            flight.intent.refusal = NotSent("not_running", "Not stored in time.")
        if flight.intent.refusal is not None:
            return self._heard(flight, flight.intent.refusal)
        flight.place = Place.LEAVING
        return f"{flight.intent.request.purpose} may leave"

    def _leave(self, flight: Flight) -> str:
        """Connect, pass the gate, and hand over the first byte."""
        assert flight.intent is not None
        request = flight.intent.request
        plan = flight.plan = self._world.plan(request)
        if plan.answer in UNSENT:
            return self._unsent(flight, NotSent(plan.answer, "Not connected."))
        try:
            # One thread plays them all: each flight's gate is that of its first byte.
            self._current.begun = False
            self.gate()
        except NotSent as refusal:
            return self._unsent(flight, refusal)
        self._world.leaving(request, self.lease)
        flight.place, flight.since = Place.AWAY, self._world.clock.now
        flight.entry = None
        if plan.arrives:
            flight.entry = self._world.provider.arrive(request, plan)
        where = "arrives" if plan.arrives else "is lost on its way"
        ids = " ".join(request.references)
        return f"{request.purpose} {ids} {where}: acts {plan.act}, answers {plan.answer}"

    def _unsent(self, flight: Flight, refusal: NotSent) -> str:
        self._after(flight, sent=False, answer=None, fault=refusal.code)
        return self._heard(flight, refusal)

    def _come_back(self, flight: Flight) -> str:
        """The answer, or what there is instead of one. No sooner than it can be."""
        clock, plan = self._world.clock, flight.plan
        clock.now = max(clock.now, flight.since + plan.took)
        fault = plan.answer if plan.answer in LOST else "" if plan.arrives else "timeout"
        answer = None
        if flight.entry is not None and fault in ("", "cut"):
            answer = self._world.provider.answer(flight.entry, plan)
        if fault:
            self._after(flight, sent=True, answer=answer, fault=fault)
            status = answer.status if answer else None
            return self._heard(flight, OutcomeUnknown(fault, "No answer.", status=status))
        assert answer is not None
        self._after(flight, sent=True, answer=answer, fault="")
        return self._heard(flight, answer)

    def _after(self, flight: Flight, *, sent: bool, answer: Answer | None, fault: str) -> None:
        assert flight.intent is not None
        self._current.job = flight.job
        self._current.purpose = flight.intent.request.purpose
        body = answer.body if answer else b""
        self.after(
            Exchange(
                request_id=flight.intent.request.id,
                sent=sent,
                status=answer.status if answer else None,
                headers=tuple(answer.headers.items()) if answer else (),
                body=body[: len(body) // 2] if fault else body,
                complete=not fault,
                fault=fault,
                detail="",
                duration_ms=0,
            )
        )

    def _heard(self, flight: Flight, heard: Heard) -> str:
        flight.heard.append(heard)
        said = f"status {heard.status}" if isinstance(heard, Answer) else heard.code
        return f"hears {said}; {self._run(flight)}"


def maker(world: World, keep: Callable[[Flights], None]) -> Callable[[Lease, Rate], Flights]:
    """What `Drain` makes its calls with; `keep` is told which."""

    def make(lease: Lease, rate: Rate) -> Flights:
        made = Flights(lease, rate, world)
        keep(made)
        return made

    return make
