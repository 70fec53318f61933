"""Every state that the models know has its own shape, and a word of its own."""

import re
from pathlib import Path

import pytest
from django.db.models import TextChoices

from invoices.models import CancellationBatch, Invoice, SyncRun
from invoices.models.attempt import State

STATES = Path(__file__).parents[2] / "backoffice/static/backoffice/states.css"
KINDS = [Invoice.Status, State, CancellationBatch.State, SyncRun.State]
NAMES = ["invoice", "attempt", "batch", "import"]


def looks() -> dict[str, tuple[str, str]]:
    """State -> (tone, shape), as the style sheet gives them."""
    text = STATES.read_text(encoding="utf-8")
    found: dict[str, dict[str, str]] = {}
    for selector, body in re.findall(r"^([^\n{}@/*][^{}]*)\{([^{}]*)\}", text, re.MULTILINE):
        for state in re.findall(r'data-state="(\w+)"', selector):
            for key, value in re.findall(r"--(mark|shape): var\(--([\w-]+)\)", body):
                found.setdefault(state, {})[key] = value
    return {
        state: (look.get("mark", "quiet-mark"), look.get("shape", "shape-dot"))
        for state, look in found.items()
    }


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_shape_alone_tells_the_states_of_one_kind_apart(kind: type[TextChoices]) -> None:
    shapes = {state: looks().get(state, ("", "shape-dot"))[1] for state in kind.values}
    assert len(set(shapes.values())) == len(shapes), shapes


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_at_most_one_state_of_a_kind_is_left_to_the_fallback(kind: type[TextChoices]) -> None:
    assert len([state for state in kind.values if state not in looks()]) <= 1


def test_only_what_is_cancelled_is_green() -> None:
    green = {state for state, (tone, _) in looks().items() if tone == "ok-mark"}
    # The last is no state, but the event that a read showed it cancelled.
    assert green == {"cancelled", "already_cancelled", "attempt_verified"}
