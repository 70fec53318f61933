"""What can go wrong on demand, and the list of what a test has asked for.

A fault names what the client sees; ``applied`` says, independently of that,
whether the provider carried the request out: never, before the fault, or later.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

ACCEPT = ("fin_at_accept", "rst_at_accept", "rst_mid_request")
"""The connection ends before the request was taken in; never carried out."""

SENT = (
    "fin_after_request",
    "rst_after_request",
    "read_timeout",
    "header_stall",
    "header_drip",
    "partial_status_line",
    "body_stall",
    "short_body",
    "chunked_cut",
    "bad_gzip",
    "gzip_bomb",
    "oversize_body",
)
"""The request was read; the answer is missing, late, cut or unreadable."""

SILENT = frozenset(
    (*ACCEPT, "fin_after_request", "rst_after_request", "read_timeout", "partial_status_line")
)
"""Those after which the client has not even a status."""

SPOILT_ON_THE_WAY = frozenset((*ACCEPT, *SENT)) - {"bad_gzip", "gzip_bomb", "oversize_body"}
"""Those that end the connection; the others are whole answers with a body nobody wants."""

ANSWERS = (
    "html_200",
    "empty_200_where_body_due",
    "json_not_object",
    "json_other_invoice",
    "json_status_still_open",
    "unknown_2xx",
    "302",
    "307",
    "400",
    "401_once",
    "401_forever",
    "403",
    "404",
    "408",
    "409",
    "422",
    "429_then_ok",
    "429_forever",
    "500_json",
    "500_html",
    "502",
    "503",
    "504",
)
"""A whole answer, but not the one the request deserved."""

TEOS = (
    "teos_confirmed_but_open",
    "teos_revoked_by_user",
    "teos_revoked_by_tx_server",
    "teos_revoked_by_blockchain",
    "teos_never_signed",
    "teos_no_id",
)
"""Asynchronous ends of a TEOS cancel; the answer itself is a normal 2xx."""

QUIET = ("none", "slow", "stale_once")
"""No fault of the answer: a hook for ``world``, a delay, a read of the state before."""

# The faults of TLS are no answers but listeners: ``certificates.LISTENERS``.

NAMES = frozenset((*ACCEPT, *SENT, *ANSWERS, *TEOS, *QUIET))
KINDS = frozenset(("token", "cancel", "fetch", "list", "other", "any"))
APPLIED = frozenset(("before", "after", "later"))


class UnknownFaultError(ValueError):
    """A fault that does not exist or that contradicts itself."""


@dataclass(slots=True)
class Fault:
    """One thing to go wrong, for calls that match account, invoice and kind.

    ``applied``: "before" the provider acted (not carried out), "after" it did,
    or "later", ``delay`` seconds after the request was read. ``times`` None means
    for ever. ``world`` is a change made to the invoices concerned when the fault
    fires ("pay", "cancel_elsewhere", ...), before or after the answer is made.
    """

    name: str
    account: str | None = None
    external_id: str | None = None
    kind: str = "cancel"
    times: int | None = 1
    applied: str = "before"
    delay: float = 1.0
    hold: float = 120.0
    """How long a stalled connection is kept before the sandbox gives it up."""
    retry_after: str | None = None
    """Retry-After of a 429 or 503: seconds or an HTTP date."""
    once_seen: str | None = None
    """Strikes only after a call of this kind about the same invoice has arrived: "cancel" for a
    read that fails when it looks for what the cancel did, and not before."""
    world: str | None = None
    world_when: str = "before"
    fired: int = 0

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise UnknownFaultError(f"there is no fault {self.name!r}")
        if self.kind not in KINDS:
            raise UnknownFaultError(f"kind is one of {sorted(KINDS)}, not {self.kind!r}")
        if self.once_seen is not None and self.once_seen not in KINDS:
            raise UnknownFaultError(f"once_seen is one of {sorted(KINDS)}, not {self.once_seen!r}")
        if self.applied not in APPLIED:
            raise UnknownFaultError(f"applied is one of {sorted(APPLIED)}, not {self.applied!r}")
        if self.name in ACCEPT and self.applied != "before":
            raise UnknownFaultError(f"{self.name} cannot be applied {self.applied!r}")

    @property
    def spent(self) -> bool:
        """Whether it has fired as often as asked."""
        return self.times is not None and self.fired >= self.times

    @property
    def blind(self) -> bool:
        """Whether it strikes connections of whichever account, as they are accepted."""
        return self.name in ("fin_at_accept", "rst_at_accept") and self.account is None

    def matches(self, account: str | None, kind: str, ids: Iterable[str]) -> bool:
        """Whether a call of this account and kind, concerning these invoices, is struck."""
        return (
            not self.spent
            and self.account in (None, account)
            and self.kind in ("any", kind)
            and (self.external_id is None or self.external_id in ids)
        )

    def as_dict(self) -> dict[str, Any]:
        """The fault as JSON-able values."""
        return dataclasses.asdict(self)


def default_times(name: str) -> int | None:
    """How often a fault strikes unless told: once, or without end where its name says so."""
    return None if name.endswith("_forever") else 1


class Faults:
    """The faults asked for, in the order asked; the first match fires."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._faults: list[Fault] = []
        self._by_invoice: dict[str | None, list[int]] = {}
        """Places in the list by the invoice struck, None for any: thousands may be armed."""
        self._seen: set[tuple[str | None, str, str]] = set()

    def add(self, fault: Fault) -> None:
        """Arms a fault."""
        with self._lock:
            self._by_invoice.setdefault(fault.external_id, []).append(len(self._faults))
            self._faults.append(fault)

    def take(self, account: str | None, kind: str, ids: Iterable[str]) -> Fault | None:
        """The fault that strikes this call, counted as fired; None mostly."""
        if not self._faults:
            return None
        with self._lock:
            named = list(ids)
            candidates = (
                fault
                for fault in self._about(named)
                if not fault.blind
                and fault.matches(account, kind, named)
                and self._is_awaited(fault, account, named)
            )
            struck = self._fire(candidates)
            self._seen.update((account, kind, identity) for identity in named)
            return struck

    def take_at_accept(self) -> Fault | None:
        """The fault that strikes a connection before anything is read from it."""
        if not self._faults:
            return None
        with self._lock:
            return self._fire(f for f in self._about([]) if f.blind and not f.spent)

    def all(self) -> list[Fault]:
        """Every fault asked for, spent ones too."""
        return list(self._faults)

    def clear(self) -> None:
        """Disarms everything."""
        with self._lock:
            self._faults.clear()
            self._by_invoice.clear()
            self._seen.clear()

    def _about(self, ids: Iterable[str]) -> Iterator[Fault]:
        """The faults of these invoices and of any, in the order asked."""
        places = {place for key in (*ids, None) for place in self._by_invoice.get(key, ())}
        return (self._faults[place] for place in sorted(places))

    def _is_awaited(self, fault: Fault, account: str | None, ids: Iterable[str]) -> bool:
        """Whether the call that a fault waits for has come."""
        if fault.once_seen is None:
            return True
        concerned = ids if fault.external_id is None else (fault.external_id,)
        return any((account, fault.once_seen, identity) in self._seen for identity in concerned)

    @staticmethod
    def _fire(candidates: Iterable[Fault]) -> Fault | None:
        fault = next(iter(candidates), None)
        if fault:
            fault.fired += 1
        return fault
