"""What the five dialects have in common: routes, a call, the order of checks.

A dialect says which account a request belongs to and what it concerns
(``identify``), then answers it. It never changes an invoice itself: a cancel is
put on ``Call.cancels`` and carried out by the application, so that a fault can
have it happen before, after, later or not at all.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from providers.sandbox.faults import Fault
from providers.sandbox.switches import Switches
from providers.sandbox.wire import Request, Response, unquoted
from providers.sandbox.world import OUTSIDE, Account, Invoice, World, utc_now

Handler = TypeVar("Handler", bound=Callable[..., Response])


@dataclass(frozen=True, slots=True)
class Route:
    """One documented operation."""

    method: str
    pattern: re.Pattern[str]
    kind: str
    handler: str
    needs_auth: bool


def route(
    method: str, path: str, kind: str = "other", *, auth: bool = True
) -> Callable[[Handler], Handler]:
    """Marks a method as the answer to ``method`` on ``path`` below the dialect's prefix."""

    def mark(handler: Handler) -> Handler:
        made = Route(method, re.compile(path), kind, handler.__name__, auth)
        handler.__dict__.setdefault("routes", []).append(made)
        return handler

    return mark


@dataclass(slots=True)
class Call:
    """One request as a dialect understood it."""

    request: Request
    provider: str
    trace: str
    """The provider's correlation id of this call."""
    path: str
    route: Route | None = None
    params: dict[str, str] = field(default_factory=dict)
    account: Account | None = None
    kind: str = "other"
    ids: list[str] = field(default_factory=list)
    fault: Fault | None = None
    allowed_methods: list[str] = field(default_factory=list)
    is_open: bool = False
    """Whether the path belongs to an operation that takes no token."""
    cancels: list[Invoice] = field(default_factory=list)
    """The invoices the provider undertakes to cancel by this answer."""
    effects: list[Callable[[], None]] = field(default_factory=list)
    """Other lasting changes that belong to the answer."""
    throttled: bool = False

    @property
    def owner(self) -> Account:
        """The account, where authentication has established one."""
        if self.account is None:
            raise LookupError("the call has no account")
        return self.account


