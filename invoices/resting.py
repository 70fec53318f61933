"""What the drain writes on its account: that it rests, that it is back, or that it is paused."""

from datetime import datetime

from django.db import transaction
from django.db.models.functions import Now

from invoices.models.evidence import HistoryEvent
from providers.adapters.base import text
from providers.models import ProviderAccount


def rest(account: ProviderAccount, until: datetime, reason: str, error: str, trips: int) -> None:
    """Leave the account alone until then, because of a rate limit or the breaker."""
    ProviderAccount.objects.filter(pk=account.pk).update(
        resting_until=until,
        resting_reason=reason,
        breaker_trips=trips,
        last_error=_plain(error),
        last_error_at=Now(),
    )


def back(account: ProviderAccount) -> None:
    """A read succeeded after the breaker had opened."""
    ProviderAccount.objects.filter(pk=account.pk).update(
        resting_until=None, resting_reason="", breaker_trips=0
    )


def pause(account: ProviderAccount, code: str, reason: str) -> None:
    """Switch the account off until a person has looked; recorded once."""
    with transaction.atomic():
        running = ProviderAccount.objects.filter(pk=account.pk, paused_at=None)
        paused = running.update(
            paused_at=Now(),
            paused_by=None,
            pause_code=code,
            pause_reason=_plain(reason),
            last_error=_plain(reason),
            last_error_at=Now(),
        )
        if paused:
            HistoryEvent.objects.create(
                kind=HistoryEvent.Kind.ACCOUNT_PAUSED,
                account=account,
                code=code,
                detail=_plain(reason),
            )


def _plain(said: str) -> str:
    return text(said)
