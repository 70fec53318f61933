"""How far a batch is: counts that add up, rate, time left, errors by kind, and who works."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Max, Q
from django.db.models.functions import Now
from django.utils import timezone

from invoices.models import (
    CancellationAttempt,
    CancellationBatch,
    Heartbeat,
    HistoryEvent,
    ProviderRequest,
)
from invoices.models.attempt import UNVERIFIED, WORKING, State
from invoices.reasons import reason
from providers.models import ProviderAccount

SILENCE = timedelta(seconds=60)
"""A worker that gave no sign of life for so long is taken to be gone.

One whose every place is taken by a drain gives it only after that drain's time budget.
"""
RATE_WINDOW = timedelta(seconds=60)
RATE_EVENTS = 400
"""The rate is taken from at most so many of a batch's newest events: an index range."""

ORDER = (
    State.NEEDS_REVIEW,
    State.UNKNOWN,
    State.FAILED,
    State.REFUSED,
    State.SKIPPED,
    State.SENDING,
    State.CLAIMED,
    State.ACCEPTED,
    State.QUEUED,
    State.WITHDRAWN,
    State.CANCELLED,
    State.ALREADY_CANCELLED,
    State.DRAFT,
    State.INELIGIBLE,
)
"""In which order rows are listed: first what a person should look at."""

BAR_ORDER = (
    State.CANCELLED,
    State.ALREADY_CANCELLED,
    State.ACCEPTED,
    State.SENDING,
    State.CLAIMED,
    State.QUEUED,
    State.DRAFT,
    State.UNKNOWN,
    State.NEEDS_REVIEW,
    State.FAILED,
    State.REFUSED,
    State.SKIPPED,
    State.WITHDRAWN,
    State.INELIGIBLE,
)
TROUBLE = (
    State.NEEDS_REVIEW,
    State.UNKNOWN,
    State.FAILED,
    State.REFUSED,
    State.SKIPPED,
    State.WITHDRAWN,
    State.INELIGIBLE,
)
BatchState = CancellationBatch.State
RUNNING = (BatchState.RUNNING, BatchState.PAUSED, BatchState.STOPPING)
"""States of a batch in which something may still happen."""
NOT_OVER = (*RUNNING, BatchState.AWAITING_APPROVAL)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many attempts of a batch are in one state."""

    state: State
    count: int

    @property
    def word(self) -> str:
        """As it reads in a sentence."""
        return str(self.state.label).lower()


@dataclass(frozen=True, slots=True)
class Trouble:
    """Attempts of a batch that share a state and a code."""

    state: State
    code: str
    count: int

    @property
    def sentence(self) -> str:
        """Why, for people."""
        return reason(self.state, self.code)


@dataclass(frozen=True, slots=True)
class Progress:
    """A batch at one moment.

    `rate` is per second; `seconds_left` None: there is no telling. `blocked` wait for an account
    that is paused, `resting` for one that rests and then goes on by itself.
    """

    selected: int
    outcomes: tuple[Outcome, ...]
    unverified: int
    rate: float
    seconds_left: int | None
    blocked: int
    resting: int
    is_final: bool

    @property
    def working(self) -> int:
        """How many are still to be brought to an end."""
        return sum(one.count for one in self.outcomes if one.state in WORKING)

    @property
    def held_up(self) -> int:
        """How many cannot go on for now, because of their account."""
        return self.blocked + self.resting

    @property
    def total(self) -> int:
        """What the outcomes add up to: always the selection."""
        return sum(one.count for one in self.outcomes)

    @property
    def eligible(self) -> int:
        """How many a cancellation is or was asked for."""
        left_out = (State.INELIGIBLE, State.DRAFT)
        return sum(one.count for one in self.outcomes if one.state not in left_out)

    @property
    def done(self) -> int:
        """How many of the eligible need no more work."""
        return self.eligible - self.working

    @property
    def counts(self) -> list[tuple[str, int, str]]:
        """For the bar and its legend."""
        return [(str(one.state), one.count, one.word) for one in self.outcomes]


def progress(batch: CancellationBatch) -> Progress:
    """Where a batch stands now."""
    found, unverified = _counted(batch)
    outcomes = tuple(Outcome(state, found[state]) for state in BAR_ORDER if state in found)
    working = sum(found.get(state, 0) for state in WORKING)
    blocked, resting = _held_up(batch) if working else (0, 0)
    rate = _rate(batch) if working and batch.state == BatchState.RUNNING else 0.0
    return Progress(
        selected=batch.selected_count,
        outcomes=outcomes,
        unverified=unverified,
        rate=rate,
        seconds_left=round((working - blocked - resting) / rate) if rate else None,
        blocked=blocked,
        resting=resting,
        is_final=batch.state not in NOT_OVER and not working and not unverified,
    )


def _counted(batch: CancellationBatch) -> tuple[dict[State, int], int]:
    """Attempts by state, and how many are unverified: one way through the rows for both."""
    rows = (
        batch.attempts.order_by()
        .values_list("state")
        .annotate(count=Count("*"), unverified=Count("pk", filter=UNVERIFIED))
    )
    counts = [(State(state), count, unverified) for state, count, unverified in rows]
    found = {state: count for state, count, _ in counts}
    return found, sum(unverified for *_, unverified in counts)


def standing(batch: CancellationBatch) -> tuple[str, str]:
    """A batch's state for its badge, (state, word), where the clock says more than the row."""
    if batch.is_delayed and batch.state == BatchState.RUNNING:
        return "scheduled", "Not started yet"
    if batch.is_overdue:
        return str(BatchState.EXPIRED), str(BatchState.EXPIRED.label)
    return str(batch.state), batch.get_state_display()


