"""What must never happen, looked for after each step; the whole record is compared at the end."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection

from invoices.lease import Lease
from invoices.models import ProviderRequest
from invoices.models.attempt import State
from invoices.models.evidence import CallSubject, HistoryEvent
from invoices.verification import CHECKS, NOT_DONE, Provider
from providers.exchange import OutgoingRequest
from providers.models import ProviderAccount
from tests.simulator.clock import Clock
from tests.simulator.provider import OUTSIDE, TURNED_AWAY, FakeProvider

MICROSECONDS = 2e-6
"""What is lost of a moment on its way through the database."""
IN_HAND = (State.CLAIMED, State.SENDING)
SAID_CANCELLED = (State.CANCELLED, State.ALREADY_CANCELLED)


LEFT_OUT = ("no blind resend", "no secret is kept", "the rate is kept")
"""The first is looked for here, and more closely; the others have no part in what is played."""
ATTEMPTS = """
    SELECT attempt.id, attempt.state, attempt.lease_token, invoice.external_id, attempt.code
    FROM invoices_cancellationattempt attempt
    JOIN invoices_invoice invoice ON invoice.id = attempt.invoice_id ORDER BY attempt.id
"""
"""Asked so often that the ORM's time for it counts."""


class Violation(AssertionError):
    """What must never happen has happened."""


@dataclass(frozen=True, slots=True)
class Row:
    """What the checks look at of an attempt."""

    pk: int
    state: str
    token: str | None
    reference: str
    code: str


