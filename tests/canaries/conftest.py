"""What the searches for canaries share."""

from collections.abc import Iterator

import pytest

from tests.canaries.leaking import Leaking, leaking
from tests.canaries.sinks import Logs, watched


@pytest.fixture
def leaks() -> Iterator[Leaking]:
    with leaking() as found:
        yield found


@pytest.fixture
def logs() -> Iterator[Logs]:
    with watched() as found:
        yield found
