"""Several processes that play, each its share of the seeds, and tell how far they are."""

import logging
import multiprocessing
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from tests.simulator.running import simulator
from tests.simulator.tally import Tally

TELL_SECONDS = 1.0
GRACE_SECONDS = 3.0


@dataclass(frozen=True)
class News:
    """What a player has done since its last news. `following`: its next seed, None at its end."""

    player: int
    tally: Tally
    following: int | None
    stories: list[str] = field(default_factory=list)


class Players:
    """The processes, from their start to their end."""

    def __init__(self, seeds: range, jobs: int) -> None:
        self._following: dict[int, int | None] = {
            number: seeds[number] for number in range(min(jobs, len(seeds)))
        }
        context = multiprocessing.get_context("fork")
        self._processes: list[Any] = []
        self._ears: dict[Connection, int] = {}
        for number in self._following:
            ear, mouth = context.Pipe(duplex=False)
            share = seeds[number :: len(self._following)]
            process = context.Process(target=_play, args=(number, share, mouth))
            process.start()
            mouth.close()
            self._processes.append(process)
            self._ears[ear] = number

    @property
    def all_below(self) -> int | None:
        """Every seed before this one was played; None: all."""
        left = [one for one in self._following.values() if one is not None]
        return min(left, default=None)

    def news(self) -> Iterator[News]:
        """As it comes in, until all have ended. Raises `EOFError` when one breaks down."""
        while self._ears:
            for ear in wait(list(self._ears)):
                assert isinstance(ear, Connection)
                heard: News = ear.recv()
                self._following[heard.player] = heard.following
                if heard.following is None:
                    del self._ears[ear]
                yield heard

    def stop(self) -> None:
        """End those that are still playing."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(GRACE_SECONDS)
            # One that stands still does not hear that it should end.
            process.kill()
            process.join()


def _play(number: int, seeds: Sequence[int], mouth: Connection) -> None:
    # Ctrl-C reaches all at once: the one who counts ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # What the drains log of their faults is what the scenarios are made of.
    logging.disable(logging.CRITICAL)
    tally, stories, told = Tally(), list[str](), time.monotonic()
    with simulator() as stage:
        for place, seed in enumerate(seeds):
            report = stage.play(seed)
            tally.note(report)
            if report.violation:
                stories.append(f"seed {seed}: {report.violation}")
            last = place + 1 == len(seeds)
            if last or stories or time.monotonic() - told > TELL_SECONDS:
                mouth.send(News(number, tally, None if last else seeds[place + 1], stories))
                tally, stories, told = Tally(), [], time.monotonic()
