"""One sandbox for all tests of this folder, put back to its start before each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from providers.sandbox import SandboxServer, Switches, running
from tests.sandbox.client import Client, client

Open = Callable[..., Client]


@pytest.fixture(scope="session")
def shared_server() -> Iterator[SandboxServer]:
    with running() as server:
        yield server


@pytest.fixture
def sandbox(shared_server: SandboxServer) -> SandboxServer:
    """An empty world with the default accounts and switches; no TEOS delay."""
    shared_server.control.switch(**Switches(teos_delay=0.0).as_dict())
    shared_server.control.reset()
    return shared_server


@pytest.fixture
def at(sandbox: SandboxServer) -> Iterator[Open]:
    """``at("monite-nord")`` is a client of that account."""
    with ExitStack() as stack:
        yield lambda account, **more: stack.enter_context(client(sandbox, account, **more))
