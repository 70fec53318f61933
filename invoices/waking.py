"""What a worker looks for every few seconds: accounts and imports to wake, and what to tidy up.

Our tables are the queue. A wake-up that was lost is found missing here, and one too many does
nothing.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import timedelta

from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from invoices import approvals, batches, pasted, sync
from invoices.due import WORKABLE
from invoices.models import CancellationAttempt, CancellationBatch, Heartbeat, SyncRun
from invoices.models.attempt import WORKING, State
from providers.models import ProviderAccount

BatchState = CancellationBatch.State
REPEAT_SECONDS = 10.0
FULL = 100
"""So many wake-ups in the queue are enough; what is due is found again later."""
DRAFT_LIFE = timedelta(hours=24)
OLD_HEARTBEAT = timedelta(days=1)
TIDIED_AT_ONCE = 20


def accounts_due() -> list[int]:
    """Accounts that nobody is at, the lease being free or expired, with something to do.

    Due work waits while the account is paused or rests. What a drain that is gone had in hand does
    not: one look settles it without a call, and then it is in nobody's hand any more.
    """
    mine = CancellationAttempt.objects.filter(account=OuterRef("pk"))
    due = mine.filter(WORKABLE, due_at__lte=Now())
    abandoned = mine.filter(state__in=(State.CLAIMED, State.SENDING))
    awake = Q(Q(resting_until=None) | Q(resting_until__lte=Now()), paused_at=None)
    accounts = ProviderAccount.objects.filter(
        Q(lease_expires_at=None) | Q(lease_expires_at__lt=Now()),
        awake & Exists(due) | Exists(abandoned),
    )
    return list(accounts.order_by("pk").values_list("pk", flat=True))


def imports_due() -> list[int]:
    """Imports that nobody is at: their wake-up or their worker was lost."""
    return list(sync.due().values_list("pk", flat=True))


def worth_waking(
    due: Iterable[int], woken: Mapping[int, float], now: float, queued: int
) -> list[int]:
    """Which of what is due to wake at `now`, given when each was last woken.

    An empty queue means that the last wake-up was taken. Otherwise it may still be waiting for
    its turn, and another one would only make the queue longer.
    """
    if queued >= FULL:
        return []
    return [one for one in due if not queued or now - woken.get(one, -math.inf) >= REPEAT_SECONDS]


def somebody_works() -> bool:
    """Whether any drain holds a lease or any import reports progress, on whatever machine."""
    return (
        ProviderAccount.objects.filter(lease_expires_at__gt=Now()).exists()
        or SyncRun.objects.filter(
            state=SyncRun.State.RUNNING, seen_at__gte=Now() - sync.SILENCE
        ).exists()
    )


def tidy_up() -> None:
    """End previews and requests that nobody answered, close batches, forget what is old."""
    for draft in _forgotten_drafts():
        batches.discard(draft, None)
    approvals.expire_overdue()
    for batch_id in _batches_without_work():
        batches.finish_if_done(batch_id)
    Heartbeat.objects.filter(seen_at__lt=Now() - OLD_HEARTBEAT).delete()
    pasted.forget_old()


def _forgotten_drafts() -> list[CancellationBatch]:
    drafts = CancellationBatch.objects.filter(
        state=BatchState.DRAFT, created_at__lt=Now() - DRAFT_LIFE
    )
    return list(drafts.order_by("pk")[:TIDIED_AT_ONCE])


def _batches_without_work() -> list[int]:
    working = CancellationAttempt.objects.filter(batch=OuterRef("pk"), state__in=WORKING)
    running = (BatchState.RUNNING, BatchState.PAUSED, BatchState.STOPPING)
    # One that is being stopped may have work left that came back unsent: no drain takes that.
    done = CancellationBatch.objects.filter(
        ~Exists(working) | Q(state=BatchState.STOPPING), state__in=running
    )
    return list(done.values_list("pk", flat=True))
