"""The made-up provider: the truth about its invoices, and a log of every request that arrived."""

import hashlib
import random
from dataclasses import dataclass, field
from json import dumps
from typing import Any, Literal

from providers.adapters.base import Adapter, Status
from providers.exchange import Answer, OutgoingRequest
from tests.simulator.clock import Clock

Act = Literal["now", "later", "never"]
OUTSIDE = 0
"""The number of a change that no request made, as in `invoices/verification.py`."""
GONE = "gone"
LIES = ("html", "empty", "other", "still_open", "list")
"""Answers of status 200 that are not what a success says."""
TURNED_AWAY = ("401", "403", "404", "409", "422", "429")
"""Answers after which the provider, by its contract, has not acted."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What will come of a request: when the provider acts, what it says, and after how long.

    `answer` is "honest", a status, one of `LIES`; or a fault by which no whole answer comes back.
    """

    act: Act = "now"
    answer: str = "honest"
    took: float = 0.1
    arrives: bool = True


@dataclass
class Truth:
    """One invoice there. `past`: since when it has been what."""

    amount: int
    past: list[tuple[float, str]] = field(default_factory=list)
    cancelled_by: list[int] = field(default_factory=list)

    @property
    def status(self) -> str:
        return self.past[-1][1]

    def at(self, moment: float) -> str:
        """What it was then."""
        return next(status for since, status in reversed(self.past) if since <= moment)


@dataclass(frozen=True, slots=True)
class Late:
    """A cancellation that takes effect in a while."""

    at: float
    reference: str
    entry: dict[str, Any]


class FakeProvider:
    """One account's other side."""

    def __init__(self, account: str, adapter: type[Adapter], clock: Clock, dice: random.Random):
        self.account = account
        self.adapter = adapter
        self.truth: dict[str, Truth] = {}
        self.log: list[dict[str, Any]] = []
        self.applied = 0
        self._clock = clock
        self._dice = dice
        self._late: list[Late] = []

    def add(self, reference: str, amount: int) -> None:
        """An open invoice."""
        self.truth[reference] = Truth(amount, [(-1e9, str(Status.OPEN))])

    def change(self, reference: str, status: str) -> bool:
        """Somebody else does something to an invoice; False when it cannot be done any more."""
        self.catch_up()
        truth = self.truth[reference]
        movable = (Status.OPEN, Status.PAYMENT_PENDING)
        if truth.status not in movable or truth.status == status:
            return False
        truth.past.append((self._clock.now, status))
        if status == Status.CANCELLED:
            truth.cancelled_by.append(OUTSIDE)
        return True

    def catch_up(self) -> None:
        """Whatever was to take effect by now has."""
        for late in sorted(self._late, key=lambda one: one.at):
            if late.at <= self._clock.now:
                self._late.remove(late)
                self._apply(late.reference, late.entry, late.at)

    def arrive(self, request: OutgoingRequest, plan: Plan) -> dict[str, Any]:
        """A request is there, whole. Acts, or puts off acting, and enters it into the log."""
        self.catch_up()
        now = self._clock.now
        entry: dict[str, Any] = {
            "seq": len(self.log) + 1,
            "kind": request.purpose,
            "account": self.account,
            "provider": self.adapter.code,
            "ids": list(request.references),
            "request_id": str(request.id),
            "status": None,
            "sent": False,
            "sent_sha256": None,
            "applied": [],
            "started": now,
            "finished": now + plan.took,
            "wall": now,
        }
        self.log.append(entry)
        if request.purpose == "cancel":
            self._act(entry, plan)
        return entry

    def answer(self, entry: dict[str, Any], plan: Plan) -> Answer:
        """What it says, and has then sent."""
        answer = self._answer(entry, plan)
        entry["status"], entry["sent"] = answer.status, True
        entry["sent_sha256"] = hashlib.sha256(answer.body).hexdigest()
        return answer

    # --- acting -----------------------------------------------------------------------------------

    def _act(self, entry: dict[str, Any], plan: Plan) -> None:
        entry["found"] = {one: self._status(one) for one in entry["ids"]}
        for reference in entry["ids"]:
            if plan.act == "now":
                self._apply(reference, entry, self._clock.now)
            elif plan.act == "later":
                latest = self.adapter.settle * 0.98
                when = self._clock.now + self._dice.uniform(0.5, latest)
                self._late.append(Late(when, reference, entry))

    def _apply(self, reference: str, entry: dict[str, Any], moment: float) -> None:
        truth = self.truth.get(reference)
        if truth is None or truth.status not in self.adapter.cancellable:
            return
        truth.past.append((moment, str(Status.CANCELLED)))
        truth.cancelled_by.append(entry["seq"])
        entry["applied"].append(reference)
        self.applied += 1

    def _status(self, reference: str) -> str:
        truth = self.truth.get(reference)
        return truth.status if truth else GONE

    # --- saying -----------------------------------------------------------------------------------

    def _answer(self, entry: dict[str, Any], plan: Plan) -> Answer:
        if plan.answer.isdecimal():
            return self._error(int(plan.answer))
        if plan.answer in LIES:
            return _lie(plan.answer)
        match entry["kind"]:
            case "cancel":
                return self._cancelled(entry)
            case "fetch":
                return self._read(entry, garbled=plan.answer == "garbled_entry")
            case _:
                return _said(200, {})

    def _error(self, status: int) -> Answer:
        headers = {}
        if status == 429 and self._dice.random() < 0.5:
            headers["retry-after"] = str(self._dice.choice((1, 20, 600)))
        return _said(status, {"issue": "no_reason"}, headers)

    def _cancelled(self, entry: dict[str, Any]) -> Answer:
        if self.adapter.cancel_limit > 1:
            return _said(202, {"Id": "t"})
        (reference,) = entry["ids"]
        match entry["found"][reference]:
            case Status.OPEN:
                return _said(200, {"id": reference, "status": "cancelled"})
            case Status.CANCELLED:
                return _said(422, {"issue": "already_cancelled"})
            case Status.PAID:
                return _said(422, {"issue": "paid"})
            case "gone":
                return _said(404, {"issue": "not_found"})
            case _:
                return _said(422, {"issue": "no_reason"})

    def _read(self, entry: dict[str, Any], *, garbled: bool) -> Answer:
        self.catch_up()
        seen_at = self._clock.now - self._dice.random() * self.adapter.read_lag
        said = []
        entry["said"] = {}
        for reference in entry["ids"]:
            truth = self.truth.get(reference)
            status = entry["said"][reference] = truth.at(seen_at) if truth else GONE
            if truth and status != GONE:
                amount = None if garbled else truth.amount
                said.append({"id": reference, "status": status, "amount": amount})
        return _said(200, {"invoices": said})


def _said(status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, headers or {}, dumps(body).encode())


def _lie(kind: str) -> Answer:
    bodies = {
        "html": b"<html>",
        "empty": b"",
        "other": dumps({"id": "INV-0", "status": "cancelled"}).encode(),
        "still_open": dumps({"status": "open"}).encode(),
        "list": b"[]",
    }
    return Answer(200, {}, bodies[kind])
