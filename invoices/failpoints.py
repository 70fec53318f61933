"""Named places in the engine at which a test may kill, freeze or break this process.

    ANNUL_FAILPOINTS="drain.after_intent:kill, settling.after_flush:raise:2"

Each entry is a name, what happens there (`kill`, `stop`, `raise`) and at which time of passing,
the first unless said. Unarmed, `failpoint` does nothing; armed outside of DEMO and DEBUG, the
process refuses to start.
"""

import os
import signal
import threading
from collections import Counter
from dataclasses import dataclass

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

VARIABLE = "ANNUL_FAILPOINTS"
SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
STDERR = 2


class FailpointReached(Exception):
    """What `raise` raises."""


@dataclass(frozen=True, slots=True)
class Failpoint:
    """What happens at a place, and the how-manyeth time somebody passes."""

    action: str
    nth: int = 1

    def strike(self, name: str) -> None:
        """Do it; the last words are for whoever reads the log."""
        os.write(STDERR, f"failpoint {name}: {self.action}\n".encode())
        if self.action == "raise":
            raise FailpointReached(name)
        os.kill(os.getpid(), SIGNALS[self.action])


class Armed:
    """The armed places; called in whatever thread passes one."""

    def __init__(self, points: dict[str, Failpoint]) -> None:
        self._points = points
        self._passed: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, name: str) -> None:
        point = self._points.get(name)
        if point is None:
            return
        with self._lock:
            self._passed[name] += 1
            is_due = self._passed[name] == point.nth
        if is_due:
            point.strike(name)


def parse(given: str) -> dict[str, Failpoint]:
    """The places named in the variable. Raises `ImproperlyConfigured` for what it cannot mean."""
    points = {}
    for entry in filter(None, (part.strip() for part in given.split(","))):
        name, _, rest = entry.partition(":")
        action, _, nth = rest.partition(":")
        nth = nth or "1"
        if action not in (*SIGNALS, "raise") or not nth.isdecimal() or int(nth) < 1:
            raise ImproperlyConfigured(
                f"{VARIABLE} has {entry!r}; write NAME:kill, NAME:stop or NAME:raise, and :2 after"
                " it for the second time"
            )
        points[name] = Failpoint(action, int(nth))
    return points


def _unarmed(name: str) -> None:
    pass


def armed_by(given: str, local: bool) -> Armed | None:
    """What the variable arms, if anything. Raises `ImproperlyConfigured` where it must not."""
    if not given.strip():
        return None
    if not local:
        raise ImproperlyConfigured(f"{VARIABLE} is for DEMO and DEBUG; leave it out here")
    return Armed(parse(given))


failpoint = armed_by(os.environ.get(VARIABLE, ""), settings.DEMO or settings.DEBUG) or _unarmed
