"""`manage.py worker`: the one process to run for all work in the background.

It runs django-q2's cluster in a session of its own, wakes accounts that have due work, and
replaces the cluster when it ends or stops answering: one that lost a process at the wrong moment
stands still for good while it reports itself healthy, so only a sign of life that came through
the queue is believed.
"""

import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import connections
from django_q.brokers import get_broker

from invoices import tasks, waking
from invoices.audit.sealing import Sealer
from invoices.models import Heartbeat
from invoices.supervision import Child

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
HEARTBEAT_SECONDS = 5.0
TIDY_SECONDS = 60.0
GRACE_SECONDS = 40.0
"""A drain under way may finish its calls; what is killed after that is settled by reading."""
LONGEST_PAUSE = 30.0


class Command(BaseCommand):
    """Runs until SIGTERM or SIGINT."""

    help = "Runs the work in the background: cancellations, imports, look-ups."

    def add_arguments(self, parser: CommandParser) -> None:
        """How long to wait at the end."""
        parser.add_argument(
            "--grace",
            type=float,
            default=GRACE_SECONDS,
            metavar="SECONDS",
            help="how long work under way may take to end after SIGTERM (default: %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Work until asked to stop."""
        Worker(options["grace"]).run()


class Ears:
    """Whether the cluster was heard lately: by changes that we saw, not by anybody's clock."""

    def __init__(self, now: float) -> None:
        self._seen: object = None
        self._since = now

    def restart(self, now: float) -> None:
        """The cluster is new, or we could not listen for a while: be patient from here on."""
        self._since = now

    def hear(self, seen: object, now: float) -> bool:
        """Take in the sign of life as it stands in the database; whether it is a new one."""
        if seen is None or seen == self._seen:
            return False
        self._seen, self._since = seen, now
        return True

    def is_wedged(self, now: float, somebody_works: bool) -> bool:
        """Whether the silence is too long; longer is granted while some account is in hand."""
        patience = settings.WORKER_WEDGED_SECONDS
        if somebody_works:
            patience += settings.DRAIN_LEASE_SECONDS
        return now - self._since > patience


class Worker:
    """The loop, its cluster, and when it last did what."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._row = secrets.randbelow(2**48) + 2
        self._stopping = False
        self._woken: dict[int, float] = {}
        self._imports: dict[int, float] = {}
        self._beat_at = self._tidy_at = self._start_at = 0.0
        self._pause = 1.0
        self._cluster: Child | None = None
        self._ears = Ears(time.monotonic())
        self._sealer = Sealer()
        self._broker = get_broker()

    def run(self) -> None:
        """Until asked to stop."""
        signal.signal(signal.SIGTERM, self._ask_to_stop)
        signal.signal(signal.SIGINT, self._ask_to_stop)
        log.info("The worker starts.")
        try:
            while not self._stopping:
                self._keep_cluster()
                self._look()
                self._sleep(LOOK_SECONDS)
        finally:
            self._end()

    def _ask_to_stop(self, *_: object) -> None:
        self._stopping = True

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < until:
            time.sleep(0.1)

    # --- the cluster --------------------------------------------------------------------

    def _keep_cluster(self) -> None:
        """Start the cluster, or another one in place of one that ended."""
        now = time.monotonic()
        if self._cluster is not None and not self._cluster.is_running():
            log.error("The cluster %s ended by itself; its rest is killed.", self._cluster.pid)
            self._drop_cluster(now)
        if self._cluster is None and now >= self._start_at:
            self._cluster = Child(
                [sys.executable, sys.argv[0], "qcluster"],
                env=os.environ | {tasks.WORKER: str(self._row)},
            )
            self._ears.restart(now)
            log.info("The cluster %s starts.", self._cluster.pid)

    def _drop_cluster(self, now: float) -> None:
        """Kill what is left; a cluster that keeps ending is started less and less often."""
        if self._cluster is not None:
            self._cluster.kill()
        self._cluster = None
        self._start_at = now + self._pause
        self._pause = min(LONGEST_PAUSE, self._pause * 2)

    # --- the database -------------------------------------------------------------------

    def _look(self) -> None:
        if self._attempted(self._listen):
            # A silent cluster may itself be what keeps us from writing: go on counting.
            self._attempted(self._wake)
            self._attempted(self._tidy_up)
            self._attempted(self._sealer.work)
        else:
            self._ears.restart(time.monotonic())

    def _attempted(self, work: Callable[[], None]) -> bool:
        """Whether it went well; what is away for now, the database or the queue, is waited for."""
        try:
            work()
        except Exception:
            log.exception("The worker cannot see the database or the queue; it tries again.")
            connections.close_all()
            return False
        return True

    def _listen(self) -> None:
        seen = Heartbeat.objects.filter(pk=self._row).values_list("seen_at", flat=True).first()
        now = time.monotonic()
        if self._ears.hear(seen, now):
            self._pause = 1.0
        elif self._cluster is not None and self._ears.is_wedged(now, waking.somebody_works()):
            log.error("The cluster %s does not answer; it is killed.", self._cluster.pid)
            self._drop_cluster(now)

    def _wake(self) -> None:
        now, queued = time.monotonic(), self._broker.queue_size()
        self._woken = _remember(self._woken, waking.accounts_due(), now, queued, tasks.wake)
        self._imports = _remember(
            self._imports, waking.imports_due(), now, queued, tasks.start_sync
        )
        if now >= self._beat_at and queued < waking.FULL:
            self._beat_at = now + HEARTBEAT_SECONDS
            tasks.send_heartbeat()

    def _tidy_up(self) -> None:
        if time.monotonic() >= self._tidy_at:
            self._tidy_at = time.monotonic() + TIDY_SECONDS
            waking.tidy_up()

    def _end(self) -> None:
        """Ask the cluster to finish what is in hand, then see that nothing is left."""
        log.info("The worker stops.")
        if self._cluster is not None and not self._cluster.stop(self._grace):
            log.error("The cluster did not stop in time and was killed.")
        try:
            Heartbeat.objects.filter(pk=self._row).delete()
        except Exception:
            log.exception("The worker could not sign off.")


def _remember(
    woken: dict[int, float],
    due: list[int],
    now: float,
    queued: int,
    wake: Callable[[int], None],
) -> dict[int, float]:
    """Wake what is worth it; when each that is still due was last woken."""
    fresh = waking.worth_waking(due, woken, now, queued)
    for one in fresh:
        wake(one)
    return {one: now if one in fresh else woken[one] for one in due if one in fresh or one in woken}
