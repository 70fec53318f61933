"""What a measurement comes to: a figure, the baseline beside it, and the goal."""

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report. `ratio` is how many times better than the baseline it is.

    `goal` is what was aimed at, in words; `met` is None where there is nothing to compare.
    """

    name: str
    value: float
    unit: str
    goal: str = ""
    baseline: str = ""
    ratio: float | None = None
    met: bool | None = None

    def __str__(self) -> str:
        number = f"{self.value:,.0f}" if self.value >= 100 else f"{self.value:,.2f}"
        beside = f", {self.ratio:.2f} of {self.baseline}" if self.ratio is not None else ""
        verdict = {True: "reached", False: "not reached", None: ""}[self.met]
        goal = f"  [{self.goal}: {verdict}]" if self.goal else ""
        return f"  {self.name:<58} {number:>9} {self.unit}{beside}{goal}"

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


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
    return statistics.quantiles(samples, n=20, method="inclusive")[-1]


def at_most(name: str, value: float, unit: str, most: float) -> Figure:
    """A figure whose goal is a bound."""
    return Figure(name, value, unit, f"at most {most:g} {unit}", met=value <= most)
