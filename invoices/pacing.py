"""How fast one account may be called, and when it is better left alone for a while.

Both live in the memory of the one drainer that holds the account's lease, so they are exact.
Times are seconds on the monotonic clock.
"""

import random
import threading
import time
from collections import deque


class Rate:
    """Spaces the starts of requests: at most `per_second`, after a pause up to `burst` at once.

    A new drainer starts without a burst, so that a change of drainers never exceeds the rate.
    """

    def __init__(self, per_second: float, burst: float = 1.0) -> None:
        self._interval = 1.0 / per_second
        self._slack = self._interval * max(0.0, burst - 1.0)
        self._lock = threading.Lock()
        self._next = time.monotonic()

    def reserve(self) -> float:
        """Take the next free slot; returns how many seconds to wait for it."""
        with self._lock:
            now = time.monotonic()
            slot = max(self._next, now - self._slack)
            self._next = slot + self._interval
            return max(0.0, slot - now)


class Rest:
    """Until when an account is left alone. A rest that is over lasts until it is ended."""

    def __init__(self) -> None:
        self._until = 0.0

    def __bool__(self) -> bool:
        return self._until > 0.0

    @property
    def left(self) -> float:
        """Seconds that are left of it."""
        return max(0.0, self._until - time.monotonic())

    def begin(self, seconds: float) -> None:
        """From now on for so long."""
        self._until = time.monotonic() + seconds

    def end(self) -> None:
        """It is over, and that was taken note of."""
        self._until = 0.0


class Breaker:
    """Opens after five failures in a row, or when half of the last twenty failed."""

    IN_A_ROW = 5
    WINDOW = 20
    FIRST_SECONDS = 60.0
    LONGEST_SECONDS = 30 * 60.0

    def __init__(self, trips: int) -> None:
        self.trips = trips
        self._recent: deque[bool] = deque(maxlen=self.WINDOW)
        self._opened = 0.0

    def is_news(self, begun: float) -> bool:
        """Whether a call begun then says anything of the time since the breaker last opened."""
        return begun >= self._opened

    @property
    def half_open(self) -> bool:
        """It was open before: only a successful read closes it, never a cancel."""
        return self.trips > 0

    def note(self, ok: bool) -> float | None:
        """Take note of a call; returns for how long to leave the account alone, if at all."""
        self._recent.append(ok)
        if ok:
            return None
        recent = list(self._recent)
        row = recent[-self.IN_A_ROW :]
        tripped = (len(row) == self.IN_A_ROW and not any(row)) or (
            len(recent) == self.WINDOW and recent.count(False) * 2 >= self.WINDOW
        )
        if not tripped and not self.half_open:
            return None
        self._recent.clear()
        self._opened = time.monotonic()
        self.trips += 1
        return min(self.LONGEST_SECONDS, self.FIRST_SECONDS * 2.0 ** min(self.trips - 1, 10))

    def close(self) -> None:
        """A read succeeded."""
        self.trips = 0


def backoff(tries: int) -> float:
    """Seconds before the next try: full jitter up to min(600, 2 * 3^tries), at least one."""
    ceiling = min(600.0, 2.0 * 3.0 ** min(tries, 8))
    return max(1.0, random.uniform(0.0, ceiling))  # noqa: S311 - spread, not secrecy
