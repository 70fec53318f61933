"""Runs scenarios one after the other, each from the same beginning."""

import gc
import random
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from django.contrib.auth.models import User

from providers.adapters import ADAPTERS
from providers.models import ProviderAccount
from providers.sandbox.credentials import CREDENTIALS, PROVIDERS
from tests.simulator.adapters import STAND_INS
from tests.simulator.checks import Violation
from tests.simulator.clock import Clock, in_place_of_all_clocks
from tests.simulator.database import Memory, in_memory
from tests.simulator.inserting import Inserts, kept_inserts
from tests.simulator.noting import noting_querysets
from tests.simulator.plans import CHECK_EVERY, Plans
from tests.simulator.scenario import Scenario

SEEDS = Path(__file__).with_name("seeds.txt")
TIDY_EVERY = 50
NAMES = ("paypal-europe", "visa-harbour", "monite-nord", "kantata-studio", "teos-ledger")


@dataclass(frozen=True)
class Report:
    """What came of one seed; `violation` is empty when nothing was wrong."""

    seed: int
    outcomes: list[str]
    violation: str
    trace: list[str]
    seen: Counter[str] = field(default_factory=Counter)
    """How often what happened: calls, faults, blows, acts, changes."""

    def story(self) -> str:
        """For people."""
        return "\n".join([*self.trace, f"seed {self.seed}: {self.violation}"])


class Simulator:
    """A stage on which any number of scenarios can be played."""

    def __init__(self, memory: Memory, people: list[User], plans: Plans) -> None:
        self.memory = memory
        self.plans = plans
        self._people = people
        self._played = 0

    def play(self, seed: int) -> Report:
        """One scenario, from the same beginning as every other."""
        self.memory.restore()
        self._tidy()
        clock, dice = Clock(), random.Random(seed)
        with in_place_of_all_clocks(clock, dice):
            scenario = Scenario(seed, clock, dice, self._people)
            try:
                scenario.run()
            except Violation as violation:
                return Report(seed, [], str(violation), scenario.trace, scenario.seen)
            except Exception:
                return Report(seed, [], traceback.format_exc(), scenario.trace, scenario.seen)
            return Report(seed, scenario.outcomes(), "", scenario.trace, scenario.seen)

    def _tidy(self) -> None:
        """Collect garbage between scenarios, never within one: a fifth of the time otherwise."""
        self._played += 1
        if self._played % TIDY_EVERY == 0:
            gc.collect()


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def simulator(check_every: int = CHECK_EVERY) -> Iterator[Simulator]:
    """A stage in memory, with two people and an account at each of the five.

    One statement in so many is compared with what Django makes without any plan.
    """
    with _without_garbage_collection(), in_memory() as memory, patch.dict(ADAPTERS, STAND_INS):
        people = [
            User.objects.create(username=f"simulated{number}", is_superuser=True, is_staff=True)
            for number in range(2)
        ]
        for name in NAMES:
            _account(name)
        memory.keep()
        plans = Plans(check_every)
        with noting_querysets(plans), kept_inserts(Inserts(check_every)):
            yield Simulator(memory, people, plans)


def _account(name: str) -> None:
    adapter = STAND_INS[PROVIDERS[name]]
    environment, base_url = next(iter(adapter.environments.items()))
    account = ProviderAccount(
        name=name,
        provider=adapter.code,
        environment=environment,
        base_url=base_url,
        rate_per_second=adapter.rate_per_second,
        concurrency=3,
    )
    account.set_credentials(CREDENTIALS[name])
    account.save()


def kept_seeds() -> list[int]:
    """Seeds that once failed."""
    lines = SEEDS.read_text().splitlines()
    return [int(line.split("#")[0]) for line in lines if line.split("#")[0].strip()]
