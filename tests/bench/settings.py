"""As in the tests, but what is committed survives a power cut, as in production."""

from backoffice.environment import SQLITE_OPTIONS
from tests.settings import *  # noqa: F403
from tests.settings import DATABASES

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = SQLITE_OPTIONS
