"""Plays many scenarios, or tells one of them step by step (`--only SEED`)."""

import argparse
import logging
import time
from collections import Counter

from tests.simulator.running import Report, Simulator, simulator

EVERY_SECONDS = 5.0


def main(arguments: list[str]) -> int:
    """0 when nothing was violated."""
    parser = argparse.ArgumentParser(prog="tests.simulator", description=__doc__)
    parser.add_argument("--scenarios", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1, help="the first of them")
    parser.add_argument("--only", type=int, help="tell this one step by step")
    options = parser.parse_args(arguments)
    # What the drains log of their faults is what the scenarios are made of.
    logging.disable(logging.CRITICAL)
    with simulator() as stage:
        if options.only is not None:
            return told(stage.play(options.only))
        return many(stage, options.seed, options.scenarios)


def told(report: Report) -> int:
    """One scenario in full."""
    print(report.story())
    return 1 if report.violation else 0


def many(stage: Simulator, first: int, count: int) -> int:
    """Go on until one fails or all are done."""
    ends: Counter[str] = Counter()
    started = shown = time.monotonic()
    for number in range(count):
        report = stage.play(first + number)
        if report.violation:
            told(report)
            print(f"failed after {number} scenarios without a violation; again with:")
            print(f"  python -m tests.simulator --only {report.seed}")
            return 1
        ends.update(report.outcomes)
        if time.monotonic() - shown > EVERY_SECONDS:
            shown = time.monotonic()
            print(f"{number + 1:,} of {count:,}, {(number + 1) / (shown - started):.0f} a second")
    took = time.monotonic() - started
    print(f"{count:,} scenarios in {took:.0f} s, {count / took:.0f} a second, no violation")
    for end, times in ends.most_common():
        print(f"  {times:>8,}  {end}")
    return 0
