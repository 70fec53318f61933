"""Every test has a file of checkpoints of its own."""

from pathlib import Path

import pytest
from pytest_django import Settings


@pytest.fixture(autouse=True)
def checkpoints(settings: Settings, tmp_path: Path) -> Path:
    """The file, which does not exist yet."""
    settings.AUDIT_CHECKPOINTS = str(tmp_path / "audit" / "checkpoints.jsonl")
    return Path(settings.AUDIT_CHECKPOINTS)
