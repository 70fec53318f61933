"""Time that passes only when the simulator says so, for Python's clocks and the database's."""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from unittest.mock import patch

from django.db.models.functions import Now
from django.utils import timezone

from invoices import calls, contention, drain, lease, pacing, settling

START = datetime(2026, 11, 20, 9, 0, 0, 500, tzinfo=UTC)
SQL_NOW = "simulated_now"
"""The name of `sql_now` in SQL: with it the text of a statement is the same at any time."""
LEAST_SLEEP = 0.5
SLEEPERS = (calls, contention, drain, lease, pacing, settling)
"""The modules of the engine that look at a clock."""


class Clock:
    """Seconds since the scenario began. `skew`: how far the running machine's clock is off."""

    def __init__(self) -> None:
        self.now = 0.0
        self.skew = 0.0

    def monotonic(self) -> float:
        return 1000.0 + self.now

    def time(self) -> float:
        return START.timestamp() + self.now + self.skew

    def sleep(self, seconds: float) -> None:
        """Rather too long, as on a busy machine; it also saves the steps of many short sleeps."""
        self.now += max(seconds, LEAST_SLEEP) if seconds else 0.0

    def utc(self) -> datetime:
        """The database's time."""
        return START + timedelta(seconds=self.now)

    def local(self) -> datetime:
        """The time by the clock of the machine that is running."""
        return self.utc() + timedelta(seconds=self.skew)

    def at(self, moment: datetime) -> float:
        """A moment of the database in seconds since the scenario began."""
        return (moment - START).total_seconds()


_asked: list[Clock] = []
"""The clock of the scenario that is played, the last one."""


def sql_now() -> str:
    """What `Now()` is in the database: the time of the scenario that is played."""
    return _asked[-1].utc().replace(tzinfo=None).isoformat(" ", "microseconds")


@contextmanager
def in_place_of_all_clocks(clock: Clock, dice: random.Random) -> Iterator[None]:
    """Have the engine, Django and SQL's Now() ask this clock, and waiting times roll these dice."""

    class LocalDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return clock.local()

    def as_literal(self: Now, *_: Any, **__: Any) -> tuple[str, tuple[Any, ...]]:
        return f"{SQL_NOW}()", ()

    _asked.append(clock)
    with ExitStack() as stack:
        stack.callback(_asked.pop)
        for module in SLEEPERS:
            stack.enter_context(patch.object(module, "time", clock))
        stack.enter_context(patch.object(lease, "datetime", LocalDatetime))
        stack.enter_context(patch.object(timezone, "now", clock.utc))
        stack.enter_context(patch.object(Now, "as_sqlite", as_literal))
        stack.enter_context(patch.object(pacing, "random", dice))
        yield