class Dialect:
    """Base of the five. Subclasses carry the documented routes as methods."""

    code: ClassVar[str]
    prefix: ClassVar[str]
    words: ClassVar[dict[str, str]]
    """Neutral status to the provider's word; the keys are understood by the control API."""
    closed_share: ClassVar[tuple[str, ...]]
    """Neutral statuses of the seeded invoices that are not open."""
    open_share: ClassVar[tuple[str, ...]] = ("open",)
    id_kind: ClassVar[str]
    """paypal, number or uuid. Accounts with the same kind share their ids, on purpose: so a
    cancel that reaches the wrong account is seen."""
    base_path: ClassVar[str]
    """What follows the sandbox's origin in the base URL of an account."""
    accounts: ClassVar[dict[str, dict[str, str]]]
    """The accounts every sandbox starts with: name to made-up credentials."""
    routes: ClassVar[list[Route]]

    def __init_subclass__(cls) -> None:
        """Collects the marked methods."""
        members = (getattr(cls, name) for name in dir(cls))
        cls.routes = [r for m in members for r in getattr(m, "__dict__", {}).get("routes", [])]

    def __init__(self, world: World) -> None:
        self.world = world
        self._traces = random.Random(self.code)  # noqa: S311 - correlation ids, not secrets

    @property
    def switches(self) -> Switches:
        """The world's switches."""
        return self.world.switches

    # -- understanding a request ------------------------------------------------

    def identify(self, request: Request) -> Call:
        """The call a request makes, before any of its credentials are checked."""
        path = _readable(request.path[len(self.prefix) :])
        call = Call(request, self.code, self.new_trace(), path)
        self._find_route(call)
        call.account = self.account_of(call)
        call.ids = self.ids_of(call)
        call.kind = self.kind_of(call)
        return call

    def _find_route(self, call: Call) -> None:
        for candidate in self.routes:
            match = candidate.pattern.fullmatch(call.path)
            if match is None:
                continue
            call.allowed_methods.append(candidate.method)
            call.is_open = call.is_open or not candidate.needs_auth
            if candidate.method == call.request.method:
                call.route = candidate
                found = match.groupdict("").items()
                call.params = {name: unquoted(text) for name, text in found}
                return

    def ids_of(self, call: Call) -> list[str]:
        """The external ids a call names; by default the one in its path."""
        return [call.params["id"]] if "id" in call.params else []

    def kind_of(self, call: Call) -> str:
        """token, cancel, fetch, list or other."""
        return call.route.kind if call.route else "other"

    def account_of(self, call: Call) -> Account | None:
        """The account whose credentials the request carries, valid or not."""
        raise NotImplementedError

    # -- answering it -------------------------------------------------------------

    def answer(self, call: Call) -> Response:
        """What the provider answers when nothing goes wrong on the way."""
        refusal = self._refusal(call)
        if refusal is not None or call.route is None:
            return refusal or self.no_route(call)
        handler: Callable[[Call], Response] = getattr(self, call.route.handler)
        return handler(call)

    def _refusal(self, call: Call) -> Response | None:
        needs_auth = call.route.needs_auth if call.route else not call.is_open
        refusal = self.authenticate(call) if needs_auth else None
        return refusal or self._throttle(call) or (self.precheck(call) if needs_auth else None)

    def _throttle(self, call: Call) -> Response | None:
        limit = call.account.limit if call.account else None
        if limit is None or limit.take():
            return None
        call.throttled = True
        return self.problem(call, 429)

    def authenticate(self, call: Call) -> Response | None:
        """The refusal of a request whose credentials are not good, else None."""
        raise NotImplementedError

    def precheck(self, call: Call) -> Response | None:
        """The refusal of a request for what concerns every operation, else None."""
        return None

    def no_route(self, call: Call) -> Response:
        """The answer to a path or method that is not documented."""
        return self.problem(call, 405 if call.allowed_methods else 404)

    def problem(self, call: Call, status: int) -> Response:
        """The documented error body of a status, as general as it can be."""
        raise NotImplementedError

    def one(self, call: Call, invoice: Invoice) -> Response:
        """A 200 that shows one invoice."""
        raise NotImplementedError

    def finish(self, call: Call, response: Response) -> None:
        """Adds the headers every answer of the provider carries."""

    def new_trace(self) -> str:
        """A correlation id."""
        return f"{self._traces.getrandbits(52):013x}"

    # -- the world as this provider knows it ------------------------------------------

    def view(self, call: Call, invoice: Invoice) -> Invoice:
        """The state of an invoice this read shows: the present one, mostly."""
        fault = call.fault
        stale = fault and fault.name == "stale_once" and fault.external_id in (None, invoice.id)
        return invoice.previous if stale and invoice.previous else invoice

    def as_cancelled(self, invoice: Invoice, by: int = OUTSIDE) -> None:
        """Turns an invoice into a cancelled one."""
        invoice.remember()
        invoice.status = self.words["cancelled"]
        invoice.cancelled = utc_now()
        invoice.cancelled_by.append(by)

    def cancellation_delay(self) -> float:
        """Seconds from the answer to a cancel until it takes effect."""
        return 0.0

    def may_take_effect(self, invoice: Invoice) -> bool:
        """Whether a cancel accepted earlier still takes effect on what the invoice is now."""
        final = {self.words[word] for word in ("paid", "partially_paid") if word in self.words}
        return invoice.status not in final

    def status_set(self, invoice: Invoice, status: str) -> None:
        """Adjusts what goes with a status that was set from outside."""

    def number_for(self, account: Account, external_id: str, suggested: str) -> str | None:
        """The number of a new invoice that was not given one."""
        return suggested

    def complete(self, account: Account, invoice: Invoice, rng: random.Random) -> None:
        """Fills in what only this provider knows of a new invoice."""

    def prepare(self, account: Account) -> None:
        """Sets up what an account has beside invoices."""

    def beside(self, account: Account) -> tuple[str, ...]:
        """Neutral statuses of documents that are no invoices but turn up in lists."""
        return ()


def _readable(path: str) -> str:
    """Undoes the percent-encoding of what OData puts into paths; nothing else."""
    return path.replace("%28", "(").replace("%29", ")").replace("%27", "'")


def decimal_text(amount: int, exponent: int) -> str:
    """Minor units as the decimal text people write: 124000, 2 -> "1240.00"."""
    sign, digits = ("-", str(-amount)) if amount < 0 else ("", str(amount))
    if exponent == 0:
        return sign + digits
    digits = digits.zfill(exponent + 1)
    return f"{sign}{digits[:-exponent]}.{digits[-exponent:]}"


def bearer(request: Request) -> str | None:
    """The token of an Authorization: Bearer header."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token else None


def page(rows: list[Any], start: int, count: int) -> list[Any]:
    """``count`` rows from ``start``."""
    return rows[start : start + count]
