"""What a measurement comes to: a figure, the baseline beside it, and the goal."""

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured; everything follows from the number of invoices."""

    invoices: int

    @property
    def batch(self) -> int:
        """Invoices of the one large batch, and of the import."""
        return max(10, min(100_000, self.invoices // 10))

    @property
    def drained(self) -> int:
        """Invoices that one round of a throughput measurement cancels."""
        return max(20, min(1500, self.invoices // 200))

    @property
    def rounds(self) -> int:
        """Turns of figure and baseline; the medians count."""
        return 3 if self.invoices >= 100_000 else 1

    @property
    def times(self) -> int:
        """How often a page is asked for."""
        return 20 if self.invoices >= 10_000 else 3


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report. `baseline` is in the same unit.

    `ratio` is how many times better than the baseline the value is; where less is better (a time,
    memory) that is still the figure's own meaning, named in `goal`. `met` is None without a goal.
    """

    name: str
    value: float
    unit: str
    baseline: float | None = None
    ratio: float | None = None
    goal: str = ""
    met: bool | None = None

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)

    def row(self) -> str:
        """A line of the table, under `HEAD`."""
        ratio = f"{self.ratio:.2f}" if self.ratio is not None else ""
        verdict = {True: "met", False: "NOT MET", None: ""}[self.met]
        cells = [number(self.value, self.unit), number(self.baseline, self.unit), ratio]
        return ROW.format(self.name[:62], *cells, self.goal, verdict).rstrip()


ROW = "  {:<62} {:>13} {:>13} {:>8}  {:<14} {}"
HEAD = ROW.format("figure", "value", "baseline", "ratio", "goal", "").rstrip()


def number(value: float | None, unit: str) -> str:
    """A value as it stands in the table."""
    if value is None:
        return ""
    places = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{places}f} {unit}"


def at_most(name: str, value: float, unit: str, most: float) -> Figure:
    """A figure whose goal is a bound."""
    return Figure(name, value, unit, goal=f"<= {most:g} {unit}", met=value <= most)


def times_better(
    name: str, value: float, unit: str, baseline: float, least: float | None = None
) -> Figure:
    """A rate: so many times its baseline, which is to be at least `least`."""
    ratio = value / baseline
    goal = f">= {least:g}x" if least else ""
    return Figure(name, value, unit, baseline, ratio, goal, ratio >= least if least else None)


def times_as_much(
    name: str, value: float, unit: str, baseline: float, most: float | None = None
) -> Figure:
    """A cost: so many times its baseline, which is to be at most `most`."""
    ratio = value / baseline
    goal = f"<= {most:g}x" if most else ""
    return Figure(name, value, unit, baseline, ratio, goal, ratio <= most if most else None)


def seconds_of(job: Callable[[], object]) -> float:
    """How long a job takes."""
    started = time.perf_counter()
    job()
    return time.perf_counter() - started


def milliseconds(job: Callable[[], object], times: int, warm_up: int = 2) -> list[float]:
    """How long a job takes, that many times, in milliseconds."""
    for _ in range(warm_up):
        job()
    return [seconds_of(job) * 1000 for _ in range(times)]


def p95(samples: Iterable[float]) -> float:
    """The 95th percentile: of twenty, the second longest."""
    found = sorted(samples)
    return statistics.quantiles(found, n=20, method="inclusive")[-1] if len(found) > 1 else found[0]
