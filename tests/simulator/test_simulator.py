"""A few hundred scenarios, those that once failed, and that a seed always tells the same story."""

from tests.simulator.running import Simulator, kept_seeds

SCENARIOS = 100
FIRST = 1_000_000
"""Other seeds than those of `make simulate`, which plays many more."""


def test_no_scenario_violates_an_invariant_and_all_come_to_their_end(stage: Simulator) -> None:
    for seed in range(FIRST, FIRST + SCENARIOS):
        report = stage.play(seed)
        assert not report.violation, report.story()


def test_what_once_failed_does_not_fail_again(stage: Simulator) -> None:
    for seed in kept_seeds():
        report = stage.play(seed)
        assert not report.violation, report.story()


def test_a_seed_tells_the_same_story_every_time(stage: Simulator) -> None:
    for seed in range(5):
        assert stage.play(seed).trace == stage.play(seed).trace
