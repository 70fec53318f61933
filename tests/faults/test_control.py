"""The control: an engine that breaks a rule is found out, by the table and by the invariants."""

from dataclasses import replace

import pytest

from invoices import outcomes
from invoices.models.attempt import State
from invoices.outcomes import Decision, Standing
from providers.errors import ProviderError
from tests.faults.cases import parse
from tests.faults.runner import run
from tests.faults.whole import violations

CASES = [
    parse("visa_acceptance/500_json/after/nothing/works"),
    parse("visa_acceptance/read_timeout/before/nothing/works"),
]


def says(monkeypatch: pytest.MonkeyPatch, to: State, due_in: float | None) -> None:
    """Whatever is not known about a cancel, the engine now says it is this."""
    honest = outcomes.after_error

    def dishonest(standing: Standing, error: ProviderError, *, backoff: float) -> Decision:
        decision = honest(standing, error, backoff=backoff)
        if not decision.doubt:
            return decision
        return replace(decision, to=to, doubt=None, due_in=due_in)

    monkeypatch.setattr(outcomes, "after_error", dishonest)


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_sending_again_without_a_read_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, State.QUEUED, 1.0)
    report = run(CASES, violations)
    assert report.failures
    assert any(one.startswith("no blind resend") for one in report.violations)


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_taking_a_lost_answer_for_a_failure_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, State.FAILED, None)
    report = run(CASES, violations)
    assert len(report.failures) == len(CASES)
    assert any(one.startswith("ends are true") for one in report.violations)
