"""A Chromium for the run, a site for each test, and people who come to it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, connections
from django.test import Client
from pytest_django.live_server_helper import LiveServer

from tests.browser.chromium import SWITCHES, executable, what_is_missing

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a browser nothing in this folder can run; and once is enough."""
    reason = _what_is_missing()
    for item in items:
        if reason and HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


def _what_is_missing() -> str:
    if connection.vendor != "sqlite":
        return "pages look the same on either database: browsers come on SQLite"
    return what_is_missing()


@pytest.fixture(scope="module")
def chromium(django_db_setup: None) -> Iterator["Browser"]:
    """One process for the tests of a module."""
    # Only where it is going to be used: it need not be installed.
    sync_api = pytest.importorskip("playwright.sync_api")
    database = connections["default"]
    with pytest.MonkeyPatch.context() as patch, sync_api.sync_playwright() as playwright:
        # Playwright keeps a loop in this thread, which Django takes for a view that must not
        # block, and gives a connection of its own, which knows nothing of the test database.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        connections["default"] = database
        browser = playwright.chromium.launch(executable_path=executable(), args=list(SWITCHES))
        yield browser
        browser.close()


@pytest.fixture
def site(live_server: LiveServer) -> str:
    """Where the site is."""
    return str(live_server.url)


def cookie_of(user: User, site: str) -> dict[str, str]:
    """What makes a browser that person's."""
    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    return {"name": name, "value": client.cookies[name].value, "url": site}
