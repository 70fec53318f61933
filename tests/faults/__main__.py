"""The whole table of faults, or one case of it: `--case monite/408/after/paid/works`.

Each provider is a process with a database and a sandbox of its own, two at a time. With
`--database postgresql` the databases are made on the server that DATABASE_URL names, or on a
temporary one.
"""

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import django
import psycopg
from psycopg import sql

from tests.faults.cases import PROVIDERS, Case, everything, parse
from tests.postgres_server import NoServer
from tests.run import ROOT, postgresql

DATABASES = ("sqlite", "postgresql")
AT_ONCE = 2
CHILDREN: set["subprocess.Popen[bytes]"] = set()
SHOWN = 40


def main(arguments: list[str]) -> int:
    """0 when every case ended as expected and every invariant held."""
    parser = argparse.ArgumentParser(prog="tests.faults", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--case", action="append", default=[], help="only this one, as it is printed"
    )
    parser.add_argument("--provider", action="append", choices=PROVIDERS, help="only this one")
    parser.add_argument("--fault", action="append", help="only this one")
    parser.add_argument("--database", choices=DATABASES, default=DATABASES[0])
    parser.add_argument(
        "--patience", help="so many times the waiting, for a machine that is busy otherwise"
    )
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    chosen = [parse(case) for case in options.case] or _chosen(options.provider, options.fault)
    if options.here:
        return _here(chosen, options.json)
    if options.patience:
        os.environ["FAULTS_PATIENCE"] = str(float(options.patience))
    signal.signal(signal.SIGTERM, _stop)
    started = time.monotonic()
    try:
        reports = _in_processes(chosen, options.database)
    except NoServer as reason:
        print(f"There is no PostgreSQL to run on: {reason}")
        return 2
    if options.json:
        options.json.write_text(json.dumps(reports, indent=1))
    return _tell(reports, time.monotonic() - started)


def _stop(*_: object) -> None:
    """What was begun for this run must not outlive it."""
    for child in list(CHILDREN):
        child.terminate()
    sys.exit("stopped")


def _chosen(providers: list[str] | None, faults: list[str] | None) -> list[Case]:
    cases = everything(providers or PROVIDERS)
    return [case for case in cases if not faults or case.fault in faults]


def _in_processes(cases: Iterable[Case], database: str) -> list[dict[str, Any]]:
    by_provider: dict[str, list[Case]] = {}
    for case in cases:
        by_provider.setdefault(case.provider, []).append(case)
    longest_first = sorted(by_provider.values(), key=len, reverse=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        _databases(database, Path(folder), by_provider) as urls,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        run = partial(_in_a_process, Path(folder), urls)
        return list(pool.map(run, longest_first))


@contextmanager
def _databases(kind: str, folder: Path, providers: Iterable[str]) -> Iterator[dict[str, str]]:
    """By provider, the DATABASE_URL of an empty database of its own, gone afterwards."""
    if kind == "sqlite":
        yield {one: f"sqlite:///{folder / one}.sqlite3" for one in providers}
        return
    with postgresql(os.environ) as (what, url):
        print(f"PostgreSQL: {what}", flush=True)
        names = {one: f"annul_faults_{one}_{os.getpid()}" for one in providers}
        _each(url, "CREATE DATABASE", names.values())
        try:
            server = url.rpartition("/")[0]
            yield {one: f"{server}/{name}" for one, name in names.items()}
        finally:
            _each(url, "DROP DATABASE", names.values())


def _each(url: str, command: str, names: Iterable[str]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for name in names:
            connection.execute(sql.SQL(command + " {}").format(sql.Identifier(name)))


def _in_a_process(folder: Path, urls: Mapping[str, str], cases: list[Case]) -> dict[str, Any]:
    provider = cases[0].provider
    report = folder / f"{provider}.json"
    command = [sys.executable, "-m", "tests.faults", "--here", "--json", str(report)]
    for case in cases:
        command += ["--case", str(case)]
    environment = {**os.environ, "DATABASE_URL": urls[provider], "TMPDIR": str(folder)}
    with subprocess.Popen(command, cwd=ROOT, env=environment) as child:
        CHILDREN.add(child)
        child.wait()
        CHILDREN.discard(child)
    if not report.exists():
        return {
            "provider": provider,
            "results": [],
            "violations": ["the run broke off"],
            "seconds": 0,
        }
    told: dict[str, Any] = json.loads(report.read_text())
    print(f"  {provider}: {len(told['results'])} in {told['seconds']:.0f} s", flush=True)
    return told


def _here(cases: list[Case], report: Path | None) -> int:
    """Play in this process, on the database that DATABASE_URL names."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    # Thousands of faults on purpose: what the engine says of them is in the record.
    logging.disable(logging.CRITICAL)
    played = import_module("tests.faults.whole").play(cases)
    if report:
        results = [{**asdict(one), "case": str(one.case)} for one in played.results]
        told = {"provider": cases[0].provider, "results": results}
        told |= {"violations": played.violations, "seconds": played.seconds}
        report.write_text(json.dumps(told))
    return 0


# --- telling ------------------------------------------------------------------------------------


def _tell(reports: list[dict[str, Any]], seconds: float) -> int:
    results = [result for report in reports for result in report["results"]]
    violations = [one for report in reports for one in report["violations"]]
    wrong = [result for result in results if result["wrong"]]
    print(_table(results))
    for result in wrong[:SHOWN]:
        print(f"\n{'; '.join(result['wrong'])}\n  make faults CASE={result['case']}")
    for violation in violations[:SHOWN]:
        print(f"\nviolated: {violation}")
    cases = len({result["case"] for result in results})
    print(
        f"\n{cases} cases, {len(results)} invoices: {len(results) - len(wrong)} as expected,"
        f" {len(wrong)} not; {len(violations)} invariants violated; {seconds:.0f} s"
    )
    return 1 if wrong or violations or not results else 0


def _table(results: list[Mapping[str, Any]]) -> str:
    """How many invoices of each fault at each provider, and how many not as expected."""
    count, wrong = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for result in results:
        provider, fault, *_ = result["case"].split("/")
        count[fault, provider] += 1
        wrong[fault, provider] += bool(result["wrong"])
    lines = [" " * 26 + "".join(f"{provider:>16}" for provider in PROVIDERS)]
    for fault in dict.fromkeys(fault for fault, _ in count):
        cells = [_cell(count[fault, one], wrong[fault, one]) for one in PROVIDERS]
        lines.append(f"{fault:<26}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(lines)


def _cell(count: int, wrong: int) -> str:
    if not count:
        return "-"
    return f"{count}/{wrong} wrong" if wrong else str(count)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
