"""The state behind the five dialects: accounts, their invoices, what happens later.

One lock guards it all. Dialects translate; the world changes.
"""

from __future__ import annotations

import copy
import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from providers.sandbox.limits import Limit
from providers.sandbox.switches import Switches

EXPONENTS = {"EUR": 2, "USD": 2, "GBP": 2, "JPY": 0, "KWD": 3}
"""Decimal places by ISO 4217."""

OUTSIDE = 0
"""The author of a change that no request of a client made."""


@dataclass(slots=True)
class Invoice:
    """One document at one account. Amounts in minor units, ``status`` in the provider's word."""

    id: str
    number: str | None
    status: str
    currency: str
    exponent: int
    amount: int
    customer: str
    email: str | None
    created: datetime
    updated: datetime
    paid: int = 0
    issued_on: date | None = None
    due_on: date | None = None
    cancelled: datetime | None = None
    cancelled_by: list[int] = field(default_factory=list)
    """Who carried out each cancellation: log sequence numbers, OUTSIDE for nobody of ours."""
    extra: dict[str, Any] = field(default_factory=dict)
    """What only one provider knows."""
    changed_at: float = 0.0
    """Monotonic time of the last change."""
    previous: Invoice | None = None
    """The state before the last change, for reads that lag."""

    @property
    def open_amount(self) -> int:
        """What is still owed."""
        return self.amount - self.paid

    def remember(self) -> None:
        """Keeps the present state as the one a lagging read shows; call before a change."""
        self.previous = copy.copy(self)
        self.previous.previous = None
        self.previous.extra = dict(self.extra)
        self.changed_at = time.monotonic()
        self.updated = utc_now()


@dataclass(slots=True)
class Account:
    """One set of credentials at one provider and what belongs to it."""

    name: str
    provider: str
    credentials: dict[str, str]
    invoices: dict[str, Invoice] = field(default_factory=dict)
    tokens: dict[str, float] = field(default_factory=dict)
    """Access tokens to the wall-clock time they expire at."""
    limit: Limit | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    """Assets, transactions, whatever else one provider keeps per account."""
    made: int = 0
    """How many invoices were ever made; the next one's id follows from it."""
    _listed: list[Invoice] = field(default_factory=list)

    def add(self, invoice: Invoice) -> None:
        """Takes a new invoice in."""
        self.invoices[invoice.id] = invoice
        self._listed = []

    def remove(self, external_id: str) -> None:
        """Makes an invoice vanish."""
        del self.invoices[external_id]
        self._listed = []

    def listed(self) -> list[Invoice]:
        """All documents, newest first. Not a copy: do not change it."""
        if not self._listed:
            rows = self.invoices.values()
            self._listed = sorted(rows, key=lambda row: (row.created, row.id), reverse=True)
        return self._listed


class World:
    """All accounts, the switches, and changes that are due later."""

    def __init__(self, switches: Switches | None = None) -> None:
        self.lock = threading.RLock()
        self.switches = switches or Switches()
        self.accounts: dict[str, Account] = {}
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._ticket = itertools.count()

    def of_provider(self, provider: str) -> Iterator[Account]:
        """The accounts at one provider."""
        return (account for account in self.accounts.values() if account.provider == provider)

    def with_credential(self, provider: str, name: str, value: str) -> Account | None:
        """The provider's account whose credential ``name`` is ``value``."""
        for account in self.of_provider(provider):
            if account.credentials.get(name) == value:
                return account
        return None

    def with_token(self, provider: str, token: str) -> Account | None:
        """The provider's account an access token was issued to, expired or not."""
        for account in self.of_provider(provider):
            if token in account.tokens:
                return account
        return None

    def later(self, seconds: float, change: Callable[[], None]) -> None:
        """Has ``change`` happen that much later; at once for 0 or less."""
        if seconds <= 0:
            change()
        else:
            heapq.heappush(self._later, (time.monotonic() + seconds, next(self._ticket), change))

    def settle(self) -> None:
        """Carries out what is due by now. Every look at the world begins with it."""
        while self._later and self._later[0][0] <= time.monotonic():
            heapq.heappop(self._later)[2]()

    def settle_everything(self) -> None:
        """Carries out all that was put off, due or not; before the state is saved."""
        while self._later:
            heapq.heappop(self._later)[2]()

    def changed(self) -> float:
        """When an invoice last changed, in monotonic seconds; 0 for never."""
        every = (row for account in self.accounts.values() for row in account.invoices.values())
        return max((row.changed_at for row in every), default=0.0)

    def pending(self) -> int:
        """How many changes are still to come."""
        return len(self._later)

    def forget(self) -> None:
        """Drops all accounts and all that was put off."""
        self.accounts.clear()
        self._later.clear()


def utc_now() -> datetime:
    """The present time with its zone."""
    return datetime.now(UTC)
