"""The worker as a process: it lives, it is replaced, and it ends."""

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from invoices.models import Heartbeat
from invoices.supervision import Child
from tests.crash.site import children_of
from tests.processes import MANAGE, environment, is_alive, running, until

pytestmark = [
    pytest.mark.django_db(transaction=True, serialized_rollback=True),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


class Started:
    """A worker under test."""

    def __init__(self, process: Child, log: Path) -> None:
        self.process = process
        self.log = log

    def clusters(self) -> list[int]:
        """The process ids of its clusters, in the order in which they were started."""
        return [int(pid) for pid in re.findall(r"The cluster (\d+) starts", self.log.read_text())]

    def await_sign(self, seconds: float = 20.0) -> None:
        """Wait for a sign of life that is newer than the last."""
        before = set(Heartbeat.objects.values_list("seen_at", flat=True))
        until(lambda: set(Heartbeat.objects.values_list("seen_at", flat=True)) - before, seconds)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Started]:
    """A worker on the test's database, with as little patience as the settings allow."""
    env = environment(tmp_path, WORKER_WEDGED_SECONDS="10")
    log = tmp_path / "worker.log"
    with running(*MANAGE, "worker", env=env, log=log) as process:
        started = Started(process, log)
        started.await_sign()
        yield started


def test_it_ends_within_seconds_and_leaves_nothing(worker: Started) -> None:
    [cluster] = worker.clusters()
    assert worker.process.stop(10)
    assert worker.process.status == 0
    assert not is_alive(cluster)
    assert not Heartbeat.objects.exists()


def test_a_cluster_that_was_killed_or_stands_still_is_replaced(worker: Started) -> None:
    [first] = worker.clusters()
    os.kill(first, signal.SIGKILL)
    worker.await_sign()
    first_again, second = worker.clusters()
    assert (first_again, is_alive(first)) == (first, False)

    # As after the loss of an idle process: alive, and deaf for good.
    os.killpg(second, signal.SIGSTOP)
    until(lambda: len(worker.clusters()) == 3, 90)
    worker.await_sign()
    assert not is_alive(second)
    assert "does not answer" in worker.log.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="who is whose child is read from /proc")
def test_it_works_again_after_its_idle_pool_died_with_the_queues_lock(worker: Started) -> None:
    [leader] = worker.clusters()
    [sentinel] = children_of(leader)
    # The sentinel starts its pool first. One of the idle holds the lock of the queue between
    # them; killed, it never gives it back, and those started in its place wait for good.
    for pid in sorted(children_of(sentinel))[: settings.WORKER_ACCOUNTS_IN_PARALLEL]:
        os.kill(pid, signal.SIGKILL)
    worker.await_sign(90)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_its_cluster_does_not_outlive_it(worker: Started) -> None:
    [cluster] = worker.clusters()
    worker.process.kill()
    until(lambda: not is_alive(cluster), 10)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no server to lose")
def test_it_goes_on_when_the_database_server_dropped_all_connections(worker: Started) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert cursor.rowcount >= 2
    worker.await_sign(30)
    assert worker.process.is_running()
