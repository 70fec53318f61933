"""What django-q2 calls: a few functions of one integer, which return nothing and raise nothing.

A task means "wake up"; what there is to do stands in our own tables. Losing, repeating or
reordering tasks changes nothing.
"""

import logging
from datetime import UTC, datetime

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django_q.tasks import async_task

from invoices import drain, sync
from invoices.models.heartbeat import Heartbeat

log = logging.getLogger(__name__)


def wake(account_id: int) -> None:
    """Ask a worker to work off an account's due attempts, once the transaction is committed."""
    _enqueue("invoices.tasks.drain_account", account_id)


def start_sync(run_id: int) -> None:
    """Ask a worker to carry out an import, once the transaction is committed."""
    _enqueue("invoices.tasks.run_sync", run_id)


def send_heartbeat() -> None:
    """Ask for a sign of life through the queue."""
    _enqueue("invoices.tasks.heartbeat", 1)


def drain_account(account_id: int) -> None:
    """Work off one account for a while; wake a successor when something is left."""
    try:
        more = drain.run(account_id, seconds=settings.DRAIN_SECONDS)
    except Exception:
        # The outermost edge: what is in hand is settled by the next drain, by its lease.
        log.exception("The drain of account %s ended early.", account_id)
        return
    if more:
        wake(account_id)


def run_sync(run_id: int) -> None:
    """Carry out one import."""
    try:
        sync.run(run_id)
    except Exception:
        log.exception("Import %s ended early.", run_id)


def heartbeat(row: int) -> None:
    """A worker took this task: say so, by the database's clock."""
    if not Heartbeat.objects.filter(pk=row).update(seen_at=Now()):
        Heartbeat.objects.get_or_create(pk=row, defaults={"seen_at": datetime.now(UTC)})


def _enqueue(function: str, number: int) -> None:
    transaction.on_commit(lambda: async_task(function, number))
