"""Every figure beside its baseline, on SQLite and then on PostgreSQL: `python -m tests.bench`.

    python -m tests.bench [--invoices N] [--only NAME,NAME] [--database NAME] [--json FILE]

Takes about an hour with a million invoices; fewer make it shorter and its figures rougher. The
PostgreSQL is the server that DATABASE_URL names (an empty database on it), or a temporary one that
writes through to the disk like any other. Nothing but the account's own rate is set aside.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import django

from tests.postgres_server import NoServer
from tests.run import ROOT, postgresql

NAMES = (
    *("drain", "queued", "accounts", "growth"),
    *("search", "filters", "history", "calls", "batch", "import"),
)
DATABASES = ("sqlite", "postgresql")
# What a server has by default, apart from a cache that fits a machine of today.
DURABLE = "-c listen_addresses= -c shared_buffers=1GB -c max_wal_size=4GB"


def main(arguments: list[str]) -> int:
    """Measure on each database there is; the worst exit status."""
    options = read(arguments)
    if options.here:
        return measure(options)
    statuses, found = [], []
    for database in [options.database] if options.database else DATABASES:
        try:
            with tempfile.TemporaryDirectory() as folder, server(database, folder) as (what, url):
                print(f"{what}, {options.invoices:,} invoices, {machine()}", flush=True)
                kept = Path(folder) / "figures.json"
                statuses.append(in_a_process(url, arguments, kept))
                found += [{"database": database, **one} for one in read_json(kept)]
                print(f"  {machine()}", flush=True)
        except NoServer as reason:
            print(f"PostgreSQL: skipped, {reason}")
    told(found)
    if options.json:
        facts = {"machine": machine(), "invoices": options.invoices, "figures": found}
        options.json.write_text(json.dumps(facts, indent=2))
    return max(statuses, default=0)


def read(arguments: list[str]) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--invoices", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--only", type=names, default=NAMES, metavar="NAME,NAME")
    parser.add_argument("--database", choices=DATABASES)
    parser.add_argument("--json", type=Path, metavar="FILE")
    # For the process that does it: DATABASE_URL names the database.
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def names(text: str) -> tuple[str, ...]:
    """Some of NAMES."""
    chosen = tuple(text.split(","))
    if unknown := set(chosen).difference(NAMES):
        raise argparse.ArgumentTypeError(f"no {', '.join(unknown)}; choose of {', '.join(NAMES)}")
    return chosen


@contextmanager
def server(database: str, folder: str) -> Iterator[tuple[str, str]]:
    """What it is, in words, and its URL."""
    if database == "sqlite":
        yield "SQLite", f"sqlite:///{Path(folder) / 'bench.sqlite3'}"
        return
    with postgresql(os.environ, DURABLE) as (what, url):
        yield f"PostgreSQL, {what}", url


def in_a_process(url: str, arguments: list[str], kept: Path) -> int:
    """Settings are read once in a process, hence one for each database."""
    command = [sys.executable, "-m", "tests.bench", *arguments, "--here", str(kept)]
    environment = {**os.environ, "DATABASE_URL": url, "BENCH_FOLDER": str(kept.parent / "logs")}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def measure(options: argparse.Namespace) -> int:
    """Measure on the database that DATABASE_URL names; the figures go to the file."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.bench.settings"
    django.setup()
    import_module("tests.bench.course").run(options.invoices, options.only, options.here)
    return 0


def read_json(kept: Path) -> list[dict[str, Any]]:
    """What the process measured, as far as it came."""
    if not kept.exists():
        return []
    return [json.loads(line) for line in kept.read_text().splitlines()]


def told(found: list[dict[str, Any]]) -> None:
    """How many goals were met, and which were not."""
    missed = [one for one in found if one["met"] is False]
    with_goal = [one for one in found if one["met"] is not None]
    print(f"{len(with_goal) - len(missed)} of {len(with_goal)} goals met")
    for one in missed:
        print(f"  not met on {one['database']}: {one['name']}")


def machine() -> str:
    """What the figures were measured on, and whether it had something else to do."""
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    return f"{os.cpu_count()} cores, load {load}, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
