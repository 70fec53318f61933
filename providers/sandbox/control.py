"""The hand of the test on the sandbox: what the control API does, as Python.

Every method may be called from any thread. Invoices and log entries come back
as plain dicts, the same as over HTTP.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from providers.sandbox import changes, seed
from providers.sandbox.application import Application
from providers.sandbox.credentials import CREDENTIALS, PROVIDERS, account_sheet
from providers.sandbox.dialects.base import Dialect
from providers.sandbox.faults import Fault, default_times
from providers.sandbox.limits import DOCUMENTED, Limit
from providers.sandbox.world import Account, Invoice

JsonObject = dict[str, Any]


class Control:
    """Direct access to the world, the faults and the log of one sandbox."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._world = application.world
        self._seed = 0
        self.origin = ""

    # -- accounts and invoices ----------------------------------------------------------

    def reset(self, invoices: int | Mapping[str, int] = 0, seed: int = 0) -> None:
        """The default accounts anew, with that many invoices each; faults and log cleared."""
        with self._world.lock:
            self._seed = seed
            self._world.forget()
            self.clear()
            for name, provider in PROVIDERS.items():
                count = invoices if isinstance(invoices, int) else invoices.get(name, 0)
                self._open_account(name, provider, CREDENTIALS[name], count)

    def add_account(
        self, name: str, provider: str, credentials: dict[str, str], invoices: int = 0
    ) -> None:
        """One more account at a provider."""
        with self._world.lock:
            self._open_account(name, provider, credentials, invoices)

    def _open_account(
        self, name: str, provider: str, credentials: dict[str, str], count: int
    ) -> None:
        account = Account(name, provider, dict(credentials))
        dialect = self._application.dialects.get(provider)
        if dialect is None:
            return
        self._world.accounts[name] = account
        dialect.prepare(account)
        seed.fill(account, dialect, count, self._seed)

    def accounts(self) -> list[JsonObject]:
        """Name, provider, base URL and credentials of the default accounts."""
        return account_sheet(self.origin)

    def add_invoice(self, account: str, external_id: str | None = None, **facts: Any) -> str:
        """A new invoice; its external id. ``facts`` as ``seed.make`` takes them:
        status (neutral or the provider's word), amount (minor units), currency, customer,
        email, number, age_days, terms_days, paid, extra."""
        with self._world.lock:
            owner, dialect = self._account(account)
            identity = external_id or self._next_id(owner, dialect)
            owner.add(seed.make(owner, dialect, identity, **facts))
            return identity

    def _next_id(self, account: Account, dialect: Dialect) -> str:
        account.made += 1
        return seed.external_id(dialect.id_kind, account.made - 1, self._seed)

    def invoice(self, account: str, external_id: str) -> JsonObject:
        """The true state of an invoice: status, amounts, ``cancelled_by`` and all else.

        ``cancelled_by`` holds, per cancellation carried out, the log number of the request
        that asked for it, or 0 for a change from outside. KeyError where it does not exist."""
        with self._world.lock:
            self._world.settle()
            return _plain(self._account(account)[0].invoices[external_id])

    def invoices(self, account: str) -> list[JsonObject]:
        """All documents of an account, newest first."""
        with self._world.lock:
            self._world.settle()
            return [_plain(row) for row in self._account(account)[0].listed()]

    def ids(self, account: str, status: str | None = None) -> list[str]:
        """The external ids of an account, newest first; only those in ``status`` if given."""
        with self._world.lock:
            owner, dialect = self._account(account)
            word = dialect.words.get(status, status) if status else None
            return [
                row.id
                for row in owner.listed()
                if word in (None, row.status) and row.extra.get("type", "invoice") == "invoice"
            ]

    # -- the world moves -----------------------------------------------------------------

    def change(self, account: str, external_id: str, name: str, after: float = 0.0) -> None:
        """pay, pay_part, draft, change_amount, cancel_elsewhere or delete; now or later."""
        with self._world.lock:
            owner, dialect = self._account(account)
            change = self._application.change
            self._world.later(after, lambda: change(dialect, owner, external_id, name))

    def pay(self, account: str, external_id: str) -> None:
        """The customer pays in full."""
        self.change(account, external_id, "pay")

    def pay_part(self, account: str, external_id: str) -> None:
        """The customer pays a third."""
        self.change(account, external_id, "pay_part")

    def cancel_elsewhere(self, account: str, external_id: str) -> None:
        """Somebody cancels it in the provider's own application."""
        self.change(account, external_id, "cancel_elsewhere")

    def delete(self, account: str, external_id: str) -> None:
        """It vanishes."""
        self.change(account, external_id, "delete")

    def set_status(self, account: str, external_id: str, status: str) -> None:
        """Any status, also a word nobody knows."""
        with self._world.lock:
            owner, dialect = self._account(account)
            changes.set_status(dialect, owner.invoices[external_id], status)

    def set_invoice(self, account: str, external_id: str, **values: Any) -> None:
        """Sets fields of an invoice: amount, currency, exponent, customer, email, number, paid."""
        with self._world.lock:
            invoice = self._account(account)[0].invoices[external_id]
            invoice.remember()
            for name, value in values.items():
                setattr(invoice, name, value)

    # -- behaviour ------------------------------------------------------------------------

    def set_fault(
        self, name: str, account: str | None = None, external_id: str | None = None, **how: Any
    ) -> None:
        """Arms a fault; ``how``: kind ("cancel" unless told), times, applied, delay, hold,
        retry_after, world, world_when. See ``faults.Fault``."""
        how.setdefault("times", default_times(name))
        self._application.faults.add(Fault(name, account, external_id, **how))

    def faults(self) -> list[JsonObject]:
        """All faults asked for, with how often each has fired."""
        return [fault.as_dict() for fault in self._application.faults.all()]

    def clear_faults(self) -> None:
        """Disarms all faults."""
        self._application.faults.clear()

    def switch(self, **values: Any) -> None:
        """Sets switches; see ``switches.Switches``."""
        with self._world.lock:
            self._world.switches.set(**values)

    def switches(self) -> JsonObject:
        """All switches."""
        return self._world.switches.as_dict()

    def limit(self, account: str, calls: int | None, seconds: float = 1.0) -> None:
        """Limits an account to so many calls in so many seconds; None lifts the limit."""
        with self._world.lock:
            owner = self._account(account)[0]
            strict = DOCUMENTED.get(owner.provider, (0, 0.0, False))[2]
            owner.limit = Limit(calls, seconds, strict) if calls is not None else None

    def documented_limits(self) -> None:
        """Puts the limits in force that the providers publish."""
        with self._world.lock:
            for account in self._world.accounts.values():
                if account.provider in DOCUMENTED:
                    account.limit = Limit(*DOCUMENTED[account.provider])

    def expire_tokens(self, account: str | None = None) -> None:
        """Makes all access tokens handed out invalid."""
        with self._world.lock:
            for owner in self._world.accounts.values():
                if account in (None, owner.name):
                    owner.tokens = dict.fromkeys(owner.tokens, 0.0)

    def set_credentials(self, account: str, **credentials: str) -> None:
        """Rotates credentials: requests with the old ones are refused from now on."""
        with self._world.lock:
            self._account(account)[0].credentials.update(credentials)

    # -- evidence -----------------------------------------------------------------------------

    def log(
        self,
        since: int = 0,
        *,
        kind: str | None = None,
        account: str | None = None,
        external_id: str | None = None,
    ) -> list[JsonObject]:
        """The requests read, oldest first, with a number greater than ``since``."""
        with self._world.lock:
            self._world.settle()
            return [
                entry.as_dict()
                for entry in self._application.log.since(since)
                if kind in (None, entry.kind)
                and account in (None, entry.account)
                and (external_id is None or external_id in entry.ids)
            ]

    def cancels(self, account: str, external_id: str) -> list[JsonObject]:
        """The cancel requests that named this invoice at this account."""
        return self.log(kind="cancel", account=account, external_id=external_id)

    def stats(self) -> JsonObject:
        """Counts: requests by account and kind, invoices by account and status, what is pending."""
        with self._world.lock:
            self._world.settle()
            return {
                "requests": self._requests(),
                "invoices": {a.name: _by_status(a) for a in self._world.accounts.values()},
                "throttled": {
                    a.name: a.limit.refused for a in self._world.accounts.values() if a.limit
                },
                "pending": self._world.pending(),
            }

    def clear(self) -> None:
        """Forgets faults and the log in memory; the invoices stay."""
        with self._world.lock:
            self._application.faults.clear()
            self._application.log.clear()

    def _requests(self) -> dict[str, dict[str, int]]:
        counts: dict[str, dict[str, int]] = {}
        for entry in self._application.log.entries:
            kinds = counts.setdefault(entry.account or "-", {})
            kinds[entry.kind] = kinds.get(entry.kind, 0) + 1
        return counts

    def _account(self, name: str) -> tuple[Account, Dialect]:
        account = self._world.accounts[name]
        return account, self._application.dialects[account.provider]


def _by_status(account: Account) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in account.invoices.values():
        counts[row.status] = counts.get(row.status, 0) + 1
    return counts


def _plain(invoice: Invoice) -> JsonObject:
    facts = {item.name: getattr(invoice, item.name) for item in dataclasses.fields(invoice)}
    facts.pop("previous")
    return {name: _json_able(value) for name, value in facts.items()}


def _json_able(value: Any) -> Any:
    return value.isoformat() if isinstance(value, (date, datetime)) else value
