"""One account, one drainer at a time: a lease on the account's row, by the database's clock."""

import time
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from django.db.models import Q
from django.db.models.functions import Now

from providers.models import ProviderAccount

MARGIN_SECONDS = 5.0
"""No first byte leaves in the last seconds of a lease: clocks and threads are not exact."""


class Lease:
    """Held from `acquire` to `release`, or until it expires because its holder is gone."""

    def __init__(self, account_id: int, seconds: float) -> None:
        self.token: UUID = uuid4()
        self._account_id = account_id
        self._seconds = seconds
        self._margin = min(MARGIN_SECONDS, seconds / 4)
        self._good_until = self._good_until_by_wall = 0.0
        self._offset = timedelta()

    def acquire(self) -> bool:
        """Take the lease if nobody holds it."""
        free = Q(lease_expires_at=None) | Q(lease_expires_at__lt=Now())
        if not self._write(free, lease_token=self.token):
            return False
        row = ProviderAccount.objects.annotate(db_now=Now()).get(pk=self._account_id)
        self._offset = row.db_now - datetime.now(UTC)
        return True

    def renew(self) -> bool:
        """Extend it; False when it is no longer ours, and then nothing more may be sent."""
        mine = Q(lease_token=self.token, lease_expires_at__gt=Now())
        if not self._write(mine):
            self._good_until = 0.0
            return False
        return True

    def release(self) -> None:
        """Give it back, if it is still ours."""
        ProviderAccount.objects.filter(pk=self._account_id, lease_token=self.token).update(
            lease_token=None, lease_expires_at=None
        )

    def is_good(self) -> bool:
        """Whether a first byte may leave now. Asked from any thread, without the database."""
        # A machine that sleeps stops the one clock, an administrator may set back the other.
        return time.monotonic() < self._good_until and time.time() < self._good_until_by_wall

    def is_held(self) -> bool:
        """Whether nobody has taken it over, by the database; within a transaction until its end."""
        row = ProviderAccount.objects.filter(pk=self._account_id, lease_token=self.token)
        return row.select_for_update(no_key=True).exists()

    def is_due(self) -> bool:
        """Whether it is time to renew: a third of its life is over."""
        left = self._good_until - time.monotonic()
        return left < self._seconds * 2 / 3 - self._margin

    def now(self) -> datetime:
        """The database's time, without asking it."""
        return datetime.now(UTC) + self._offset

    def _write(self, condition: Q, **changes: UUID) -> bool:
        # The local clock is read first, so that the local deadline is never the later one.
        started, started_by_wall = time.monotonic(), time.time()
        row = ProviderAccount.objects.filter(condition, pk=self._account_id)
        expires = Now() + timedelta(seconds=self._seconds)
        if not row.update(lease_expires_at=expires, **changes):
            return False
        self._good_until = started + self._seconds - self._margin
        self._good_until_by_wall = started_by_wall + self._seconds - self._margin
        return True
