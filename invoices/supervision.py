"""Starting a program in a session of its own, and ending it with all that it started.

A signal to a whole process group hangs django-q2's cluster, so a stop is asked of the leader
alone, and only what outlives the time of grace is killed, the group as a whole.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
# Loaded here, not between fork and exec.
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
LOOK_SECONDS = 0.05


class Child:
    """A program that runs beside us. `log` receives what it says; without it we share ours."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        self._process = _start(command, env, log)

    @property
    def pid(self) -> int:
        """The leader's id, and that of its session and group."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The leader's exit status, once `stop` or `kill` has taken it in."""
        return self._process.returncode

    def is_running(self) -> bool:
        """Whether the leader lives. Not reaped here when it ended: that keeps its group ours."""
        if self._process.returncode is not None:
            return False
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def ask_to_stop(self) -> None:
        """SIGTERM to the leader alone."""
        if self.is_running():
            os.kill(self.pid, signal.SIGTERM)

    def wait(self, seconds: float) -> bool:
        """Whether the leader has ended within so many seconds."""
        deadline = time.monotonic() + seconds
        while self.is_running():
            if time.monotonic() >= deadline:
                return False
            time.sleep(LOOK_SECONDS)
        return True

    def kill(self) -> None:
        """SIGKILL to the whole group, orphans included, and reap the leader."""
        if self._process.returncode is not None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self, grace: float) -> bool:
        """Ask, wait, then kill what is left; whether it ended by itself."""
        self.ask_to_stop()
        obeyed = self.wait(grace)
        self.kill()
        return obeyed


def _start(
    command: Sequence[str], env: Mapping[str, str] | None, log: Path | None
) -> "subprocess.Popen[bytes]":
    output: IO[bytes] | None = log.open("ab") if log else None
    ours = os.getpid()
    try:
        return subprocess.Popen(
            list(command),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            start_new_session=True,
            preexec_fn=lambda: _end_with(ours),  # noqa: PLW1509 - two system calls
        )
    finally:
        if output:
            output.close()


def _end_with(parent: int) -> None:
    """In the child: be asked to stop when the parent dies, were it by SIGKILL. Linux only."""
    if LIBC is None:
        return
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)
