"""Runs the measurements on SQLite, then on PostgreSQL: `python -m tests.bench`."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.postgres_server import NoServer
from tests.run import ROOT, postgresql


def main(arguments: list[str]) -> int:
    """Measure on each database there is; the worst exit status."""
    statuses = []
    with tempfile.TemporaryDirectory() as folder:
        statuses.append(_measure("SQLite", f"sqlite:///{Path(folder) / 'bench.sqlite3'}", arguments))
    try:
        with postgresql(os.environ) as (what, url):
            statuses.append(_measure(f"PostgreSQL ({what})", url, arguments))
    except NoServer as reason:
        print(f"PostgreSQL: skipped, {reason}")
    return max(statuses)


def _measure(title: str, url: str, arguments: list[str]) -> int:
    print(title, flush=True)
    command = [sys.executable, "-m", "tests.bench.drain", *arguments]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "DATABASE_URL": url}).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
