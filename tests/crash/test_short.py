"""The harness as `make crash` runs it, for a handful of strikes."""

import random
import subprocess
import sys

import pytest
from django.db import connection

from tests.crash.strikes import Strike
from tests.crash.whole import recoveries
from tests.postgres_server import find_binaries
from tests.run import ROOT


@pytest.mark.skipif(connection.vendor != "postgresql", reason="it runs a PostgreSQL of its own")
@pytest.mark.skipif(find_binaries() is None, reason="no PostgreSQL binaries on this machine")
@pytest.mark.skipif(sys.platform != "linux", reason="it finds its processes in /proc")
def test_what_is_killed_at_random_comes_to_its_end_without_a_contradiction() -> None:
    seed = random.randrange(2**16)
    command = [sys.executable, "-m", "tests.crash", "--seed", str(seed), "--kills", "5"]
    bounded = ["--minutes", "0.15", "--invoices", "40", "--pause", "0.5", "2"]
    done = subprocess.run(
        [*command, *bounded], cwd=ROOT, capture_output=True, text=True, check=False
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert f"seed {seed}" in done.stdout


def test_a_recovery_lasts_from_the_strike_to_what_is_settled_next() -> None:
    strikes = [Strike("pool", 1.0), Strike("web", 4.0), Strike("pool", 5.0), Strike("web", 9.0)]
    assert recoveries(strikes, [[0.5, 3.0, 7.0]]) == {"pool": [2.0, 2.0], "web": [3.0]}
    assert recoveries(strikes, [[2.0, 6.0], [3.0]]) == {"pool": [2.0]}
