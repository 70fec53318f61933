"""Real processes, struck at random: `python -m tests.crash --kills 200 --seed 1`.

PostgreSQL, a sandbox, two workers and the web run on this machine; batches are confirmed over five
providers while processes are killed and frozen, the database crashes, and the queue is emptied.
In the end every attempt must have come to its end, and nothing may contradict what the providers
saw.
"""

import argparse
import logging
import os
import random
import signal
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

import django
from django.core.management import call_command

from backoffice.demonstration import HOST, free_port
from tests.crash import database
from tests.crash.site import Address, Site
from tests.postgres_server import NoServer

ACCOUNTS_IN_PARALLEL = 3
HURRIED = {
    # An invoice settles in 1.8 s (TEOS) to 6.3 s (Kantata).
    "PACE": "0.03",
    "DRAIN_SECONDS": "3",
    "DRAIN_LEASE_SECONDS": "4",
    "WORKER_WEDGED_SECONDS": "10",
    "WORKER_ACCOUNTS_IN_PARALLEL": str(ACCOUNTS_IN_PARALLEL),
}


def main(arguments: list[str]) -> int:
    """0 when everything came to its end and every invariant held."""
    parser = argparse.ArgumentParser(prog="tests.crash", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="strikes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=20.0, help="stop striking after so long")
    parser.add_argument("--invoices", type=int, default=1000, help="for each of six accounts")
    parser.add_argument("--pause", type=float, nargs=2, default=(1.0, 5.0), metavar="SECONDS")
    parser.add_argument("--keep", type=Path, help="leave the logs in this folder")
    options = parser.parse_args(arguments)
    # What was started and mounted must not outlive a `make` that is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="annul-crash-") as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(exist_ok=True)
        try:
            with database.running() as server:
                failed = play(options, folder, server)
        except NoServer as reason:
            print(f"skipped: {reason}")
            return 0
    print(f"seed {options.seed}, {time.monotonic() - started:.0f} s")
    return failed


def play(options: argparse.Namespace, folder: Path, server: database.Server) -> int:
    """One run on this server."""
    if not server.can_be_full:
        print("the disk is never full in this run: only root may mount a small one")
    address = Address(web=free_port(), sandbox=free_port())
    sandbox = f"http://{HOST}:{address.sandbox}"
    os.environ.update(surroundings(folder, server.url, sandbox))
    django.setup()
    logging.disable(logging.CRITICAL)
    call_command("migrate", verbosity=0)
    whole = import_module("tests.crash.whole")
    dice = random.Random(options.seed)
    site = Site(folder, dict(os.environ), address, ACCOUNTS_IN_PARALLEL, dice)
    plan = whole.Plan(
        seed=options.seed,
        kills=options.kills,
        invoices=options.invoices,
        seconds=options.minutes * 60,
        pause=tuple(options.pause),
    )
    try:
        site.start_sandbox(plan.invoices, plan.seed)
        outcome = whole.Run(plan, site, server, sandbox).play()
    finally:
        site.stop()
        site.stop_sandbox()
    outcome.tell()
    return 1 if outcome.violations else 0


def surroundings(folder: Path, url: str, sandbox: str) -> dict[str, str]:
    """The settings of every process, this one included."""
    return {
        "DJANGO_SETTINGS_MODULE": "backoffice.settings",
        "ENV_FILE": os.devnull,
        "DEMO": "True",
        "DEBUG": "False",
        "VAR_DIR": str(folder),
        "DATABASE_URL": url,
        "PROVIDER_EXTRA_ORIGINS": sandbox,
        **dict.fromkeys(("SECRET_KEY", "CREDENTIAL_KEYS", "ALLOWED_HOSTS"), ""),
        **dict.fromkeys(("CSRF_TRUSTED_ORIGINS", "PROVIDER_CA_BUNDLE", "REDIS_URL"), ""),
        **dict.fromkeys(("AUDIT_SEAL_KEY", "AUDIT_SIGNING_KEY", "AUDIT_CHECKPOINTS"), ""),
        "SECURE_SSL": "False",
        "LOG_LEVEL": "INFO",
        "PYTHONWARNINGS": "ignore",
        **HURRIED,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
