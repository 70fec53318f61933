"""The front page's facts, in the shape that templates/admin/index.html lists."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Count, Min, Q, QuerySet
from django.db.models.functions import Now
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.formats import date_format

from invoices import access, approvals, reviews
from invoices.models import CancellationAttempt, CancellationBatch, Invoice, SealerNote
from invoices.models.attempt import WORKING, State
from invoices.progress import (
    RUNNING,
    counts_for_bar,
    counts_of,
    standing,
    worker_is_alive,
    worker_seen_at,
)
from invoices.templatetags.told import countdown, duration
from providers.adapters import ADAPTERS
from providers.models import ProviderAccount

DAYS = 30
MOST_BATCHES = 8
MOST_APPROVALS = 8
ENDS = (
    State.CANCELLED,
    State.ALREADY_CANCELLED,
    State.REFUSED,
    State.SKIPPED,
    State.FAILED,
    State.WITHDRAWN,
    State.NEEDS_REVIEW,
)


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure."""

    label: str
    value: str
    note: str
    tone: str
    href: str


def overview(user: User) -> dict[str, Any]:
    """What this person sees on the front page."""
    if not user.has_perm("invoices.view_invoice"):
        return {}
    return {
        "tiles": [asdict(tile) for tile in _tiles(user)],
        "approvals": _approvals(user),
        "batches": running_batches(user),
        "poll_url": reverse("admin:invoices_cancellationbatch_running"),
        "outcomes": _outcomes(user),
        "accounts": [_health(user, one) for one in _accounts(user).select_related("paused_by")],
        "worker": _worker(),
        "checkpoints": _checkpoints(user),
    }


def _tiles(user: User) -> list[Tile]:
    tiles = [_open(user), _due(user), _cancelled_today(user), _needs_review(user)]
    return [*tiles, _to_approve(user)] if user.has_perm(approvals.APPROVE) else tiles


def running_batches(user: User) -> list[dict[str, Any]]:
    """The newest batches, of those that this person sees, in which something may still happen."""
    running = access.narrow(user, CancellationBatch.objects.filter(state__in=RUNNING))
    batches = list(running.select_related("requested_by")[:MOST_BATCHES])
    found = counts_of([one.pk for one in batches])
    return [_running(one, found.get(one.pk, {})) for one in batches]


def _running(batch: CancellationBatch, found: dict[State, int]) -> dict[str, Any]:
    working = sum(found.get(state, 0) for state in WORKING)
    left_alone = found.get(State.INELIGIBLE, 0)
    total = sum(found.values()) - left_alone
    state, word = standing(batch)
    return {
        "title": str(batch),
        "href": reverse("admin:invoices_cancellationbatch_change", args=[batch.pk]),
        "state": state,
        "state_word": word,
        "counts": counts_for_bar(found),
        "done": f"{total - working:,}",
        "total": f"{total:,}",
        "left_alone": f"{left_alone:,}" if left_alone else "",
        "note": f"{batch.get_reason_display()} · asked by {batch.requested_by.get_username()}",
    }


def _accounts(user: User) -> QuerySet[ProviderAccount]:
    return access.narrow(user, ProviderAccount.objects.all())


def _attempts(user: User) -> QuerySet[CancellationAttempt]:
    return access.narrow(user, CancellationAttempt.objects.all())


def _open(user: User) -> Tile:
    invoices = access.narrow(user, Invoice.objects.filter(status=Invoice.Status.OPEN))
    count, accounts = invoices.count(), _accounts(user).count()
    note = "at 1 provider account" if accounts == 1 else f"at {accounts} provider accounts"
    return Tile("Open invoices", f"{count:,}", note, "quiet", _invoices("status=open"))


def _due(user: User) -> Tile:
    due = _attempts(user).filter(due_at__lte=Now())
    figures = due.aggregate(count=Count("pk"), oldest=Min("due_at"))
    note = f"longest due for {_age(figures['oldest'])}" if figures["oldest"] else "nothing is due"
    href = _invoices("attempt=working")
    return Tile("Work due", f"{figures['count']:,}", note, "run", href)


def _cancelled_today(user: User) -> Tile:
    """Over the batches that were not over yet this morning: an index range, not the table."""
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    recent = CancellationBatch.objects.filter(
        Q(finished_at=None) | Q(finished_at__gte=midnight), confirmed_at__isnull=False
    )
    done = _attempts(user).filter(
        batch__in=recent.values("pk"), state=State.CANCELLED, finished_at__gte=midnight
    )
    # What two persons decided is no word of the provider's.
    figures = done.exclude(evidence="person").aggregate(
        count=Count("pk"), verified=Count("verified_at")
    )
    pending = figures["count"] - figures["verified"]
    note = f"{pending:,} still to be verified" if pending else "confirmed by the providers"
    return Tile(
        "Cancelled today", f"{figures['count']:,}", note, "ok", _invoices("attempt=cancelled")
    )


