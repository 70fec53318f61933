"""Two transactions that wanted the same rows in another order: one of them is told to try again."""

import time
from collections.abc import Callable
from typing import TypeVar

from django.db import OperationalError

DEADLOCK_STATES = frozenset({"40P01", "40001"})
"""PostgreSQL's codes for a deadlock and for a serialization failure."""
TRIES = 4

Result = TypeVar("Result")


def is_contention(error: BaseException) -> bool:
    """Whether the very same work may succeed when it is done again."""
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) in DEADLOCK_STATES or "database is locked" in str(error)


def again(work: Callable[[], Result]) -> Result:
    """Do a whole transaction, and once more when it lost against another one."""
    for number in range(TRIES - 1):
        try:
            return work()
        except OperationalError as error:
            if not is_contention(error):
                raise
            time.sleep(0.05 * 2**number)
    return work()
