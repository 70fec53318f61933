"""Runs the suite on SQLite and on PostgreSQL, and says in one line what it used.

    python -m tests.run [--only sqlite|postgres] [arguments for pytest]

PostgreSQL is the server that DATABASE_URL names. If it names none, it is a temporary one of
our own; a server that we were not pointed at is never touched. Much of the suite waits, for
processes and for time to pass, so both run at once; PostgreSQL's output follows at the end.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.postgres_server import FAST, NoServer, find_binaries, temporary_server

ROOT = Path(__file__).resolve().parent.parent
# For example: "==== 210 passed, 1 skipped in 41.20s ===="
CLOSING_LINE = re.compile(r"\b(passed|failed|errors?|skipped|no tests ran)\b.* in \d+\.\d+s")


@dataclass(frozen=True)
class Run:
    """What came of the suite on one database."""

    what: str
    status: int
    closing_line: str


def main(arguments: list[str]) -> int:
    """Run what was asked for; 0 only if all of it passed."""
    parser = argparse.ArgumentParser(prog="tests.run", description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["sqlite", "postgres"])
    options, for_pytest = parser.parse_known_args(arguments)
    # `make` passes a SIGTERM on; the temporary server must not outlive it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    # A shell starts its background jobs with SIGINT ignored, and pytest would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if options.only == "sqlite":
        return summarise([on_sqlite(for_pytest)])
    if options.only == "postgres":
        return summarise([on_postgresql(for_pytest)])
    return on_both(for_pytest)


def on_both(for_pytest: list[str]) -> int:
    """SQLite before our eyes, PostgreSQL meanwhile in a process whose output is kept."""
    command = [sys.executable, "-m", "tests.run", "--only", "postgres", *for_pytest]
    with (
        tempfile.TemporaryFile("w+", errors="replace") as kept,
        subprocess.Popen(command, cwd=ROOT, stdout=kept, stderr=subprocess.STDOUT) as other,
    ):
        try:
            run = on_sqlite(for_pytest)
            other.wait()
        except BaseException:
            other.terminate()
            raise
        kept.seek(0)
        print(f"\n{kept.read().rstrip()}")
    return max(summarise([run]), other.returncode)


def summarise(runs: list[Run]) -> int:
    """Print what was used and how it ended, what was skipped first; the exit status of all."""
    print()
    for run in sorted(runs, key=lambda run: bool(run.closing_line)):
        print(run.what)
        if run.closing_line:
            print(run.closing_line)
    return max(run.status for run in runs)


def on_sqlite(for_pytest: list[str]) -> Run:
    """The suite on a file of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return pytest("SQLite: a file in the temporary folder", environment, for_pytest)


def on_postgresql(for_pytest: list[str]) -> Run:
    """The suite on PostgreSQL; skipped, with the reason, when there is none."""
    try:
        with postgresql(os.environ) as (what, url):
            return pytest(f"PostgreSQL: {what}", {**os.environ, "DATABASE_URL": url}, for_pytest)
    except NoServer as reason:
        return Run(f"PostgreSQL: skipped, {reason}", 0, "")


@contextmanager
def postgresql(environment: Mapping[str, str], options: str = FAST) -> Iterator[tuple[str, str]]:
    """What server it is, in words, and its URL; `options` for one of our own."""
    given = environment.get("DATABASE_URL", "")
    if given.startswith(("postgres://", "postgresql://")):
        yield "the server that DATABASE_URL names", given
        return
    binaries = find_binaries()
    if binaries is None:
        raise NoServer("no DATABASE_URL that names one and no binaries on this machine")
    with temporary_server(binaries, options) as url:
        yield f"a temporary server from {binaries}", url


def pytest(what: str, environment: Mapping[str, str], for_pytest: list[str]) -> Run:
    """One run of pytest, shown as it goes; its closing line is kept for the summary."""
    print(what, flush=True)
    command = [sys.executable, "-m", "pytest", *for_pytest]
    if sys.stdout.isatty():
        command.append("--color=yes")
    closing_line = ""
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                print(line, end="", flush=True)
                if CLOSING_LINE.search(line):
                    closing_line = line.rstrip()
        except SystemExit:
            # As if by Ctrl-C, so that pytest removes its database before it ends.
            process.send_signal(signal.SIGINT)
            raise
    return Run(what, process.returncode, closing_line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
