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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that commits and does not ask for what the migrations made leaves others without."""
    for item in items:
        marker = item.get_closest_marker("django_db")
        asked = marker.kwargs if marker else {}
        names = getattr(item, "fixturenames", ())
        commits = asked.get("transaction") or "transactional_db" in names
        restores = asked.get("serialized_rollback") or "django_db_serialized_rollback" in names
        if commits and not restores:
            raise pytest.UsageError(f"{item.nodeid} commits: it needs serialized_rollback, too.")


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
