"""Some of the table on every run: each fault at least once, chosen by a seed that is printed.

`make faults` plays all of it.
"""

import os
import random

import pytest

from tests.faults.cases import everything, parse, selection
from tests.faults.rules import expected
from tests.faults.runner import run
from tests.faults.whole import violations

SEED = int(os.environ.get("FAULTS_SEED") or random.randrange(10_000))


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_each_fault_ends_as_the_rules_have_it() -> None:
    cases = selection(SEED)
    report = run(cases, violations)
    assert len({result.case for result in report.results}) == len(cases)
    wrong = [f"{one.case}: {'; '.join(one.wrong)}" for one in report.failures]
    again = f"FAULTS_SEED={SEED}; one alone: make faults CASE=..."
    assert not wrong, "\n".join([*wrong, again])
    assert not report.violations, "\n".join([*report.violations, again])


def test_the_table_names_no_case_twice_and_can_be_written_down() -> None:
    cases = list(everything())
    assert len(cases) == len(set(cases))
    assert all(parse(str(case)) == case for case in cases)


def test_the_rules_know_every_case() -> None:
    for case in everything():
        wanted = expected(case)
        assert wanted.ends
        assert 0 <= wanted.least <= wanted.most <= 3


def test_a_selection_has_every_fault() -> None:
    faults = {case.fault for case in everything()}
    assert {case.fault for case in selection(SEED)} == faults
