"""Runs the measurements on SQLite, then on PostgreSQL: `python -m tests.bench`."""

import os
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import django

from tests.postgres_server import NoServer
from tests.run import ROOT, postgresql

HERE = "--here"
"""Tells the process that DATABASE_URL names the database to measure on."""


def main(arguments: list[str]) -> int:
    """Measure on each database there is; the worst exit status."""
    if HERE in arguments:
        return measure([one for one in arguments if one != HERE])
    statuses = []
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'bench.sqlite3'}"
        statuses.append(in_a_process("SQLite", url, arguments))
    try:
        with postgresql(os.environ) as (what, url):
            statuses.append(in_a_process(f"PostgreSQL ({what})", url, arguments))
    except NoServer as reason:
        print(f"PostgreSQL: skipped, {reason}")
    return max(statuses)


def in_a_process(title: str, url: str, arguments: list[str]) -> int:
    """Settings are read once in a process, hence one for each database."""
    print(title, flush=True)
    command = [sys.executable, "-m", "tests.bench", HERE, *arguments]
    environment = {**os.environ, "DATABASE_URL": url}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def measure(arguments: list[str]) -> int:
    """Measure on the database that DATABASE_URL names."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    import_module("tests.bench.drain").main(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
