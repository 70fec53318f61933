"""How fast an account may be called, on a clock of the tests' own."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices import pacing
from invoices.pacing import Breaker, Rate, backoff


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(scope="module", autouse=True)
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True, scope="module")
def _on_that_clock(clock: Clock) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pacing, "time", clock)
        yield


def starts(clock: Clock, rate: Rate, pauses: list[float]) -> list[float]:
    """When requests leave that are asked for after these pauses."""
    found = []
    for pause in pauses:
        clock.now += pause
        found.append(clock.now + rate.reserve())
    return found


@given(
    per_second=st.floats(0.1, 200.0),
    burst=st.floats(1.0, 10.0),
    pauses=st.lists(st.floats(0.0, 3.0), min_size=1, max_size=80),
    window=st.floats(0.01, 20.0),
)
def test_no_window_ever_sees_more_than_the_rate_and_the_burst(
    clock: Clock, per_second: float, burst: float, pauses: list[float], window: float
) -> None:
    left = starts(clock, Rate(per_second, burst), pauses)
    assert left == sorted(left)
    for first, at in enumerate(left):
        within = sum(1 for other in left[first:] if other - at < window)
        assert within <= per_second * window + burst + 1e-6


def test_a_new_drainer_begins_without_a_burst(clock: Clock) -> None:
    left = starts(clock, Rate(10.0, 10.0), [0.0] * 5)
    assert [round(at - left[0], 3) for at in left] == [0.0, 0.1, 0.2, 0.3, 0.4]


def test_a_pause_is_made_up_for_by_a_burst_and_no_more(clock: Clock) -> None:
    rate = Rate(10.0, 3.0)
    clock.now += 100.0
    left = starts(clock, rate, [0.0] * 5)
    assert [round(at - left[0], 3) for at in left] == [0.0, 0.0, 0.0, 0.1, 0.2]


def noted(breaker: Breaker, *calls: bool) -> list[float | None]:
    return [breaker.note(ok=ok) for ok in calls]


def test_five_failures_in_a_row_open_the_breaker_for_a_minute() -> None:
    breaker = Breaker(0)
    assert noted(breaker, False, False, False, False) == [None] * 4
    assert breaker.note(ok=False) == 60.0
    assert breaker.half_open


def test_a_success_between_begins_the_row_anew() -> None:
    assert noted(Breaker(0), *[False] * 4, True, *[False] * 4) == [None] * 9


def test_half_of_the_last_twenty_open_it_by_a_failure_never_by_a_success() -> None:
    breaker = Breaker(0)
    assert noted(breaker, *[False, True] * 10) == [None] * 20
    assert breaker.trips == 0
    assert breaker.note(ok=False) == 60.0


def test_once_open_each_failure_doubles_the_rest_up_to_half_an_hour() -> None:
    breaker = Breaker(1)
    assert noted(breaker, *[False] * 6) == [120.0, 240.0, 480.0, 960.0, 1800.0, 1800.0]


def test_closing_forgets_the_trips() -> None:
    breaker = Breaker(3)
    breaker.close()
    assert not breaker.half_open
    assert noted(breaker, *[False] * 5)[-1] == 60.0


@pytest.mark.parametrize("draw", [lambda low, high: low, lambda low, high: high])
def test_the_delay_before_a_next_try_is_jittered_and_bounded(
    draw: Callable[[float, float], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("invoices.pacing.random.uniform", draw)
    delays = [backoff(tries) for tries in range(12)]
    ceilings = [min(600.0, 2.0 * 3.0**tries) for tries in range(12)]
    assert delays == ([1.0] * 12 if draw(0, 1) == 0 else ceilings)
