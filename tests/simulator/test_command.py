"""`make simulate` adds up what its processes play, names what fails, and can be ended."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from tests.mutants.mutants import no_intent_row
from tests.simulator.command import main


@pytest.fixture(autouse=True)
def _in_memory(django_db_blocker: DjangoDbBlocker) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("scenarios are played in SQLite's memory, once is enough")


def play(*arguments: str) -> subprocess.Popen[str]:
    """The command in a process group of its own, as a terminal would start it."""
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "tests.simulator", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_two_processes_play_each_seed_once() -> None:
    run = play("--scenarios", "11", "--seed", "5", "--jobs", "2")
    said, _ = run.communicate(timeout=120)
    assert run.returncode == 0
    assert "11 scenarios from seed 5 on" in said
    assert "no violation" in said
    assert re.search(r"attempts +[1-9]", said)
    assert re.search(r"call +[1-9].* cancel [1-9]", said)


def one_player_of(run: subprocess.Popen[str]) -> int:
    """The process id of a player."""
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
    if not children.exists():
        pytest.skip("this system does not tell who started whom")
    return int(children.read_text().split()[0])


def test_an_interrupted_run_says_how_to_go_on_even_if_a_player_stands_still() -> None:
    run = play("--scenarios", "100000", "--jobs", "2")
    assert run.stdout is not None
    first = run.stdout.readline()
    assert "of 100,000" in first
    os.kill(one_player_of(run), signal.SIGSTOP)
    os.killpg(run.pid, signal.SIGINT)
    said, _ = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "no violation" in said
    below = re.search(r"make simulate SEED=(\d+) N=(\d+)", said)
    assert below is not None
    assert int(below[1]) + int(below[2]) == 100_001


def test_seeds_that_fail_are_named(
    capsys: pytest.CaptureFixture[str], django_db_blocker: DjangoDbBlocker
) -> None:
    with no_intent_row(), django_db_blocker.unblock():
        assert main(["--scenarios", "8", "--jobs", "2"]) == 1
    said = capsys.readouterr().out
    failed = re.findall(r"failed: seed (\d+)", said)
    assert failed
    assert set(failed) <= set(map(str, range(1, 9)))
    assert f"{len(failed)} with a violation" in said
