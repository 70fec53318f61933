"""`make demo` as a newcomer runs it: one card, five logins, and nothing left when it stops."""

import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from invoices.supervision import Child
from tests.e2e.browser import Browser
from tests.processes import ROOT, until

pytestmark = [
    pytest.mark.skipif(
        connection.vendor != "sqlite", reason="the demo always has a database of its own"
    ),
    pytest.mark.skipif(sys.platform != "linux", reason="looks for orphans in /proc"),
]

LOGINS = ("operator", "approver", "auditor", "support", "admin")
CARD_ENDS = "make demo RESET=1"


class Demo:
    """A demo under test, in a folder and on a port of its own."""

    def __init__(self, var: Path, log: Path) -> None:
        self.var = var
        self.log = log
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *, port: int | None = None) -> Child:
        """`make demo`, as if nothing were set in the environment."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        command = ["make", "-C", str(ROOT), "demo", f"PORT={port or self.port}"]
        return Child(command, env=kept | {"VAR_DIR": str(self.var)}, log=self.log)

    def await_card(self, process: Child) -> None:
        """Wait for the card."""
        until(lambda: CARD_ENDS in self.said() or not process.is_running(), 90)
        assert CARD_ENDS in self.said(), self.said()

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def processes(self) -> list[str]:
        """Whatever runs with this demo's folder in its environment."""
        return [
            (one / "cmdline").read_text().replace("\0", " ")
            for one in Path("/proc").iterdir()
            if one.name.isdecimal() and os.fsencode(f"VAR_DIR={self.var}") in _environ(one)
        ]


def _environ(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """Not started yet; whatever is left of it at the end is reported."""
    demo = Demo(tmp_path / "var", tmp_path / "said")
    yield demo
    until(lambda: not demo.processes(), 10)


def test_the_demo_starts_shows_its_pages_to_each_role_and_stops(demo: Demo) -> None:
    process = demo.start()
    try:
        demo.await_card(process)
        assert f"Annul is ready after {_seconds(demo)} s:  {demo.origin}/" in demo.said()
        for name in LOGINS:
            see_the_front_page(demo, name)
        see_what_the_first_batch_left(demo)
        refuse_a_second_one(demo)
    finally:
        obeyed = process.stop(10)
    assert obeyed, "it did not stop within 10 seconds"
    until(lambda: not demo.processes(), 5)

    demo.log.write_text("")
    process = demo.start()
    try:
        demo.await_card(process)
        assert "Importing" not in demo.said()
        assert int(_seconds(demo)) < 30
    finally:
        process.stop(10)


def _seconds(demo: Demo) -> str:
    [seconds] = re.findall(r"ready after (\d+) s", demo.said())
    return str(seconds)


def see_the_front_page(demo: Demo, name: str) -> None:
    browser = Browser(demo.origin)
    page = browser.log_in(name, "demo")
    assert (page.status, page.url) == (200, f"{demo.origin}/admin/"), name
    assert "Overview" in page.text
    style = browser.get(re.findall(r'href="(/static/backoffice/[^"]+\.css)"', page.text)[0])
    assert style.status == 200
    assert browser.get("/readyz").status == 200


def see_what_the_first_batch_left(demo: Demo) -> None:
    browser = Browser(demo.origin)
    browser.log_in("auditor", "demo")
    for path in ("invoice", "cancellationbatch", "providerrequest", "historyevent", "syncrun"):
        page = browser.get(f"/admin/invoices/{path}/")
        assert page.status == 200, path
        assert f"/admin/invoices/{path}/1/" in page.text or "/change/" in page.text, path
    batch = browser.get("/admin/invoices/cancellationbatch/1/change/")
    assert "Cancelled" in batch.text
    assert "Refused" in batch.text


def refuse_a_second_one(demo: Demo) -> None:
    before = len(demo.said())
    second = demo.start(port=demo.port + 1)
    assert second.wait(20)
    second.kill()
    assert second.status != 0
    assert "A demo is running here already" in demo.said()[before:]