class Checks:
    """Remembers how the attempts were, to see who changed what."""

    def __init__(self, account_id: int, provider: FakeProvider, clock: Clock) -> None:
        self._account_id = account_id
        self._provider = provider
        self._clock = clock
        self._before: dict[int, Row] = {}
        self._recorded: dict[int, set[int]] = {}
        """For each attempt, the numbers in the provider's log of its cancels."""
        self._left: dict[str, list[tuple[float, str]]] = {}
        """For each invoice, when its cancels left, whether they arrived or not."""
        self.batches: dict[int, list[tuple[float, str]]] = {}
        """Since when each batch has been in which state, as people made it."""

    # --- a request leaves -------------------------------------------------------------------------

    def leaving(self, request: OutgoingRequest, lease: Lease) -> None:
        """1, 3, 6, 7, 10 and the first-byte rule, at the moment of the first byte."""
        if connection.in_atomic_block:
            raise Violation(f"{request.purpose} leaves inside a transaction")
        self._held_by(request, lease)
        stored = ProviderRequest.objects.filter(pk=request.id).values_list("created_at", flat=True)
        if not stored:
            raise Violation(f"{request.purpose} leaves and is not on record")
        if request.purpose == "cancel":
            self._cancel_leaving(request, self._clock.at(stored[0]))

    def _held_by(self, request: OutgoingRequest, lease: Lease) -> None:
        mine = ProviderAccount.objects.filter(
            pk=self._account_id, lease_token=lease.token, lease_expires_at__gt=self._clock.utc()
        )
        if not mine.exists():
            raise Violation(f"{request.purpose} leaves without a lease")

    def _cancel_leaving(self, request: OutgoingRequest, stored_at: float) -> None:
        rows = CallSubject.objects.filter(request_id=request.id).select_related("attempt__invoice")
        subjects = [one.attempt for one in rows if one.attempt is not None]
        about = sorted(one.invoice.external_id for one in subjects)
        if about != sorted(request.references):
            raise Violation(f"a cancel of {request.references} is on record about {about}")
        number = len(self._provider.log) + 1
        for attempt in subjects:
            self._recorded.setdefault(attempt.pk, set()).add(number)
            state = self._batch_state_at(attempt.batch_id, stored_at)
            if state != "running":
                raise Violation(f"a cancel was put on record while its batch was {state}")
        for reference in request.references:
            self._overlapping(reference)
            self._blind(reference)
            self._left.setdefault(reference, []).append((self._clock.now, str(request.id)))

    def _batch_state_at(self, batch_id: int, moment: float) -> str:
        states = self.batches.get(batch_id, [])
        past = (state for since, state in reversed(states) if since <= moment + MICROSECONDS)
        return next(past, "unconfirmed")

    def _overlapping(self, reference: str) -> None:
        for entry in self._provider.log:
            same = entry["kind"] == "cancel" and reference in entry["ids"]
            if same and entry["finished"] > self._clock.now:
                raise Violation(f"two cancels of {reference} overlap")

    def _blind(self, reference: str) -> None:
        """Rule 5: sent again only after a read that was asked for late enough and said "open"."""
        adapter = self._provider.adapter
        for left_at, request_id in self._left.get(reference, ()):
            if self._was_turned_away(request_id):
                continue
            proof = [
                entry
                for entry in self._provider.log
                if entry["kind"] == "fetch"
                and entry["started"] >= left_at + adapter.settle + adapter.read_lag
                and entry.get("said", {}).get(reference) in adapter.cancellable
            ]
            if not proof:
                raise Violation(f"{reference} is sent again, and no read has proved it undone")

    def _was_turned_away(self, request_id: str) -> bool:
        answers = (one for one in self._provider.log if one["request_id"] == request_id)
        return any(str(one["status"]) in TURNED_AWAY for one in answers)

    # --- after each step --------------------------------------------------------------------------

    def look(self, token: UUID | None, who: str) -> list[str]:
        """4, 5 and the lease's rule for whatever changed since the last look; says what did.

        `token` is that of the process which made the changes, None for a person.
        """
        self._provider.catch_up()
        changes = []
        rows = self._rows()
        for row in rows.values():
            was = self._before.get(row.pk)
            if was is not None and was.state in IN_HAND and was.state != row.state:
                self._was_theirs(was, row, token, who)
            if was is None or was.state != row.state:
                changes.append(f"{row.reference} is {row.state} {row.code}".rstrip())
            self._true_end(row)
        self._before = rows
        return changes

    def _rows(self) -> dict[int, Row]:
        with connection.cursor() as cursor:
            cursor.execute(ATTEMPTS)
            return {row[0]: Row(*row) for row in cursor.fetchall()}

    def _was_theirs(self, was: Row, row: Row, token: UUID | None, who: str) -> None:
        """6: what is in a drain's hand is moved on by that drain, or by one that took over."""
        if token is not None and was.token == token.hex:
            return
        held = ProviderAccount.objects.filter(pk=self._account_id, lease_token=token)
        if token is None or not held.exists():
            raise Violation(f"{who} moved {row.reference} from another drain's {was.state}")

    def _true_end(self, row: Row) -> None:
        done = self._provider.truth[row.reference].cancelled_by
        ours = self._recorded.get(row.pk, set()) & set(done)
        if row.state in SAID_CANCELLED and not done:
            raise Violation(f"{row.reference} is {row.state}, and not there")
        if row.state in NOT_DONE and ours:
            raise Violation(f"{row.reference} is {row.state}, and we did cancel it")
        if row.state == State.ALREADY_CANCELLED and ours:
            raise Violation(f"{row.reference} was cancelled by us, and we deny it")
        if row.state == State.CANCELLED and set(done) <= {OUTSIDE}:
            self._some_doubt(row)

    def _some_doubt(self, row: Row) -> None:
        """Who claims somebody else's cancellation must have asked for it himself.

        That a request was not sent after all may come to light only after a takeover.
        """
        asked = CallSubject.objects.filter(attempt_id=row.pk, request__purpose="cancel")
        taken_over = HistoryEvent.objects.filter(
            attempt_id=row.pk, from_state="sending", code="interrupted"
        )
        doubt = asked.exclude(request__response__sent=False).exists() or taken_over.exists()
        if not doubt:
            raise Violation(f"{row.reference} was cancelled by somebody else, and we claim it")

    # --- at the end -------------------------------------------------------------------------------

    def whole_record(self) -> None:
        """All invariants that `verify_world` knows."""
        provider = self._provider
        done = {
            (provider.account, reference): truth.cancelled_by
            for reference, truth in provider.truth.items()
        }
        log: list[Any] = provider.log
        seen = Provider(log, done, [provider.account])
        asked = [check for name, check in CHECKS.items() if name not in LEFT_OUT]
        wrong = [one for check in asked for one in check(seen)]
        if wrong:
            raise Violation("; ".join(wrong))
