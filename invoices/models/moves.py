"""The states of an attempt, and the only ways from one to another.

`state` is written in this file and nowhere else: by `move` for rows at hand and by `move_all` for
as many as match. Both are a conditional UPDATE with the HistoryEvents in the same transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from django.core.exceptions import EmptyResultSet
from django.db import connection, models, transaction
from django.db.models import CharField, F, IntegerField, Q, Value
from django.db.models.functions import Now

from invoices import bulk, presence
from invoices.models.evidence import HistoryEvent
from invoices.models.invoice import Invoice

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from invoices.models.attempt import CancellationAttempt
    from invoices.models.batch import CancellationBatch


class State(models.TextChoices):
    """What is true of an attempt; the README draws the ways between them.

    `draft` and `ineligible` come before the batch starts: frozen by a preview, and frozen but
    turned down by a rule. Nothing was or will be sent for them in that state.
    """

    DRAFT = "draft", "Draft"
    INELIGIBLE = "ineligible", "Not eligible"
    QUEUED = "queued", "Queued"
    CLAIMED = "claimed", "Claimed"
    SENDING = "sending", "Sending"
    UNKNOWN = "unknown", "Outcome unknown"
    ACCEPTED = "accepted", "Accepted, waiting"
    CANCELLED = "cancelled", "Cancelled"
    ALREADY_CANCELLED = "already_cancelled", "Already cancelled"
    REFUSED = "refused", "Refused"
    SKIPPED = "skipped", "Skipped"
    FAILED = "failed", "Failed"
    WITHDRAWN = "withdrawn", "Withdrawn"
    NEEDS_REVIEW = "needs_review", "Needs review"


LIVE = (
    State.QUEUED,
    State.CLAIMED,
    State.SENDING,
    State.UNKNOWN,
    State.ACCEPTED,
    State.NEEDS_REVIEW,
)
"""States in which an invoice is spoken for: no second attempt may begin."""

UNVERIFIED = Q(state=State.CANCELLED, verified_at=None) & ~Q(evidence="person")
"""Cancelled by the provider's answer, and not yet read again to be sure."""

WORKING = (State.QUEUED, State.CLAIMED, State.SENDING, State.UNKNOWN, State.ACCEPTED)
"""States that the drain still has to bring to an end; while one exists a batch is not finished."""

LEGAL: dict[State, frozenset[State]] = {
    State.DRAFT: frozenset({State.QUEUED, State.INELIGIBLE}),
    State.QUEUED: frozenset(
        {State.CLAIMED, State.SKIPPED, State.ALREADY_CANCELLED, State.WITHDRAWN, State.FAILED}
    ),
    State.CLAIMED: frozenset(
        {
            State.SENDING,
            State.QUEUED,
            State.SKIPPED,
            State.ALREADY_CANCELLED,
            State.CANCELLED,
            State.REFUSED,
            State.FAILED,
            State.WITHDRAWN,
        }
    ),
    State.SENDING: frozenset(set(State) - {State.DRAFT, State.INELIGIBLE, State.CLAIMED}),
    State.UNKNOWN: frozenset(
        {
            State.CANCELLED,
            State.ALREADY_CANCELLED,
            State.REFUSED,
            State.QUEUED,
            State.FAILED,
            State.WITHDRAWN,
            State.NEEDS_REVIEW,
        }
    ),
    State.ACCEPTED: frozenset({State.CANCELLED, State.UNKNOWN, State.REFUSED, State.NEEDS_REVIEW}),
    State.CANCELLED: frozenset({State.NEEDS_REVIEW}),
    State.REFUSED: frozenset({State.NEEDS_REVIEW}),
    State.NEEDS_REVIEW: frozenset(
        {
            State.CANCELLED,
            State.ALREADY_CANCELLED,
            State.REFUSED,
            State.FAILED,
            State.WITHDRAWN,
        }
    ),
}
"""From each state, where an attempt may go. States that are missing are final."""


class IllegalMove(Exception):
    """A step that the state machine does not have: a mistake in our code."""


@dataclass(frozen=True, slots=True)
class Step:
    """Where attempts go and what is written with it.

    `changes` are further columns; `detail` is a plain sentence for the history. The step is taken
    only by rows in state `expected`, and with `lease` only by rows that this lease has claimed.
    """

    expected: State
    to: State
    code: str = ""
    detail: str = ""
    changes: dict[str, Any] = field(default_factory=dict)
    lease: UUID | None = None
    require: Q = field(default_factory=Q)


