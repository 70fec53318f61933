"""One large batch through the pages and a real worker: from ticking all of it to its last answer.

Its memory, too: a worker that is at it for long must not grow.
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.test import Client

from invoices.models import CancellationBatch, Heartbeat
from providers.sandbox.control_api import RemoteControl
from tests.bench.figures import Figure, Size, at_most, p95, seconds_of, times_as_much
from tests.bench.pages import INVOICES, page, signed_in
from tests.bench.stage import fast_account, fresh, import_invoices, logs, operator, sandbox
from tests.processes import MANAGE, environment, running, until

NOTHING_MORE = 286
BATCHES = "/admin/invoices/cancellationbatch/"
POLL_SECONDS = 0.5
EARLY = 1000
"""The worker's memory after so many is the baseline; after a hundredth of a small batch."""
LONGEST = 1800.0


def figures(size: Size) -> Iterator[Figure]:
    """Preview, first call, polls and memory."""
    with sandbox() as origin:
        account = fast_account(origin)
        import_invoices(account, fresh(origin, size.batch))
        client = signed_in(operator())
        env = environment(logs(), origin)
        with running(*MANAGE, "worker", env=env, log=logs() / "worker.log") as worker:
            until(Heartbeat.objects.exists, LONGEST)
            job = Job(client, account.pk, size.batch, worker.pid)
            took = seconds_of(job.preview)
            yield at_most(f"select all {job.selected:,} -> preview", took, "s", 2)
            took = job.first_call(RemoteControl(origin))
            yield at_most(f"confirm {job.selected:,} -> first call", took, "s", 5)
            yield from job.follow()


@dataclass
class Job:
    """A person at the pages, and the process that does the work."""

    client: Client
    account: int
    selected: int
    worker: int
    pk: int = 0
    polls: list[float] = field(default_factory=list)
    memory: list[tuple[int, int]] = field(default_factory=list)

    def preview(self) -> None:
        """Everything that is open at the account, by the list's own action."""
        chosen = f"{INVOICES}?account={self.account}&status=open"
        ticked = {"action": "cancel_selected", "select_across": "1", "index": "0"}
        answer = self.client.post(chosen, {**ticked, "_selected_action": "0"})
        self.pk = int(answer.headers["Location"].rstrip("/").split("/")[-2])
        page(self.client, f"{BATCHES}{self.pk}/preview/")

    def first_call(self, control: Any) -> float:
        """Seconds from confirming to the provider's first request to cancel."""
        batch = CancellationBatch.objects.get(pk=self.pk)
        if batch.selected_count != self.selected:
            raise SystemExit(f"{batch.selected_count} selected, not {self.selected}")
        form = {"digest": batch.digest, "key": str(batch.confirm_key), "reason": "test", "note": ""}
        # Watched from aside: the page may take longer than the worker.
        seen: list[float] = []
        watching = threading.Thread(target=lambda: seen.append(when_called(control)))
        started = time.monotonic()
        watching.start()
        answer = self.client.post(f"{BATCHES}{self.pk}/preview/", form)
        if answer.status_code != 303:
            raise SystemExit(f"confirming answered {answer.status_code}")
        watching.join()
        return seen[0] - started

    def follow(self) -> Iterator[Figure]:
        """Until the last one is cancelled."""
        begun = time.monotonic()
        left = self.selected
        while left and time.monotonic() - begun < LONGEST:
            self.polls.append(seconds_of(self.poll) * 1000)
            left = self.left()
            self.memory.append((self.selected - left, memory_of(self.worker)))
            time.sleep(POLL_SECONDS if left else 0)
        took = time.monotonic() - begun
        yield Figure(f"batch of {self.selected:,}, worked off", self.selected / took, "/s")
        yield at_most("batch page, poll while it runs, p95", p95(self.polls), "ms", 60)
        yield from self._memory()

    def _memory(self) -> Iterator[Figure]:
        early = min(EARLY, self.selected // 10)
        later = [held for done, held in self.memory if done >= early]
        if later and later[0]:
            name = f"worker's memory, {self.selected:,} invoices: after {early:,}"
            yield times_as_much(name, max(later), "MB", later[0], 1.3)

    def poll(self) -> None:
        """What poll.js asks for; the last answer says that nothing more will come."""
        status = self.client.get(f"{BATCHES}{self.pk}/progress/").status_code
        if status not in (200, NOTHING_MORE):
            raise SystemExit(f"a poll answered {status}")

    def left(self) -> int:
        """How many are not cancelled yet."""
        batch = CancellationBatch.objects.get(pk=self.pk)
        return batch.attempts.exclude(state="cancelled").count()


def when_called(control: Any) -> float:
    """The moment at which a first request to cancel is in."""
    gives_up = time.monotonic() + LONGEST
    while time.monotonic() < gives_up:
        if any("cancel" in kinds for kinds in control.stats()["requests"].values()):
            break
        time.sleep(0.02)
    return time.monotonic()


def memory_of(leader: int) -> int:
    """Megabytes of a process and all that it started, shared pages once; 0 without /proc."""
    return sum(map(_kilobytes, _with_children(leader))) // 1024


def _with_children(pid: int) -> Iterator[int]:
    yield pid
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _with_children(int(child))
    except OSError:
        return


def _kilobytes(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    [pss] = [line for line in rollup.splitlines() if line.startswith("Pss:")]
    return int(pss.split()[1])
