"""The simulator's stage, for the mistakes to be played on."""

from tests.simulator.conftest import stage

__all__ = ["stage"]
