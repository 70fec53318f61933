"""What every adapter is: a stateless translator between our words and one provider's API.

An adapter knows no database and no Django. It is given a `Client` (which records every request)
and the account's credentials and settings, and speaks in references: the provider's own ids.
"""

import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, ClassVar
from urllib.parse import quote

from providers.errors import (
    CredentialsRejected,
    NotSent,
    OutcomeUnknown,
    ProviderError,
    ReadToDecide,
    Refused,
    TryLater,
)
from providers.exchange import Answer
from providers.http import Client


class Status(StrEnum):
    """An invoice's status in our words. Overdue is no status: it follows from the due date."""

    DRAFT = "draft"
    SCHEDULED = "scheduled"
    OPEN = "open"
    PARTIALLY_PAID = "partially_paid"
    PAYMENT_PENDING = "payment_pending"
    PAID = "paid"
    REFUNDED = "refunded"
    WRITTEN_OFF = "written_off"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CredentialField:
    """One part of an account's credentials; a secret one is never shown again."""

    name: str
    label: str
    secret: bool
    help: str


@dataclass(frozen=True, slots=True)
class SettingField:
    """One setting of an account that is no secret, with its choices (value -> label)."""

    name: str
    label: str
    default: str
    help: str
    choices: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Option:
    """A yes or no that the operator may choose for a batch, e.g. whether the customer is told."""

    name: str
    label: str
    help: str
    default: bool = False


@dataclass(frozen=True, slots=True)
class RemoteInvoice:
    """An invoice as the provider states it now, in our words. `raw` is what it said itself.

    `credited`: it reads `paid`, and not because all of it was paid; a cancellation may do that.
    """

    reference: str
    number: str
    customer_name: str
    customer_email: str
    currency: str
    exponent: int
    amount_minor: int | None
    balance_minor: int | None
    status: Status
    provider_status: str
    issued_on: date | None
    due_on: date | None
    raw: Mapping[str, Any]
    credited: bool = False


@dataclass(frozen=True, slots=True)
class CancelAnswer:
    """What a provider answered for one reference, short of an error.

    `confirmed` False: taken, but only reading the invoice will tell (TEOS). `proven` True: the
    answer itself showed the invoice as cancelled; otherwise it is read again later.
    """

    confirmed: bool
    proven: bool
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a read: invoices by reference, and the references that are not there.

    `unreadable` holds references that the provider answered for in a way we do not understand.
    """

    invoices: Mapping[str, RemoteInvoice]
    missing: frozenset[str] = frozenset()
    unreadable: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Page:
    """Some of all invoices. `unreadable` counts entries that made no sense."""

    invoices: Sequence[RemoteInvoice]
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The credentials are good. `facts` are what else was learned, e.g. an entity's setting."""

    summary: str
    facts: Mapping[str, str] = field(default_factory=dict)


class Adapter(ABC):
    """One provider. Subclasses state facts as class attributes and translate four verbs."""

    code: ClassVar[str]
    label: ClassVar[str]
    environments: ClassVar[Mapping[str, str]]
    """Environment -> base URL: the provider's known hosts."""
    credential_fields: ClassVar[tuple[CredentialField, ...]]
    setting_fields: ClassVar[tuple[SettingField, ...]] = ()
    options: ClassVar[tuple[Option, ...]] = ()
    reference_pattern: ClassVar[re.Pattern[str]]
    statuses: ClassVar[Mapping[str, Status]]
    cancellable: ClassVar[frozenset[Status]] = frozenset({Status.OPEN})
    cancel_limit: ClassVar[int] = 1
    fetch_limit: ClassVar[int] = 1
    settle: ClassVar[float] = 120.0
    """How long a request may still take effect after we gave up on it; seconds."""
    read_lag: ClassVar[float] = 0.0
    """How far behind the truth a read may be; seconds."""
    rate_per_second: ClassVar[float] = 5.0
    total_seconds: ClassVar[float] = 30.0

    def __init__(
        self, client: Client, credentials: Mapping[str, str], settings: Mapping[str, str]
    ) -> None:
        self.client = client
        self.credentials = credentials
        self.settings = {one.name: one.default for one in self.setting_fields} | dict(settings)

    @abstractmethod
    def cancel(
        self, references: Sequence[str], options: Mapping[str, bool]
    ) -> Mapping[str, CancelAnswer]:
        """Cancel at most `cancel_limit` invoices by one request. Raises any `ProviderError`."""

    @abstractmethod
    def fetch(self, references: Sequence[str]) -> Found:
        """Read at most `fetch_limit` invoices as the provider sees them now; changes nothing."""

    @abstractmethod
    def list(self, updated_since: datetime | None = None) -> Iterator[Page]:
        """All invoices, page by page; where the provider can, only those updated since."""

    @abstractmethod
    def check(self) -> CheckResult:
        """Are the credentials good? Without side effects."""

    @classmethod
    @abstractmethod
    def consequences(cls, facts: Mapping[str, str], options: Mapping[str, bool]) -> tuple[str, ...]:
        """What the operator must know before confirming, as plain sentences."""

    @classmethod
    def accepts(cls, reference: str) -> bool:
        """Whether a reference has the provider's form; anything else never gets near a URL."""
        return cls.reference_pattern.fullmatch(reference) is not None

    @classmethod
    def status_of(cls, word: str) -> Status:
        """Our word for the provider's; one that we do not know is `unknown`, never a crash."""
        return cls.statuses.get(word, Status.UNKNOWN)

    def segment(self, reference: str) -> str:
        """A checked and quoted path segment. Raises `NotSent` for a malformed reference."""
        if not self.accepts(reference):
            raise NotSent("bad_reference", "The invoice's id does not have the provider's form.")
        return quote(reference, safe="")


