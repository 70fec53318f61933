"""The processes of a site: two workers, the web, a sandbox; and who is who among them."""

import os
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from backoffice.demonstration import HOST, answers
from invoices.supervision import Child
from tests.processes import MANAGE, until

WORKERS = ("worker-1", "worker-2")
RESTART_SECONDS = 1.0
START_SECONDS = 60.0
FAILPOINTS = (
    "calls.after_answer",
    "calls.before_write",
    "drain.after_claim",
    "drain.after_intent",
    "drain.before_record",
    "settling.after_answers",
    "settling.after_flush",
    "settling.before_flush_commits",
)
PASSED = (5, 80)


@dataclass(frozen=True)
class Address:
    """The ports taken."""

    web: int
    sandbox: int


@dataclass
class Cluster:
    """The processes of one qcluster, by what they do."""

    leader: int
    roles: dict[int, str] = field(default_factory=dict)

    def look(self, size: int) -> dict[int, str]:
        """Its processes now. The sentinel starts its pool, the monitor, then the pusher."""
        sentinels = children_of(self.leader)
        if not sentinels:
            return {}
        alive = children_of(sentinels[0])
        missing = [role for pid, role in self.roles.items() if pid not in alive]
        new = [pid for pid in alive if pid not in self.roles]
        if not self.roles:
            missing = [*["pool"] * size, "monitor", "pusher"]
        self.roles = {pid: role for pid, role in self.roles.items() if pid in alive}
        self.roles |= dict(zip(new, missing, strict=False))
        return {self.leader: "leader", sentinels[0]: "sentinel", **self.roles}


class Site:
    """Starts everything, and starts again what ends, as a service manager does."""

    def __init__(
        self,
        folder: Path,
        env: Mapping[str, str],
        address: Address,
        size: int,
        dice: random.Random,
    ) -> None:
        self.folder = folder
        self.sandbox_log = folder / "sandbox.jsonl"
        self.origin = f"http://{HOST}:{address.web}"
        self._env = dict(env)
        self._address = address
        self._size = size
        self._dice = dice
        self._children: dict[str, Child] = {}
        self._ended: dict[str, float] = {}
        self._clusters: dict[str, Cluster] = {}
        self._old_leaders: set[int] = set()

    def start_sandbox(self, invoices: int, seed: int) -> None:
        """The five providers."""
        self._programs = self._commands(invoices, seed)
        self._launch("sandbox")
        self._await(self._address.sandbox, "/_control/switches")

    def start(self) -> None:
        """The web and the workers."""
        for name in ("web", *WORKERS):
            self._launch(name)
        self._await(self._address.web, "/readyz")

    def keep(self) -> None:
        """Start again what ended a moment ago."""
        now = time.monotonic()
        for name, child in self._children.items():
            if child.is_running():
                continue
            ended = self._ended.setdefault(name, now)
            if now - ended >= RESTART_SECONDS:
                del self._ended[name]
                child.kill()
                self._launch(name)

    def pid(self, name: str) -> int:
        """Of a process that was started here."""
        return self._children[name].pid

    def cluster(self, worker: str) -> dict[int, str]:
        """What runs below a worker, by process id; empty while nothing does."""
        leaders = children_of(self.pid(worker))
        if not leaders:
            return {}
        known = self._clusters.get(worker)
        if known is None or known.leader != leaders[0]:
            known = self._clusters[worker] = Cluster(leaders[0])
            self._old_leaders.add(leaders[0])
        return known.look(self._size)

    def stop(self) -> dict[str, bool]:
        """Whether each, but for the sandbox, ended by itself when asked; nothing is left."""
        started = [name for name in ("web", *WORKERS) if name in self._children]
        ended = {name: self._children[name].stop(45) for name in started}
        for leader in self._old_leaders:
            with suppress(ProcessLookupError):
                os.killpg(leader, signal.SIGKILL)
        return ended

    def stop_sandbox(self) -> None:
        """So that its log is whole."""
        if "sandbox" in self._children:
            self._children["sandbox"].stop(10)

    def died_at(self) -> Counter[str]:
        """How often a drain died at which failpoint."""
        said = "".join(self._log(name).read_text(errors="replace") for name in WORKERS)
        return Counter(re.findall(r"^failpoint (\S+): kill", said, re.MULTILINE))

    def orphans(self) -> int:
        """Leaders of former clusters that are still there."""
        current = {one.leader for one in self._clusters.values()}
        return sum(parent_of(pid) is not None for pid in self._old_leaders - current)

    def _commands(self, invoices: int, seed: int) -> dict[str, list[str]]:
        web = [sys.executable, "-m", "gunicorn", "backoffice.wsgi", "--threads", "4"]
        sandbox = ["--port", str(self._address.sandbox), "--no-limits", "--teos-delay", "0.1"]
        made = ["--invoices", str(invoices), "--seed", str(seed), "--log", str(self.sandbox_log)]
        return {
            "sandbox": [*MANAGE, "sandbox", *sandbox, *made],
            "web": [*web, "--bind", f"{HOST}:{self._address.web}", "--graceful-timeout", "3"],
            **{name: [*MANAGE, "worker", "--grace", "20"] for name in WORKERS},
        }

    def _launch(self, name: str) -> None:
        env = self._env
        if name in WORKERS:
            env = {**env, "ANNUL_FAILPOINTS": self._armed()}
        self._children[name] = Child(self._programs[name], env=env, log=self._log(name))

    def _armed(self) -> str:
        """Two places at which each of a worker's processes dies after a while."""
        chosen = self._dice.sample(FAILPOINTS, 2)
        return ",".join(f"{name}:kill:{self._dice.randint(*PASSED)}" for name in chosen)

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _await(self, port: int, path: str) -> None:
        until(lambda: answers(port, path), START_SECONDS)


def children_of(parent: int) -> list[int]:
    """The living children of a process, oldest first."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    return sorted(pid for pid in pids if parent_of(pid) == parent)


def parent_of(pid: int) -> int | None:
    """The parent of a living process; None when it has ended, reaped or not."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return None
    return None if state == "Z" else int(parent)
