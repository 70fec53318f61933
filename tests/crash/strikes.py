"""What is done to a site: killing, freezing, crashing, emptying."""

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from django.db import DatabaseError, connection

from tests.crash.database import Server
from tests.crash.site import WORKERS, Site

WEIGHTS = {
    "pool": 5.0,
    "leader": 3.0,
    "worker": 2.0,
    "sentinel": 2.0,
    "monitor": 2.0,
    "pusher": 1.0,
    "web": 2.0,
    "queue": 1.5,
    "database": 1.0,
    "freeze": 1.0,
    "disk": 0.5,
}
PAST_THE_LEASE = 0.8
"""Seconds that a freeze is longer than a lease, at least."""


@dataclass(frozen=True, slots=True)
class Strike:
    """One that hit, by the wall clock."""

    kind: str
    at: float


class Striker:
    """Chooses by a seed what is hit, and remembers it."""

    def __init__(self, site: Site, server: Server, dice: random.Random, lease: float) -> None:
        self.strikes: list[Strike] = []
        self._site = site
        self._server = server
        self._dice = dice
        self._lease = lease
        self._frozen: list[tuple[float, list[int]]] = []
        kinds: dict[str, Callable[[], bool]] = {
            "worker": self._kill_a_worker,
            "web": self._kill_the_web,
            "queue": self._empty_the_queue,
            "database": self._crash_the_database,
            "freeze": self._freeze_a_worker,
            "disk": self._fill_the_disk,
        }
        self._kinds = kinds if server.can_be_full else {**kinds, "disk": lambda: False}

    def strike(self) -> bool:
        """One more; False when there is nothing to be hit just now."""
        [kind] = self._dice.choices([*WEIGHTS], [*WEIGHTS.values()])
        at = time.time()
        hit = self._kinds[kind]() if kind in self._kinds else self._kill_one_of_a_cluster(kind)
        if hit:
            self.strikes.append(Strike(kind, at))
        return hit

    def thaw(self, *, all_of_them: bool = False) -> None:
        """Let go on what stood still for long enough."""
        now = time.monotonic()
        for until, pids in list(self._frozen):
            if all_of_them or now >= until:
                self._frozen.remove((until, pids))
                for pid in pids:
                    _signal(pid, signal.SIGCONT)

    def _kill_one_of_a_cluster(self, role: str) -> bool:
        cluster = self._site.cluster(self._dice.choice(WORKERS))
        chosen = [pid for pid, its in cluster.items() if its == role]
        return bool(chosen) and _signal(self._dice.choice(chosen), signal.SIGKILL)

    def _kill_a_worker(self) -> bool:
        """As systemd leaves it, with nothing of its group left, or as a Procfile does."""
        name = self._dice.choice(WORKERS)
        cluster = self._site.cluster(name)
        hit = _signal(self._site.pid(name), signal.SIGKILL)
        if self._dice.random() < 0.5:
            for pid in cluster:
                _signal(pid, signal.SIGKILL)
        return hit

    def _kill_the_web(self) -> bool:
        with suppress(ProcessLookupError):
            os.killpg(self._site.pid("web"), signal.SIGKILL)
            return True
        return False

    def _freeze_a_worker(self) -> bool:
        """Its whole session stands still past its lease; `thaw` lets it go on."""
        if self._frozen:
            return False
        name = self._dice.choice(WORKERS)
        pids = [self._site.pid(name), *self._site.cluster(name)]
        until = time.monotonic() + self._lease + PAST_THE_LEASE + self._dice.random()
        self._frozen.append((until, pids))
        for pid in pids:
            _signal(pid, signal.SIGSTOP)
        return True

    def _empty_the_queue(self) -> bool:
        try:
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM django_q_ormq")
        except DatabaseError:
            connection.close()
            return False
        return True

    def _crash_the_database(self) -> bool:
        self._server.crash()
        time.sleep(self._dice.uniform(0.0, 2.0))
        self._server.start()
        return True

    def _fill_the_disk(self) -> bool:
        self._server.fill_up()
        return True


def _signal(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
