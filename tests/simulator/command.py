"""Plays many scenarios, or tells one of them step by step (`--only SEED`)."""

import argparse
import logging
import os
import signal
import time
from types import FrameType

from tests.simulator.players import Players
from tests.simulator.running import Report, simulator
from tests.simulator.tally import Tally

EVERY_SECONDS = 10.0
MOST_FAILED = 20
"""After so many violations the rest is not worth playing."""


def main(arguments: list[str]) -> int:
    """0 when all were played and nothing was violated."""
    parser = argparse.ArgumentParser(prog="tests.simulator", description=__doc__)
    parser.add_argument("--scenarios", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1, help="the first of them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes that play")
    parser.add_argument("--only", type=int, help="tell this one step by step")
    options = parser.parse_args(arguments)
    if options.only is not None:
        logging.disable(logging.CRITICAL)
        with simulator() as stage:
            return told(stage.play(options.only))
    if options.scenarios < 1 or options.jobs < 1:
        parser.error("at least one scenario, and one process")
    return many(range(options.seed, options.seed + options.scenarios), options.jobs)


def told(report: Report) -> int:
    """One scenario in full."""
    print(report.story())
    return 1 if report.violation else 0


def many(seeds: range, jobs: int) -> int:
    """Play them all; whatever ends it, say what was played."""
    signal.signal(signal.SIGTERM, _interrupt)
    tally, started, why = Tally(), time.monotonic(), ""
    players = Players(seeds, jobs)
    try:
        listen(players, tally, seeds)
    except KeyboardInterrupt:
        why = "interrupted"
    except EOFError:
        why = "a player broke down"
    finally:
        players.stop()
    took = time.monotonic() - started
    summary(tally, took, seeds)
    if why or players.all_below is not None:
        unfinished(why or "stopped", players.all_below, seeds)
    return 1 if why or tally.failed else 0


def listen(players: Players, tally: Tally, seeds: range) -> None:
    """Add up what the players tell, and say now and then how far they are."""
    started = shown = time.monotonic()
    for news in players.news():
        tally.add(news.tally)
        for story in news.stories:
            print(story, flush=True)
        if len(tally.failed) >= MOST_FAILED:
            return
        now = time.monotonic()
        if now - shown >= EVERY_SECONDS:
            shown = now
            print(progress(tally, len(seeds), now - started), flush=True)


def progress(tally: Tally, count: int, took: float) -> str:
    """How far, how fast, how long to go."""
    rate = tally.scenarios / took
    left = (count - tally.scenarios) / rate if rate else 0.0
    failed = f", {len(tally.failed)} with a violation" if tally.failed else ""
    return (
        f"{tally.scenarios:,} of {count:,}, {rate:.0f} a second, "
        f"{left / 60:.0f} min {left % 60:02.0f} s left{failed}"
    )


def summary(tally: Tally, took: float, seeds: range) -> None:
    """All that was seen, and the seeds that failed."""
    rate = tally.scenarios / took if took else 0.0
    found = f"{len(tally.failed)} with a violation" if tally.failed else "no violation"
    print(
        f"{tally.scenarios:,} scenarios from seed {seeds[0]} on in {took:.0f} s, "
        f"{rate:.0f} a second: {found}"
    )
    print("\n".join(tally.lines()))
    for seed in sorted(tally.failed):
        print(f"failed: seed {seed}; make simulate ONLY={seed} tells it")


def unfinished(why: str, below: int | None, seeds: range) -> None:
    """From where to go on."""
    if below is None:
        return
    print(f"{why}; every seed below {below} was played, go on with:")
    print(f"  make simulate SEED={below} N={seeds[-1] + 1 - below}")


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt
