"""What the whole suite shares. The database comes from DATABASE_URL and nowhere else."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pytest_django import Settings

from providers.sandbox.running import SandboxServer, running
from tests.unguarded import flushing

# A slow shared machine is no reason to fail; each run looks at new examples and prints the
# blob that reproduces a failure.
hypothesis_settings.register_profile(
    "suite",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
hypothesis_settings.load_profile("suite")


@pytest.fixture(scope="session", autouse=True)
def _flushes() -> Iterator[None]:
    """The record's triggers refuse what the suite's own cleaning up has to do."""
    with flushing():
        yield


@pytest.fixture(scope="session")
def _sandbox() -> Iterator[SandboxServer]:
    with running() as server:
        yield server


@pytest.fixture
def sandbox(_sandbox: SandboxServer, settings: Settings) -> Iterator[SandboxServer]:
    """The sandbox of this run, emptied, and allowed as an origin of accounts."""
    _sandbox.control.reset()
    settings.PROVIDER_EXTRA_ORIGINS = [_sandbox.origin]
    yield _sandbox
    _sandbox.control.clear_faults()
