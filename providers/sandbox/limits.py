"""Rate limits per account: a number of calls in a window of seconds."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Limit:
    """At most ``calls`` in any ``seconds``; with ``strict`` refused calls count as well."""

    calls: int
    seconds: float
    strict: bool = False
    refused: int = 0
    _times: deque[float] = field(default_factory=deque)

    def take(self) -> bool:
        """Whether one more call is allowed now; counts it if so."""
        now = time.monotonic()
        self._expire(now)
        allowed = len(self._times) < self.calls
        if allowed or self.strict:
            self._times.append(now)
        self.refused += not allowed
        return allowed

    @property
    def remaining(self) -> int:
        """Calls left in the window."""
        return max(0, self.calls - len(self._times))

    @property
    def reset(self) -> float:
        """Seconds until a call is allowed again, 0 if one is now."""
        if self.remaining:
            return 0.0
        deciding = self._times[len(self._times) - self.calls]
        return max(0.0, deciding + self.seconds - time.monotonic())

    def _expire(self, now: float) -> None:
        while self._times and self._times[0] <= now - self.seconds:
            self._times.popleft()


DOCUMENTED: dict[str, tuple[int, float, bool]] = {
    # Monite: API concepts, rate limiting (30 requests a second by default).
    "monite": (30, 1.0, False),
    # TEOS: overview, rate limiting (300 a minute; calls made while throttled count).
    "teos": (300, 60.0, True),
}
"""The limits the providers publish: calls, seconds, strict. The other three publish none."""
