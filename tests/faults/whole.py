"""The whole table on an empty database of its own; loaded once Django is set up."""

from django.core.management import call_command

from tests import invariants
from tests.faults.cases import Case
from tests.faults.runner import Report, run
from tests.faults.stage import Stage


def play(cases: list[Case]) -> Report:
    """Make the tables, play, and compare the record with what the provider saw."""
    call_command("migrate", verbosity=0)
    return run(cases, violations)


def violations(stage: Stage) -> list[str]:
    """Every invariant that does not hold."""
    return invariants.violations(invariants.seen_by(stage.control))
