"""The sandbox from the shell: arguments, the announcement, running until stopped.

Used by ``python -m providers.sandbox`` and by ``manage.py sandbox``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from providers.sandbox.credentials import account_sheet
from providers.sandbox.running import Options, SandboxServer
from providers.sandbox.switches import Switches

Print = Callable[[str], Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sandbox's options."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=9000, help="0 takes a free one")
    parser.add_argument("--invoices", type=int, default=350, help="per account")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another world")
    parser.add_argument("--latency", type=float, default=0.0, metavar="MS", help="of every answer")
    parser.add_argument("--teos-delay", type=float, default=3.0, metavar="SECONDS")
    parser.add_argument("--no-limits", action="store_true", help="without the rate limits")
    parser.add_argument("--log", type=Path, help="append every request to this file (JSON lines)")
    parser.add_argument("--state", type=Path, help="keep the invoices in this file")
    parser.add_argument("--print-credentials", action="store_true", help="as JSON, and stop")


def run(options: dict[str, Any], announce: Print) -> None:
    """Prints the credentials, or serves until SIGTERM or SIGINT."""
    if options["print_credentials"]:
        origin = f"http://{options['host']}:{options['port']}"
        announce(json.dumps(account_sheet(origin), indent=2))
        return
    server = SandboxServer(_start(options), _switches(options))
    if not options["no_limits"]:
        server.control.documented_limits()
    server.serve_forever(lambda origin: announce(f"sandbox ready at {origin}"))


def _start(options: dict[str, Any]) -> Options:
    names = ("host", "port", "invoices", "seed", "log", "state")
    return Options(**{name: options[name] for name in names})


def _switches(options: dict[str, Any]) -> Switches:
    return Switches(latency=options["latency"] / 1000, teos_delay=options["teos_delay"])