def judge(answer: Answer, *, provider_code: str = "", message: str = "") -> None:
    """Raise what a status other than 2xx means for every provider; return for 2xx.

    Only a no that the provider itself put in words counts as a no: a 403 or 404 page made by some
    gateway in between proves nothing about the invoice.
    """
    status, own_words = answer.status, bool(answer.object())
    text = message[:300] or f"HTTP {status}"
    theirs = provider_code[:100]
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise OutcomeUnknown(
            "redirect",
            "The provider redirected the call elsewhere; redirects are never followed.",
            status=status,
            pause_account=True,
        )
    if status == 401:
        raise CredentialsRejected(f"The provider rejected the credentials: {text}", status=status)
    if status == 429:
        raise TryLater(
            "The provider asks for fewer calls.", retry_after=answer.retry_after, status=status
        )
    if status == 403 and own_words:
        raise Refused("forbidden", text, provider_code=theirs, status=status, pause_account=True)
    if status == 404 and own_words:
        raise Refused("not_found", text, provider_code=theirs, status=status)
    if status == 408 or status >= 500:
        raise OutcomeUnknown(
            "server_error", f"The provider failed: {text}", provider_code=theirs, status=status
        )
    if not own_words:
        raise OutcomeUnknown(
            "unexpected_answer",
            f"Nothing says that the provider itself answered: {text}",
            provider_code=theirs,
            status=status,
        )
    raise ReadToDecide("decide_by_reading", text, provider_code=theirs, status=status)


def judge_read(answer: Answer, *, provider_code: str = "", message: str = "") -> None:
    """`judge` for a read: a no to a read says nothing about any cancellation.

    Raises `CredentialsRejected`, `TryLater` or `OutcomeUnknown` (`read_failed` for what would
    have been a refusal). A 404 that means "not there" is the caller's to tell apart before.
    """
    try:
        judge(answer, provider_code=provider_code, message=message)
    except (Refused, ReadToDecide) as no:
        raise OutcomeUnknown(
            "read_failed",
            f"The invoice could not be read: {no.message}",
            provider_code=no.provider_code,
            status=no.status,
            pause_account=no.pause_account,
        ) from None


def unexpected(message: str, status: int | None = None) -> OutcomeUnknown:
    """A success that does not say what a success says: neither yes nor no."""
    return OutcomeUnknown("unexpected_answer", message, status=status)


TokenSource = Callable[[], tuple[str, float]]
"""Fetches a token: returns it with its life in seconds. Raises any `ProviderError`."""


class TokenCache:
    """A bearer token until shortly before its expiry. Threads wait for one renewal.

    Whoever waited while a renewal failed gets its error too, instead of trying in turn: with a
    sign-in that hangs, the last of many threads would otherwise wait for all the others.
    """

    MARGIN_SECONDS = 60.0

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._token = ""
        self._good_until = 0.0
        self._failure: ProviderError | None = None
        self._failed_at = 0.0

    def get(self, renew: TokenSource) -> str:
        """The cached token, or a new one."""
        asked = time.monotonic()
        with self._lock:
            if self._failure is not None and asked <= self._failed_at:
                raise self._failure
            if time.monotonic() >= self._good_until:
                lifetime = self._renewed(renew)
                margin = min(self.MARGIN_SECONDS, lifetime / 2)
                self._good_until = time.monotonic() + lifetime - margin
            return self._token

    def _renewed(self, renew: TokenSource) -> float:
        self._failure = None
        try:
            self._token, lifetime = renew()
        except ProviderError as error:
            self._failure, self._failed_at = error, time.monotonic()
            raise
        return lifetime

    def drop(self, token: str) -> None:
        """Forget this token after a 401; a newer one that another thread got stays."""
        with self._lock:
            if self._token == token:
                self._good_until = 0.0


def twice_on_401(send: Callable[[], Answer], before_second: Callable[[], None]) -> Answer:
    """Send, and after a 401 once more with what `before_second` renewed. A 401 changes nothing."""
    answer = send()
    if answer.status == 401:
        before_second()
        answer = send()
    return answer


def text(value: object, limit: int = 300) -> str:
    """A provider's text as we may store it: no NUL, no lone surrogate, bounded; "" for none."""
    if value is None or isinstance(value, dict | list | bool):
        return ""
    clean = str(value).encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")
    return " ".join(clean.split())[:limit]


def day(value: object) -> date | None:
    """A date by its ISO text, with or without time; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        return date.fromisoformat(value[:10])
    except ValueError:
        return None


def at(mapping: object, *path: str | int) -> Any:
    """The value at a path into parsed JSON, or None where any step is missing."""
    for step in path:
        holds = isinstance(mapping, dict | list)
        try:
            mapping = mapping[step] if holds else None  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            return None
    return mapping


def utc_text(moment: datetime) -> str:
    """A moment as `2026-11-20T09:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
