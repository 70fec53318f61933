"""What django-q2 calls: a few functions of one integer, which return nothing and raise nothing.

A task means "wake up"; what there is to do stands in our own tables. Losing, repeating or
reordering tasks changes nothing.
"""

import logging
import os
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django_q.tasks import async_task

from invoices import drain, sync
from invoices.models.heartbeat import Heartbeat
from invoices.models.sync import SyncRun

log = logging.getLogger(__name__)

WORKER = "ANNUL_WORKER"
"""Set by `manage.py worker` for its own qcluster: the number of the row with its sign of life."""
IMPORT_SECONDS = 6 * 3600
"""An import reads page by page at the account's rate; it shows by itself that it is alive."""


def wake(account_id: int) -> None:
    """Ask a worker to work off an account's due attempts, once the transaction is committed."""
    _enqueue("invoices.tasks.drain_account", account_id)


def start_sync(run_id: int) -> None:
    """Ask a worker to carry out an import, once the transaction is committed."""
    _enqueue("invoices.tasks.run_sync", run_id, timeout=IMPORT_SECONDS)


def send_heartbeat() -> None:
    """Ask for a sign of life through the queue."""
    _enqueue("invoices.tasks.heartbeat", 1)


def drain_account(account_id: int) -> None:
    """Work off one account for a while; wake a successor when something is left."""
    more = False
    try:
        sign_of_life()
        more = drain.run(account_id, seconds=settings.DRAIN_SECONDS)
        sign_of_life()
    except Exception:
        # The outermost edge: what is in hand is settled by the next drain, by its lease.
        log.exception("The drain of account %s ended early.", account_id)
    if more:
        wake(account_id)


def run_sync(run_id: int) -> None:
    """Carry out one import, unless that would leave no place for cancellations.

    One that has to wait is found again by the worker.
    """
    try:
        sign_of_life()
        if _imports_running() < max(1, settings.WORKER_ACCOUNTS_IN_PARALLEL - 1):
            sync.run(run_id, lambda _: sign_of_life())
    except Exception:
        log.exception("Import %s ended early.", run_id)


def heartbeat(_: int) -> None:
    """A task that only shows that tasks are taken."""
    try:
        sign_of_life()
    except Exception:
        log.exception("The sign of life could not be written.")


def _imports_running() -> int:
    fresh = SyncRun.objects.filter(state=SyncRun.State.RUNNING, seen_at__gte=Now() - sync.SILENCE)
    return fresh.count()


def sign_of_life() -> None:
    """This worker took a task: say so, by the database's clock."""
    row = int(os.environ.get(WORKER, "1"))
    if not Heartbeat.objects.filter(pk=row).update(seen_at=Now()):
        Heartbeat.objects.get_or_create(pk=row, defaults={"seen_at": datetime.now(UTC)})


def _enqueue(function: str, number: int, **options: Any) -> None:
    transaction.on_commit(lambda: async_task(function, number, **options))
