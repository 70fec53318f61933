"""Every mistake is found by the simulator, and without it the same scenarios find nothing."""

import pytest

from tests.mutants.mutants import ALL, Mutant
from tests.simulator.running import Report, Simulator

MOST_SCENARIOS = 60


def first_violation(stage: Simulator, mutant: Mutant) -> Report | None:
    """The first scenario that finds it, if any."""
    for seed in range(1, MOST_SCENARIOS + 1):
        with mutant():
            report = stage.play(seed)
        if report.violation:
            return report
    return None


@pytest.mark.parametrize("mutant", ALL)
def test_the_mistake_is_found(mutant: Mutant, stage: Simulator) -> None:
    found = first_violation(stage, mutant)
    assert found is not None, f"{mutant.__name__} was not found"
    assert "Traceback" not in found.violation, found.story()


def test_without_a_mistake_the_same_scenarios_find_nothing(stage: Simulator) -> None:
    for seed in range(1, MOST_SCENARIOS + 1):
        report = stage.play(seed)
        assert not report.violation, report.story()
