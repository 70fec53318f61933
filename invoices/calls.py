"""The threads that do nothing but HTTP, and the slip of paper between them and the drain.

A thread that is about to send hands its request to the drain and waits: the drain stores the
requests of many threads in one transaction and then lets them go. So each request is on record
before its first byte leaves, at the price of one commit for many, and no thread ever touches the
database.

So that the provider does not wait for our commits, there are more threads than may call at once:
the others have their requests put on record meanwhile, and leave as soon as a call comes back.
"""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Literal

from invoices.failpoints import failpoint
from invoices.lease import Lease
from invoices.models.attempt import CancellationAttempt
from invoices.pacing import Rate
from providers.adapters.base import Adapter, CancelAnswer, CheckResult, Found
from providers.errors import NotSent, OutcomeUnknown, ProviderError, ReadToDecide
from providers.exchange import Exchange, OutgoingRequest

log = logging.getLogger(__name__)

STORE_SECONDS = 60.0
"""How long a thread waits for its request to be stored before it gives up unsent."""
SLOT_SECONDS = 0.25
"""How often a request that waits to leave looks whether it still may."""

Result = Mapping[str, CancelAnswer] | Found | CheckResult | ProviderError


@dataclass(eq=False, slots=True)
class Job:
    """One call of an adapter about some attempts of one batch (or a probe, about none).

    `stored` and `left` count its cancel requests: put on record, and gone out for the provider
    to act on; `doubtful`, that the answer to one that went out is missing or cut.
    """

    kind: Literal["precheck", "cancel", "read", "probe"]
    attempts: Sequence[CancellationAttempt] = ()
    options: Mapping[str, bool] = field(default_factory=dict)
    started: float = 0.0
    stored: int = 0
    left: int = 0
    doubtful: bool = False

    @property
    def references(self) -> list[str]:
        return [attempt.invoice.external_id for attempt in self.attempts]


@dataclass(eq=False, slots=True)
class Intent:
    """A request that waits to be stored; `answer` is set to None to let it go, else refused."""

    request: OutgoingRequest
    job: Job
    ready: threading.Event = field(default_factory=threading.Event)
    refusal: NotSent | None = None

    def settle(self, refusal: NotSent | None) -> None:
        self.refusal = refusal
        self.ready.set()


@dataclass(frozen=True, eq=False, slots=True)
class Done:
    """A job that has come to its end.

    With `holds_slot` no other call takes its place before the drain has seen what came of it.
    """

    job: Job
    result: Result
    holds_slot: bool = False


Message = Intent | Exchange | Done


class Current(threading.local):
    """What the thread that asks is about."""

    job: Job
    purpose = ""
    begun = False
    has_slot = False