def _needs_review(user: User) -> Tile:
    parked = reviews.waiting_for(user).order_by()
    waiting = parked.aggregate(count=Count("pk"), since=Min("finished_at"))
    href = _invoices(f"attempt={State.NEEDS_REVIEW}")
    if reviews.may_see_reviews(user):
        href = reverse("admin:invoices_cancellationattempt_changelist")
    if not waiting["count"]:
        return Tile("Needs review", "0", "nothing waits for a person", "quiet", href)
    note = f"oldest for {_age(waiting['since'])}" if waiting["since"] else "decide each by hand"
    return Tile("Needs review", f"{waiting['count']:,}", note, "bad", href)


def _to_approve(user: User) -> Tile:
    """Batches of others."""
    waiting = approvals.answerable_by(user).order_by()
    found = waiting.aggregate(count=Count("pk"), first=Min("expires_at"))
    label, href = "Waiting for my approval", reverse("admin:invoices_awaitingbatch_changelist")
    if not found["count"]:
        return Tile(label, "0", "no batch of others waits", "quiet", href)
    note = f"the first expires in {countdown(found['first'])}"
    return Tile(label, f"{found['count']:,}", note, "wait", href)


def _approvals(user: User) -> list[dict[str, str]]:
    """What this person may say yes or no to."""
    return [*_batches_to_approve(user), *_decisions_to_confirm(user)][:MOST_APPROVALS]


def _batches_to_approve(user: User) -> list[dict[str, str]]:
    if not user.has_perm(approvals.APPROVE):
        return []
    rows = approvals.answerable_by(user).select_related("requested_by")
    return [
        {
            "title": f"{one}: cancel invoices ({one.get_reason_display().lower()})?",
            "href": reverse("admin:invoices_awaitingbatch_change", args=[one.pk]),
            "note": f"Asked by {one.requested_by.get_username()}."
            f" Expires in {countdown(one.expires_at)}.",
        }
        for one in rows[:MOST_APPROVALS]
    ]


def _decisions_to_confirm(user: User) -> list[dict[str, str]]:
    """Decisions that others have proposed and that this person may confirm."""
    if not user.has_perm(reviews.PERMISSION):
        return []
    proposed = access.narrow(user, reviews.proposals()).exclude(proposed_by=user)
    rows = proposed.select_related("attempt__invoice", "proposed_by")[:MOST_APPROVALS]
    return [
        {
            "title": f"{one.attempt.invoice}: {one.get_outcome_display().lower()}?",
            "href": reverse("admin:invoices_cancellationattempt_change", args=[one.attempt_id]),
            "note": f"Proposed by {one.proposed_by.get_username()} {_clock(one.proposed_at)}.",
        }
        for one in rows
    ]


def _outcomes(user: User) -> dict[str, Any]:
    """By provider, over the batches confirmed in the last thirty days."""
    recent = CancellationBatch.objects.filter(confirmed_at__gte=Now() - timedelta(days=DAYS))
    rows = (
        _attempts(user)
        .filter(batch__in=recent.values("pk"), state__in=ENDS)
        .order_by()
        .values_list("account__provider", "state")
        .annotate(count=Count("pk"))
    )
    found: dict[str, dict[State, int]] = {}
    for provider, state, count in rows:
        found.setdefault(provider, {})[State(state)] = count
    return {
        "states": [str(state.label) for state in ENDS],
        "rows": [
            {
                "label": adapter.label,
                "counts": counts_for_bar(found[code]),
                "cells": [f"{found[code].get(state, 0):,}" for state in ENDS],
            }
            for code, adapter in ADAPTERS.items()
            if code in found
        ],
    }


def _health(user: User, account: ProviderAccount) -> dict[str, Any]:
    return {
        "label": account.name,
        "href": _account_url(user, account),
        "account": account,
        "rate": f"{account.rate_per_second:g}/s",
    }


def _worker() -> dict[str, Any]:
    seen = worker_seen_at()
    note = f"A worker was last seen at {_clock(seen)}." if seen else "None was ever seen."
    return {"alive": worker_is_alive(), "note": note}


def _checkpoints(user: User) -> dict[str, str]:
    """Why checkpoints cannot leave the database, for those who read the history."""
    if not user.has_perm("invoices.view_historyevent"):
        return {}
    note = SealerNote.objects.exclude(trouble="").first()
    if note is None or note.trouble_since is None:
        return {}
    return {"since": _clock(note.trouble_since), "trouble": note.trouble}


def _age(moment: datetime) -> str:
    return duration((timezone.now() - moment).total_seconds())


def _clock(moment: datetime) -> str:
    return date_format(timezone.localtime(moment), "j M H:i:s T")


def _invoices(query: str) -> str:
    return f"{reverse('admin:invoices_invoice_changelist')}?{query}"


def _account_url(user: User, account: ProviderAccount) -> str:
    if not user.has_perm("providers.view_provideraccount"):
        return ""
    try:
        return reverse("admin:providers_provideraccount_change", args=[account.pk])
    except NoReverseMatch:
        return ""