def _held_up(batch: CancellationBatch) -> tuple[int, int]:
    """How many wait for a paused account, and how many for one that rests.

    From the accounts, of which few are held up, to the attempts: mostly there is none to count.
    """
    paused, rests = Q(paused_at__isnull=False), Q(paused_at=None, resting_until__gt=Now())
    held = dict(ProviderAccount.objects.filter(paused | rests).values_list("pk", "paused_at"))
    if not held:
        return 0, 0
    counts = (
        batch.attempts.all()
        .working()
        .filter(account__in=held)
        .order_by()
        .values_list("account")
        .annotate(count=Count("pk"))
    )
    blocked = sum(count for account, count in counts if held[account] is not None)
    return blocked, sum(count for _, count in counts) - blocked


def counts_of(batch_ids: list[int]) -> dict[int, dict[State, int]]:
    """Attempts by state for each of these batches, by one query over an index."""
    rows = (
        CancellationAttempt.objects.filter(batch__in=batch_ids)
        .order_by()
        .values_list("batch_id", "state")
        .annotate(count=Count("*"))
    )
    found: dict[int, dict[State, int]] = {}
    for batch_id, state, count in rows:
        found.setdefault(batch_id, {})[State(state)] = count
    return found


def counts_for_bar(found: dict[State, int]) -> list[tuple[str, int, str]]:
    """(state, count, word) in the bar's order."""
    return [
        (str(state), found[state], str(state.label).lower())
        for state in BAR_ORDER
        if found.get(state)
    ]


def troubles(batch: CancellationBatch) -> list[Trouble]:
    """What did not go as wished, the most frequent first within what matters most."""
    rows = (
        batch.attempts.filter(state__in=TROUBLE)
        .order_by()
        .values_list("state", "code")
        .annotate(count=Count("pk"))
    )
    found = [Trouble(State(state), code, count) for state, code, count in rows]
    return sorted(found, key=lambda one: (TROUBLE.index(one.state), -one.count, one.code))


def rows_of(
    batch: CancellationBatch, *, state: str, code: str | None, start: int, length: int
) -> tuple[list[CancellationAttempt], int]:
    """Some of a batch's attempts, those to look at first, and how many there are.

    `state` "" means all, `code` None any. Goes state by state along an index: sorting a hundred
    thousand rows for one page would not.
    """
    attempts = batch.attempts.select_related("invoice", "account").order_by("pk")
    if code is not None:
        attempts = attempts.filter(code=code)
    counts = attempts.order_by().values_list("state").annotate(count=Count("pk"))
    found = {State(name): count for name, count in counts if not state or name == state}
    rows: list[CancellationAttempt] = []
    skip = start
    for one in ORDER:
        here = found.get(one, 0)
        if skip < here and len(rows) < length:
            rows += attempts.filter(state=one)[skip : skip + length - len(rows)]
        skip = max(0, skip - here)
    return rows, sum(found.values())


def worker_is_alive() -> bool:
    """Whether anybody works: a sign of life through the queue, or a call to a provider.

    The sign waits its turn behind drains, so under load the calls are the better proof.
    """
    lately = Now() - SILENCE
    if Heartbeat.objects.filter(seen_at__gte=lately).exists():
        return True
    purposes = (ProviderRequest.Purpose.CANCEL, ProviderRequest.Purpose.FETCH)
    newest = ProviderRequest.objects.filter(purpose__in=purposes).order_by("-pk").values("pk")[:1]
    return bool(ProviderRequest.objects.filter(pk__in=newest, created_at__gte=lately).exists())


def worker_seen_at() -> datetime | None:
    """When the queue last gave a sign of life; None: never."""
    seen: datetime | None = Heartbeat.objects.aggregate(seen=Max("seen_at"))["seen"]
    return seen


def _rate(batch: CancellationBatch) -> float:
    """Attempts brought to an end per second, over the last minute or less."""
    ended = [state for state in State if state not in (*WORKING, State.DRAFT)]
    newest = HistoryEvent.objects.filter(batch=batch).order_by("-pk")[:RATE_EVENTS]
    events = list(newest.values_list("at", "to_state"))
    now = timezone.now()
    recent = [at for at, to in events if to in ended and now - at <= RATE_WINDOW]
    if not recent:
        return 0.0
    since = max(events[-1][0], now - RATE_WINDOW, batch.confirmed_at or now - RATE_WINDOW)
    seconds: float = (now - since).total_seconds()
    return len(recent) / max(1.0, seconds)
