"""A program in a session of its own can be stopped with all that it started."""

import os
import signal
import sys
from pathlib import Path

import pytest

from invoices.supervision import Child
from tests.processes import is_alive, until

STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.1; done"


def shell(script: str, log: Path) -> Child:
    """A shell that runs this."""
    return Child(["sh", "-c", script], log=log)


def test_a_program_has_a_session_of_its_own(tmp_path: Path) -> None:
    child = shell("exec sleep 60", tmp_path / "log")
    assert os.getsid(child.pid) == child.pid != os.getsid(0)
    assert child.is_running()
    assert child.stop(5)
    assert child.status == -signal.SIGTERM
    assert not child.is_running()


def test_what_does_not_obey_is_killed_with_what_it_started(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = shell(f"sleep 60 & {STUBBORN}", log)
    until(lambda: "ready" in log.read_text())
    assert not child.stop(0.3)
    assert child.status == -signal.SIGKILL
    until(lambda: not is_alive(child.pid))


def test_what_a_dead_leader_left_behind_is_killed(tmp_path: Path) -> None:
    child = shell("sleep 60 & exit 3", tmp_path / "log")
    until(lambda: not child.is_running())
    assert is_alive(child.pid)
    child.kill()
    assert child.status == 3
    until(lambda: not is_alive(child.pid))


def test_only_the_leader_is_asked_to_stop(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = "sh -c \"trap 'echo asked' TERM; echo ready; sleep 1; echo spared\" & wait"
    child = shell(script, log)
    until(lambda: "ready" in log.read_text())
    child.ask_to_stop()
    assert child.wait(5)
    until(lambda: "spared" in log.read_text())
    assert "asked" not in log.read_text()
    child.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_a_program_is_asked_to_stop_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import time; from pathlib import Path; from invoices.supervision import Child;"
        f"print(Child(['sleep', '60'], log=Path({str(tmp_path / 'log')!r})).pid, flush=True);"
        "time.sleep(60)"
    )
    said = tmp_path / "said"
    parent = Child([sys.executable, "-c", code], log=said)
    until(lambda: said.read_text().strip())
    parent.kill()
    until(lambda: not is_alive(int(said.read_text())))