class AttemptQuerySet(models.QuerySet["CancellationAttempt"]):
    """Rows by what is to be done with them, and the only two ways to change their state."""

    def due(self, account_id: int) -> "AttemptQuerySet":
        """What an account's drain may work on now, the longest due first."""
        return self.filter(account_id=account_id, due_at__lte=Now()).order_by("due_at", "id")

    def live(self) -> "AttemptQuerySet":
        """Attempts that hold their invoice."""
        return self.filter(state__in=LIVE)

    def working(self) -> "AttemptQuerySet":
        """Attempts that the drain still has to bring to an end."""
        return self.filter(state__in=WORKING)

    def freeze(self, batch: "CancellationBatch", invoices: "models.QuerySet[Invoice]") -> int:
        """Add a draft attempt for each invoice, as it is now, by one statement.

        Returns how many. Which of them are eligible is marked afterwards by `rule_out`.
        """
        selected = Invoice.objects.filter(pk__in=invoices.order_by().values("pk")).order_by("pk")
        return insert_select(
            self.model,
            selected,
            {
                "batch_id": Value(batch.pk, IntegerField()),
                "invoice_id": F("pk"),
                "account_id": F("account_id"),
                "state": Value(str(State.DRAFT), CharField()),
                "frozen_status": F("status"),
                "frozen_amount_minor": F("amount_minor"),
                "frozen_currency": F("currency"),
                "frozen_exponent": F("exponent"),
                "frozen_customer": F("customer_name"),
                **{name: Value("", CharField()) for name in ("code", "message", "evidence")},
                **{name: Value(0, IntegerField()) for name in ("sends", "unsent", "reads")},
                "doubted": Value(False),
            },
        )

    def rule_out(self, code: str) -> int:
        """Mark drafts that were just frozen as not eligible: part of freezing, not a step."""
        return self.filter(state=State.DRAFT).update(state=State.INELIGIBLE, code=code)

    def reschedule(self, attempts: Sequence["CancellationAttempt"], **changes: Any) -> int:
        """Write when to look again, and what was learned, without a change of state."""
        if "state" in changes:
            raise IllegalMove("a state is changed by move() alone")
        return self.filter(pk__in=[one.pk for one in attempts]).update(**changes)

    def move(
        self,
        attempts: Sequence["CancellationAttempt"],
        step: Step,
        *,
        actor: "User | None" = None,
    ) -> set[int]:
        """Take one step with the attempts at hand; returns the ids of those that took it.

        Rows that are no longer in the expected state, or not claimed by the lease, stay as they
        are. Raises `IllegalMove` for a step that the state machine does not have.
        """
        _check(step)
        # One that is named twice takes the step once.
        named = {attempt.pk: attempt for attempt in attempts}
        if not named:
            return set()
        with transaction.atomic():
            moved = self._moved(list(named), step)
            _record([one for key, one in named.items() if key in moved], step, actor)
        return moved

    def _moved(self, ids: Sequence[int], step: Step) -> set[int]:
        values = {"state": step.to, "code": step.code, "moved_by": uuid4(), **step.changes}
        changed = _conditional(self.model.objects.filter(pk__in=ids), step).update(**values)
        if changed == len(ids):
            return set(ids)
        if not changed:
            return set()
        # Some had moved on in between: ask which of them carry our mark.
        marked = self.model.objects.filter(pk__in=ids, moved_by=values["moved_by"])
        return set(marked.values_list("pk", flat=True))

    def move_all(self, step: Step, *, actor: "User | None" = None) -> int:
        """Take one step with every row of this queryset; returns how many took it.

        The queryset must not be sliced and its filters must still hold after the step, except for
        the state. Two statements, whatever the number of rows.
        """
        _check(step)
        mark = uuid4()
        with transaction.atomic():
            values = {"state": step.to, "code": step.code, "moved_by": mark, **step.changes}
            moved = _conditional(self, step).update(**values)
            if moved:
                _record_marked(self.filter(state=step.to, moved_by=mark), step, actor)
        return moved


def _check(step: Step) -> None:
    if step.to not in LEGAL.get(step.expected, frozenset()):
        raise IllegalMove(f"{step.expected} -> {step.to}")


def _conditional(rows: AttemptQuerySet, step: Step) -> AttemptQuerySet:
    rows = rows.filter(step.require, state=step.expected)
    return rows if step.lease is None else rows.filter(lease_token=step.lease)


def _record(attempts: Sequence["CancellationAttempt"], step: Step, actor: "User | None") -> None:
    """One HistoryEvent for each. As bare values: there are three or four for each invoice."""
    constants = {
        "kind": HistoryEvent.Kind.ATTEMPT_STATE,
        "actor_id": actor.pk if actor else None,
        "from_state": step.expected,
        "to_state": step.to,
        "code": step.code,
        "detail": step.detail[:500],
        "address": presence.address(),
    }
    columns = ("account_id", "batch_id", "attempt_id", "invoice_id", *constants)
    values = tuple(constants.values())
    bulk.write(
        HistoryEvent,
        columns,
        ((one.account_id, one.batch_id, one.pk, one.invoice_id, *values) for one in attempts),
    )


def _record_marked(rows: AttemptQuerySet, step: Step, actor: "User | None") -> None:
    """INSERT ... SELECT of one HistoryEvent for each row."""
    constants = {
        "kind": Value(str(HistoryEvent.Kind.ATTEMPT_STATE), CharField()),
        "actor_id": Value(actor.pk if actor else None, IntegerField()),
        "from_state": Value(str(step.expected), CharField()),
        "to_state": Value(str(step.to), CharField()),
        "code": Value(step.code, CharField()),
        "detail": Value(step.detail[:500], CharField()),
        "address": Value(presence.address(), CharField()),
    }
    columns = {
        "account_id": F("account_id"),
        "batch_id": F("batch_id"),
        "attempt_id": F("pk"),
        "invoice_id": F("invoice_id"),
    }
    insert_select(HistoryEvent, rows.order_by(), {**constants, **columns} | {"at": Now()})


def insert_select(
    model: type[models.Model], rows: "models.QuerySet[Any]", columns: dict[str, Any]
) -> int:
    """`INSERT INTO model (columns) SELECT expressions FROM rows`; returns the number of rows."""
    aliased = {f"into_{name}": expression for name, expression in columns.items()}
    selected = rows.annotate(**aliased).values_list(*aliased)
    try:
        sql, params = selected.query.sql_with_params()
    except EmptyResultSet:  # It is plain without asking the database that nothing matches.
        return 0
    names = ", ".join(connection.ops.quote_name(name) for name in columns)
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} ({names}) {sql}", params)
        return int(cursor.rowcount)
