"""`make bench` goes through all its figures, so that they cannot rot. How fast is not asked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.__main__ import NAMES, read
from tests.bench.course import LARGE, SMALL
from tests.bench.figures import HEAD, Size, at_most, p95, times_as_much, times_better
from tests.run import ROOT

NEEDED = (
    "drain, 150 ms latency: bound of 32 at once",
    "drain, 0 ms latency: script without record",
    "drain, 0 ms: django-q2, a task per invoice",
    "two accounts, two processes",
    "list, worst search, p95",
    "list, least gain of a search",
    "filters x sorts",
    "-> preview",
    "-> first call",
    "poll while it runs, p95",
    "invoice with 50 attempts",
    "calls, page 1",
    "calls, after",
    "import of",
    "worker's memory",
    "rows of history",
)


def test_all_figures_are_measured_in_the_small(tmp_path: Path) -> None:
    kept = tmp_path / "figures.json"
    command = [sys.executable, "-m", "tests.bench", "--invoices", "300", "--database", "sqlite"]
    done = subprocess.run(
        [*command, "--json", str(kept)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(kept.read_text())["figures"]
    for needed in NEEDED:
        found = [one for one in figures if needed in one["name"]]
        assert found, needed
        assert all(one["goal"] and one["value"] > 0 for one in found)
    assert HEAD in done.stdout
    assert "goals met" in done.stdout


def test_every_measurement_can_be_chosen_by_its_name() -> None:
    assert set(NAMES) == SMALL.keys() | LARGE.keys()
    assert read(["--only", "search,drain"]).only == ("search", "drain")
    with pytest.raises(SystemExit):
        read(["--only", "search,weather"])


def test_by_default_there_are_a_million_invoices() -> None:
    assert read([]).invoices == 1_000_000
    assert Size(1_000_000).batch == 100_000


def test_a_goal_is_met_or_not() -> None:
    assert at_most("page", 60.0, "ms", 60).met is True
    assert at_most("page", 60.1, "ms", 60).met is False
    assert times_better("rate", 300, "/s", 200, 1.5).met is True
    assert times_better("rate", 299, "/s", 200, 1.5).met is False
    assert times_as_much("memory", 131, "MB", 100, 1.3).met is False
    assert times_better("rate", 300, "/s", 200).met is None
    assert "NOT MET" in at_most("page", 61, "ms", 60).row()


def test_the_95th_percentile_of_twenty_is_about_the_second_longest() -> None:
    assert 18 < p95(range(20)) <= 19
    assert p95([3.0]) == 3.0
