"""How each case must end, by the rules of the project and without a look at its code.

The rules, as they were agreed on before the engine was written:

- Nothing is sent again unless a read, taken when the last request can no longer take effect, shows
  the invoice open. So a lost answer costs at most one more cancel here, as the fault strikes once.
- Found cancelled: it was *already* cancelled only if no request of ours can have done it. Once an
  answer was lost, it is *cancelled*, on the evidence of reading it back.
- An explicit no is a refusal if its reason is given in words that can be relied on; otherwise the
  invoice is read, and its status decides.
- A no counts although it may be a lie, until the provider shows the invoice cancelled after all:
  whoever did it, a person has to look then.
- What reading cannot decide is left to a person.
- `failed`, `withdrawn`, `skipped` and `refused` mean that we did not do it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from providers.sandbox import faults
from tests.faults.cases import (
    ALERT,
    BETWEEN,
    HELD_BACK,
    LOST,
    ONCE,
    REDIRECTS,
    REFUSED,
    SEEN,
    UNSENT,
    Case,
)


@dataclass(frozen=True)
class End:
    """What the attempt reads in the end."""

    state: str
    code: str = ""
    evidence: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.state, self.code, self.evidence) if part)


@dataclass(frozen=True)
class Expected:
    """The ends that are right, and how many cancels must and may reach the provider."""

    ends: frozenset[End]
    least: int
    most: int


BY_ANSWER = End("cancelled", evidence="answer")
BY_READING = End("cancelled", evidence="read_back")
ALREADY = End("already_cancelled")
PAID = End("refused", "paid")
INVALID = End("refused", "invalid")
UNDECIDED = End("needs_review", "undecided")
NEVER_CONFIRMED = End("needs_review", "never_confirmed")
WITHDRAWN = End("withdrawn", "stopped")
CONTRADICTED = End("needs_review", "contradicted")
UNREADABLE = End("failed", "unreadable")

NOT_CONNECTED = {"dns": "dns", "refused": "unreachable", "connect_timeout": "unreachable"}
NEVER_CARRIED_OUT = tuple(name for name in faults.TEOS if name != "teos_no_id")
TAKEN_BY_TEOS = (
    *("empty_200_where_body_due", "json_not_object", "json_other_invoice"),
    *("json_status_still_open", "unknown_2xx"),
)
"""TEOS's yes to a cancel proves nothing, whatever is in it; only a page is no answer of TEOS's."""


def expected(case: Case) -> Expected:
    """The row's right-hand side."""
    if case.fault in SEEN:
        return _seen(case)
    if case.fault in BETWEEN:
        return _between(case)
    if case.fault.removesuffix(ONCE) in (*UNSENT, ALERT, *HELD_BACK):
        return _connection(case)
    if case.fault in (*faults.ACCEPT, *LOST, *REDIRECTS):
        taken = case.provider == "teos" and case.fault in TAKEN_BY_TEOS
        return _taken(case, 1) if taken else _lost(case, 1)
    if case.fault in REFUSED:
        return _refused(case)
    if case.fault.startswith("401"):
        return _unknown_to_them(case)
    if case.fault.startswith("429"):
        return _too_many(case)
    return _taken(case, 1) if case.fault in faults.TEOS else _answered(case, 1)


def _exactly(cancels: int, *ends: End) -> Expected:
    return Expected(frozenset(ends), cancels, cancels)


# --- what can be known after a call ---------------------------------------------------------------


def _truth(case: Case) -> str:
    """The invoice after the call that the fault struck: open, paid, or cancelled by whom."""
    if case.world in ("paid", "cancelled_elsewhere"):
        return case.world
    if case.fault in ("none", "slow", "teos_no_id"):
        return "cancelled_by_us"
    return "open" if case.applied == "before" else "cancelled_by_us"


def _lost(case: Case, cancels: int) -> Expected:
    """The answer told nothing: read, and only once that proves it undone, send again."""
    if case.read == "always_fails":
        return _exactly(cancels, UNDECIDED)
    truth = _truth(case)
    if truth != "open":
        return _exactly(cancels, PAID if truth == "paid" else BY_READING)
    if case.world == "stopped":
        return _exactly(cancels, WITHDRAWN)
    return _answered(replace(case, fault="none"), cancels + 1)


def _answered(case: Case, cancels: int) -> Expected:
    """The provider's own answer to a cancel came through."""
    if case.provider == "teos":
        return _taken(replace(case, fault="none"), cancels)
    if case.world not in ("paid", "cancelled_elsewhere"):
        return _exactly(cancels, BY_ANSWER)
    if case.provider == "paypal":  # The only one whose refusals say why.
        return _exactly(cancels, PAID if case.world == "paid" else ALREADY)
    return _no_without_reason(case, cancels)


def _no_without_reason(case: Case, cancels: int) -> Expected:
    """Refused, and the words do not tell why: the invoice's status does."""
    if case.read == "always_fails":
        return _exactly(cancels, UNDECIDED)
    status = {"paid": PAID, "cancelled_elsewhere": ALREADY}.get(case.world, INVALID)
    # The no was explicit, so one read is enough; one that lags behind shows what was before.
    lagging = CONTRADICTED if case.world == "cancelled_elsewhere" else INVALID
    return _exactly(cancels, status, *((lagging,) if case.read == "stale_once" else ()))


