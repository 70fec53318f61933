"""How long it takes to seal a record and to verify it.

    DATABASE_URL=... python -m tests.bench.audit [--rows N]

On the empty database that DATABASE_URL names, or on a new SQLite file. A seventh of the rows are
requests, a seventh answers of about a kilobyte, a seventh say what they were about; the rest are
history.
"""

import argparse
import hashlib
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import django

ROWS_OF_ONE = 7
AT_ONCE = 2000


def main(arguments: list[str]) -> int:
    """Fill, seal, verify, and print the figures."""
    parser = argparse.ArgumentParser(prog="tests.bench.audit")
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args(arguments).rows
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("DATABASE_URL", f"sqlite:///{Path(folder) / 'audit.sqlite3'}")
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
        django.setup()
        measure(rows, Path(folder) / "checkpoints.jsonl")
    return 0


def measure(rows: int, file: Path) -> None:
    """One figure a line."""
    from django.conf import settings  # noqa: PLC0415 - after django.setup()
    from django.core.management import call_command  # noqa: PLC0415

    from invoices.audit import keys  # noqa: PLC0415
    from invoices.audit.sealing import one_round  # noqa: PLC0415
    from invoices.audit.verifying import verify  # noqa: PLC0415

    settings.AUDIT_CHECKPOINTS = str(file)
    call_command("migrate", verbosity=0)
    fill(rows // ROWS_OF_ONE)
    with timed("sealing"):
        sum(one_round())
    with timed("a round with nothing new"):
        sum(one_round())
    with timed("verifying"):
        report = verify(keys.public_keys(), file)
    print("\n".join(report.told()))
    print(f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB of memory")


@contextmanager
def timed(what: str) -> Iterator[None]:
    """By the clock, and by what this process computed; the database's own work is apart."""
    started, computed = time.monotonic(), time.process_time()
    yield
    by_clock, computing = time.monotonic() - started, time.process_time() - computed
    print(f"{what}: {by_clock:.1f} s, computing here {computing:.1f} s", flush=True)


def fill(cancellations: int) -> None:
    """So many, each with a request, an answer, a subject and four steps."""
    from invoices import bulk  # noqa: PLC0415
    from tests.audit.evidence import an_attempt  # noqa: PLC0415

    attempt = an_attempt()
    for first in range(0, cancellations, AT_ONCE):
        made = list(_cancellations(attempt, range(first, min(first + AT_ONCE, cancellations))))
        for kind in range(4):
            bulk.insert(row for rows in made for row in rows[kind])


def _cancellations(attempt: Any, numbers: range) -> Iterator[tuple[list[Any], ...]]:
    from django.utils import timezone  # noqa: PLC0415

    from invoices.models import (  # noqa: PLC0415
        CallSubject,
        HistoryEvent,
        ProviderRequest,
        ProviderResponse,
    )

    begun = timezone.now() - timedelta(days=1)
    for number in numbers:
        body, answer = b'{"number": %d}' % number, b'{"status": "CANCELLED"}' * 40
        at = begun + timedelta(milliseconds=10 * number)
        request = ProviderRequest(
            account_id=attempt.account_id,
            created_at=at,
            purpose="cancel",
            method="POST",
            url=f"https://provider.example/v2/invoicing/invoices/INV2-{number:012d}/cancel",
            headers=b'[["Authorization", "[masked]"], ["Content-Type", "application/json"]]',
            body=body,
            body_sha256=hashlib.sha256(body).hexdigest(),
        )
        response = ProviderResponse(
            request_id=request.pk,
            received_at=at,
            sent=True,
            status=200,
            headers=b'[["Content-Type", "application/json"], ["Paypal-Debug-Id", "f00"]]',
            body=answer,
            body_sha256=hashlib.sha256(answer).hexdigest(),
            complete=True,
            correlation_id="f00",
            duration_ms=412,
        )
        subject = CallSubject(request_id=request.pk, invoice_id=attempt.invoice_id, attempt=attempt)
        events = [
            HistoryEvent(
                at=at,
                kind="attempt_state",
                account_id=attempt.account_id,
                batch_id=attempt.batch_id,
                attempt=attempt,
                invoice_id=attempt.invoice_id,
                from_state="queued",
                to_state=state,
                address="",
            )
            for state in ("claimed", "sending", "cancelled", "queued")
        ]
        yield [request], [response], [subject], events


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