class Calls:
    """A standing pool of threads that make an adapter's calls, and the recorder they use."""

    def __init__(self, lease: Lease, rate: Rate) -> None:
        self.inbox: SimpleQueue[Message] = SimpleQueue()
        self._lease = lease
        self._rate = rate
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._current = Current()
        self._threads: list[threading.Thread] = []
        self._closed_because = ""
        self._closing = threading.Event()
        self._slots = threading.Semaphore(1)

    def start(self, adapter: Adapter, size: int, ahead: int = 0) -> None:
        """Start threads for `size` calls at once, and for `ahead` requests that wait to leave."""
        self._slots = threading.Semaphore(size)
        for number in range(size + ahead):
            thread = threading.Thread(
                target=self._work, args=(adapter,), name=f"call-{number}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def submit(self, job: Job) -> None:
        """Have a thread make this call as soon as one is free."""
        self._jobs.put(job)

    def shut(self, reason: str) -> None:
        """From now on nothing new may leave; what is under way comes to its end."""
        if not self._closed_because:
            self._closed_because = reason
            self._closing.set()

    def reopen(self) -> None:
        """Requests may leave again."""
        self._closed_because = ""
        self._closing.clear()

    @property
    def is_shut(self) -> bool:
        """Whether nothing new may leave."""
        return bool(self._closed_because)

    def messages(self, wait: float) -> list[Message]:
        """All that has come in, waiting up to so many seconds for the first."""
        found: list[Message] = []
        try:
            found.append(self.inbox.get(timeout=wait) if wait > 0 else self.inbox.get_nowait())
            while len(found) < 512:
                found.append(self.inbox.get_nowait())
        except Empty:
            pass
        return found

    def taken_in(self, done: Done) -> None:
        """The drain knows what came of this one: another may leave in its place."""
        if done.holds_slot:
            self._slots.release()

    def stop(self) -> None:
        """Let the threads end once they have made their calls."""
        for _ in self._threads:
            self._jobs.put(None)

    # The recorder, called by `providers.http` in the threads.

    def before(self, request: OutgoingRequest) -> None:
        """Wait for a slot of the rate, then for the request to be stored."""
        self._closing.wait(self._rate.reserve())
        intent = self.hand_in(request, self._current.job)
        if not intent.ready.wait(STORE_SECONDS):
            intent.refusal = NotSent("not_running", "The request could not be stored in time.")
        if intent.refusal is not None:
            raise intent.refusal
        self._take_slot()

    def _take_slot(self) -> None:
        """Wait until fewer calls than allowed are under way; `gate` refuses it after a shut."""
        while not self._current.has_slot and not self.is_shut:
            self._current.has_slot = self._slots.acquire(timeout=SLOT_SECONDS)

    def _free_slot(self) -> None:
        """What went well makes room at once; what did not, once the drain has drawn its lesson."""
        if self._current.has_slot:
            self._current.has_slot = False
            self._slots.release()

    def hand_in(self, request: OutgoingRequest, job: Job) -> Intent:
        """Ask the drain to store a request. Raises `NotSent` when nothing may leave any more."""
        self._refuse_if_shut()
        intent = Intent(request, job)
        self._current.purpose = request.purpose
        self._current.begun = False
        self.inbox.put(intent)
        return intent

    def gate(self) -> None:
        """The last look before each write.

        Of what has begun to leave, only a lost lease stops the rest: cut in two, it would be in
        doubt for nothing.
        """
        if not self._lease.is_good():
            raise NotSent("lease_lost", "This worker no longer holds the account.")
        if not self._current.begun:
            self._refuse_if_shut()
            self._current.begun = True
        failpoint("calls.before_write")

    def after(self, exchange: Exchange) -> None:
        if exchange.complete and (exchange.status or 0) < 400:
            self._free_slot()
        if self._current.purpose == "cancel":
            _note(self._current.job, exchange)
        failpoint("calls.after_answer")
        self.inbox.put(exchange)

    def _refuse_if_shut(self) -> None:
        if self._closed_because:
            raise NotSent(self._closed_because, "Nothing more is sent for now.")

    def _work(self, adapter: Adapter) -> None:
        while (job := self._jobs.get()) is not None:
            self._current.job = job
            job.started = time.monotonic()
            result = _result(adapter, job)
            self.inbox.put(Done(job, result, self._current.has_slot))
            self._current.has_slot = False


def _result(adapter: Adapter, job: Job) -> Result:
    try:
        if job.kind == "cancel":
            return adapter.cancel(job.references, job.options)
        if job.kind == "probe":
            return adapter.check()
        return adapter.fetch(job.references)
    except ProviderError as error:
        if isinstance(error, NotSent) and job.doubtful:
            return OutcomeUnknown("unexpected_answer", error.message)
        if (
            isinstance(error, OutcomeUnknown | ReadToDecide)
            and job.kind == "cancel"
            and not job.stored
        ):
            # Whatever failed, it was not the cancel: nothing leaves that was not stored before.
            return NotSent("internal_error", error.message, pause_account=error.pause_account)
        return error
    except Exception:
        log.exception("The adapter of %s failed on a %s.", adapter.code, job.kind)
        if job.left:
            return OutcomeUnknown("internal_error", "Annul could not handle the answer.")
        return NotSent("internal_error", "Annul could not make the call.")


def _note(job: Job, exchange: Exchange) -> None:
    """Keep count of what left, to be exact about what may have been carried out."""
    if not exchange.sent:
        return
    if exchange.status != 401 or not exchange.complete:
        job.left += 1
    if not exchange.complete:
        job.doubtful = True
