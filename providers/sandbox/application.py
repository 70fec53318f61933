"""What happens to a request between parsing and sending: dialect, fault, effects, log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from providers.sandbox import changes
from providers.sandbox.dialects import DIALECTS
from providers.sandbox.dialects.base import Call, Dialect
from providers.sandbox.fault_answers import answer_with
from providers.sandbox.faults import ACCEPT, SILENT, SPOILT_ON_THE_WAY, Fault, Faults
from providers.sandbox.log import Entry, Log, sha256
from providers.sandbox.wire import Request, Response, json_response
from providers.sandbox.world import Account, Invoice, World


@dataclass(slots=True)
class Delivery:
    """One answer on its way: what to send, after how many seconds, how to spoil it."""

    response: Response
    entry: Entry | None = None
    wait: float = 0.0
    fault: Fault | None = None
    """Set only where the fault is one of the transport."""


class Application:
    """The sandbox without its sockets. Not thread safe but under ``world.lock``."""

    def __init__(self, world: World, log_path: Path | None = None) -> None:
        self.world = world
        self.log = Log(log_path)
        self.faults = Faults()
        self.dialects: dict[str, Dialect] = {made.code: made(world) for made in DIALECTS}

    def receive(self, request: Request, connection: int) -> Delivery:
        """Answers one request and logs it. The caller finishes the log entry after sending."""
        self.world.settle()
        dialect = self._dialect(request.path)
        if dialect is None:
            entry = self.log.begin(request, connection)
            return self._delivery(entry, json_response(404, {"error": "no such provider"}), None)
        return self._answer(dialect, dialect.identify(request), connection)

    def _dialect(self, path: str) -> Dialect | None:
        for dialect in self.dialects.values():
            if path.startswith(dialect.prefix + "/"):
                return dialect
        return None

    def _answer(self, dialect: Dialect, call: Call, connection: int) -> Delivery:
        account = call.account.name if call.account else None
        call.fault = fault = self.faults.take(account, call.kind, call.ids)
        entry = self._entry(call, connection)
        self._outside(call, dialect, "before")
        response = self._respond(dialect, call, entry)
        self._outside(call, dialect, "after")
        entry.throttled = call.throttled
        return self._delivery(entry, response, fault)

    def _respond(self, dialect: Dialect, call: Call, entry: Entry) -> Response:
        fault = call.fault
        if fault and fault.name in ACCEPT:
            return Response(200)
        response = dialect.answer(call)
        self._take_effect(dialect, call, entry)
        if fault:
            response = answer_with(fault, dialect, call, response)
        dialect.finish(call, response)
        return response

    def _entry(self, call: Call, connection: int) -> Entry:
        entry = self.log.begin(call.request, connection)
        entry.provider = call.provider
        entry.account = call.account.name if call.account else None
        entry.kind = call.kind
        entry.ids = list(call.ids)
        entry.fault = call.fault.name if call.fault else None
        return entry

    # -- effects ----------------------------------------------------------------------

    def _take_effect(self, dialect: Dialect, call: Call, entry: Entry) -> None:
        if not (call.cancels or call.effects):
            return
        wait = dialect.cancellation_delay() if call.cancels else 0.0
        fault = call.fault
        if fault and _spoils(fault):
            if fault.applied == "before":
                return
            wait += fault.delay if fault.applied == "later" else 0.0
        self.world.later(wait, lambda: self._carry_out(dialect, call, entry))

    def _carry_out(self, dialect: Dialect, call: Call, entry: Entry) -> None:
        for effect in call.effects:
            effect()
        for invoice in call.cancels:
            self._cancel(dialect, call, invoice, entry)
        if entry.finished is not None:
            self.log.write(entry)

    def _cancel(self, dialect: Dialect, call: Call, invoice: Invoice, entry: Entry) -> None:
        still_there = call.owner.invoices.get(invoice.id) is invoice
        if still_there and dialect.may_take_effect(invoice):
            dialect.as_cancelled(invoice, by=entry.seq)
            entry.applied.append(invoice.id)

    def _outside(self, call: Call, dialect: Dialect, when: str) -> None:
        """The change of the world a fault brings along."""
        fault = call.fault
        if fault is None or fault.world is None or fault.world_when != when or not call.account:
            return
        wanted = [fault.external_id] if fault.external_id else call.ids
        for external_id in wanted:
            if external_id in call.account.invoices:
                self.change(dialect, call.account, external_id, fault.world)

    def change(self, dialect: Dialect, account: Account, external_id: str, name: str) -> None:
        """Somebody else changes an invoice."""
        changes.apply(name, dialect, account, external_id)
        self.log.outside(account.name, account.provider, name, external_id)

    # -- the way out --------------------------------------------------------------------

    def _delivery(self, entry: Entry, response: Response, fault: Fault | None) -> Delivery:
        silent = fault is not None and fault.name in SILENT
        entry.status = None if silent else response.status
        wait = self.world.switches.latency
        if fault and fault.name == "slow":
            wait += fault.delay
        if not silent and "Content-Encoding" not in response.headers:
            entry.sent_sha256 = sha256(response.body)
        spoiler = fault if fault and fault.name in SPOILT_ON_THE_WAY else None
        self.log.write(entry)
        return Delivery(response, entry, wait, spoiler)


def _spoils(fault: Fault) -> bool:
    return fault.name not in ("none", "slow", "stale_once") and not fault.name.startswith("teos_")
