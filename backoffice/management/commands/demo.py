"""`manage.py demo`, started by `make demo`: everything on this machine, with sample data."""

import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from backoffice.demonstration import (
    Demo,
    DemoFailed,
    Place,
    Stopped,
    claim,
    forget,
    sandbox_port,
    stop_on_signals,
    web_port,
)

CARD = """
------------------------------------------------------------------------
  Annul is ready after {seconds:.0f} s:  {origin}/

  Log in as   to                                             password
  operator    find invoices, preview, cancel, follow         demo
  approver    approve or reject what operators ask for       demo
  auditor     see every request and answer, change nothing   demo
  support     answer "what happened to invoice X?"           demo
  admin       accounts, users, settings                      demo

  Try as operator
    1. Invoices: search "muller", tick some, "Cancel selected invoices".
    2. Read the preview, give a reason, confirm, watch the batch finish.
    3. Open an invoice of the batch: what was sent and what came back.
  Try as approver
    4. Waiting for approval: a batch by operator. Approve it; for two minutes
       anybody concerned can still recall it.
  Try as anybody
    5. End the worker in the middle of a batch: kill -9 {worker}
    6. Needs review, on the front page within a minute: a provider that went
       back on its word.

  Ctrl-C stops everything.  Logs: {logs}
  Start again: make demo    Start afresh: make demo RESET=1
------------------------------------------------------------------------
"""


class Command(BaseCommand):
    """Prints one card when everything answers; Ctrl-C or SIGTERM stops everything."""

    help = "Starts sandbox, worker and web with sample data. Only with DEMO=1, on loopback."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Where, and whether to keep what was there."""
        parser.add_argument("--port", type=int, help="of the web (default: 8000, or a free one)")
        parser.add_argument("--reset", action="store_true", help="start afresh")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until stopped."""
        if not settings.DEMO:
            raise CommandError("The demo has known passwords; start it by: make demo")
        stop_on_signals()
        try:
            self._run(settings.VAR_DIR, options["port"], options["reset"])
        except DemoFailed as reason:
            raise CommandError(str(reason)) from None
        except Stopped:
            self.stdout.write("stopped")

    def _run(self, folder: Path, port: int | None, reset: bool) -> None:
        started = time.monotonic()
        with claim(folder):
            if reset:
                forget(folder)
            place = Place(
                folder, settings.BASE_DIR / "manage.py", web_port(port), sandbox_port(folder)
            )
            demo = Demo(place, self._say)
            self._say("Starting sandbox, worker and web ...")
            try:
                demo.start()
                self._say(
                    CARD.format(
                        seconds=time.monotonic() - started,
                        origin=place.origin,
                        worker=demo.pid("worker"),
                        logs=folder / "log",
                    )
                )
                demo.watch()
            finally:
                demo.stop()

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
