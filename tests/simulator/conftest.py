"""The stage on which scenarios are played, beside whatever database the suite runs on."""

import logging
from collections.abc import Iterator

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from tests.simulator.running import Simulator, simulator


@pytest.fixture(scope="module")
def stage(django_db_blocker: DjangoDbBlocker) -> Iterator[Simulator]:
    if connection.vendor != "sqlite":
        pytest.skip("scenarios are played in SQLite's memory, once is enough")
    logging.disable(logging.CRITICAL)
    try:
        with django_db_blocker.unblock(), simulator() as made:
            yield made
    finally:
        logging.disable(logging.NOTSET)