def _taken(case: Case, cancels: int) -> Expected:
    """TEOS has taken it; from now on it is only read."""
    truth = "open" if case.fault in NEVER_CARRIED_OUT else _truth(case)
    if case.world in ("paid", "cancelled_elsewhere"):
        truth = case.world
    if truth == "open" or case.read == "always_fails":
        return _exactly(cancels, NEVER_CONFIRMED)
    return _exactly(cancels, PAID if truth == "paid" else BY_READING)


# --- the answers that turn us away ----------------------------------------------------------------


def _refused(case: Case) -> Expected:
    if case.wide:  # A no to several is no no to each: as if nothing had been said.
        return _lost(case, 1)
    if case.fault == "403":
        return _exactly(1, _said_no(case, "forbidden"))
    if case.fault == "404" and case.provider != "teos":
        return _exactly(1, _said_no(case, "not_found"))
    return _no_without_reason(case, 1)


def _said_no(case: Case, code: str) -> End:
    """The provider's word, and what later looks at the invoice make of it."""
    cancelled = _truth(case) in ("cancelled_by_us", "cancelled_elsewhere")
    return CONTRADICTED if cancelled and case.read != "always_fails" else End("refused", code)


def _unknown_to_them(case: Case) -> Expected:
    """401: once more with a fresh token or signature, then a person has to look."""
    if case.fault == "401_forever":
        cancels = 2 if case.renews else 1
        if case.world == "stopped":
            return Expected(frozenset({WITHDRAWN}), 1, cancels)
        return _exactly(cancels, End("queued", "credentials"))
    if not case.renews:
        return _queued_again(case, 1)
    again = _answered(case, 2)
    if case.world == "stopped":
        return Expected(again.ends | {WITHDRAWN}, 1, 2)
    return again


def _too_many(case: Case) -> Expected:
    """429: not carried out, so again after a rest, three times in all."""
    if case.fault == "429_then_ok":
        return _queued_again(case, 1)
    used_up = _exactly(3, End("failed", "rate_limited"))
    before_next = _before_next(case, 1)
    if before_next is None and case.reads_first and case.read == "stale_once":
        # The second read is as it should be.
        before_next = _before_next(replace(case, read="works"), 2)
    return before_next or used_up


def _queued_again(case: Case, cancels: int) -> Expected:
    return _before_next(case, cancels) or _answered(case, cancels + 1)


def _before_next(case: Case, cancels: int) -> Expected | None:
    """What the read before the next cancel finds; None: nothing speaks against sending it."""
    if case.world == "stopped":
        return _exactly(cancels, WITHDRAWN)
    if not case.reads_first:
        return None
    if case.read == "always_fails":
        return _exactly(cancels, UNREADABLE)
    if case.read == "stale_once":
        return None
    found = {"paid": End("skipped", "paid"), "cancelled_elsewhere": ALREADY}.get(case.world)
    return _exactly(cancels, found) if found else None


# --- no connection, and our own reasons -----------------------------------------------------------


def _connection(case: Case) -> Expected:
    name = case.fault.removesuffix(ONCE)
    if name in HELD_BACK or case.fault.endswith(ONCE):
        if name == ALERT and case.provider == "visa_acceptance":
            return _after_alert(case)
        return _queued_again(case, 0)
    return _exactly(0, _never_connected(case, name))


def _never_connected(case: Case, name: str) -> End:
    if name != ALERT:
        return End("failed", NOT_CONNECTED.get(name, "tls"))
    if case.provider == "visa_acceptance":  # Neither signs in nor reads first: a cancel in doubt.
        return UNDECIDED
    return UNREADABLE if case.provider in ("kantata", "teos") else End("failed", "no_token")


def _after_alert(case: Case) -> Expected:
    """Bytes of the cancel left. It never arrived, but only a read may say so."""
    found = {"paid": PAID, "cancelled_elsewhere": BY_READING}.get(case.world)
    return _exactly(0, found) if found else _exactly(1, BY_ANSWER)


# --- the invoice itself ---------------------------------------------------------------------------

_UNSEEN: dict[str, Callable[[Case], Case]] = {
    "seen_paid": lambda case: replace(case, world="paid"),
    "seen_cancelled": lambda case: replace(case, world="cancelled_elsewhere"),
    "seen_amount_changed": lambda case: case,
}


def _seen(case: Case) -> Expected:
    """Shown by the read before the cancel. The fault of reading strikes that very read."""
    if case.read == "always_fails":
        return _exactly(0, UNREADABLE)
    if case.fault == "seen_vanished":
        return _exactly(0, End("refused", "not_found"))
    if case.read == "stale_once":
        return _unseen(case)
    if case.fault == "seen_cancelled":
        return _exactly(0, ALREADY)
    return _exactly(0, End("skipped", case.fault.removeprefix("seen_")))


def _unseen(case: Case) -> Expected:
    """The read was stale and showed nothing of it: the cancel is sent, and the provider decides."""
    if case.fault == "seen_draft":
        # Visa cancels drafts; elsewhere it is refused, or found a draft.
        end = BY_ANSWER if case.provider == "visa_acceptance" else End("refused", "draft")
        return _exactly(1, end)
    honest = replace(_UNSEEN[case.fault](case), fault="none", read="works")
    return _answered(honest, 1)


def _between(case: Case) -> Expected:
    if case.fault != "then_vanished":
        world = "paid" if case.fault == "then_paid" else "cancelled_elsewhere"
        return _answered(replace(case, fault="none", world=world), 1)
    if case.provider != "teos":
        return _exactly(1, End("refused", "not_found"))
    unread = case.read == "always_fails"
    return _exactly(1, NEVER_CONFIRMED if unread else End("needs_review", "vanished"))
