"""Every combination of a fault, what truly happened, the world meanwhile, and the read-back."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from providers.sandbox import faults

PROVIDERS = ("paypal", "visa_acceptance", "monite", "kantata", "teos")

# --- faults ---------------------------------------------------------------------------------------

UNSENT = ("dns", "refused", "connect_timeout", "tls_untrusted", "tls_wrong_host", "tls_expired")
"""No connection comes about, so provably nothing was sent."""
ALERT = "tls_alert_after_send"
HELD_BACK = ("breaker_open", "rate_wait", "deadline_passed")
"""Our own reasons for not sending yet."""
ONCE = "_once"
"""After the first failure the connection is good: `dns_once`."""

LOST = (
    *faults.SENT,
    *("html_200", "empty_200_where_body_due", "json_not_object", "json_other_invoice"),
    *("json_status_still_open", "unknown_2xx"),
    *("408", "500_json", "500_html", "502", "503", "504"),
)
"""The request arrived; what it did cannot be told from what came back."""
REDIRECTS = ("302", "307")
REFUSED = ("400", "403", "404", "409", "422")
WITHOUT_REASON = ("400", "404", "409", "422")
"""As TEOS says no: nothing in it tells which invoice of several is meant, if any."""
TURNED_AWAY = ("401_once", "401_forever", "429_then_ok", "429_forever")
NONE = ("none", "slow")

SEEN = {
    "seen_paid": "pay",
    "seen_draft": "draft",
    "seen_amount_changed": "change_amount",
    "seen_cancelled": "cancel_elsewhere",
    "seen_vanished": "delete",
}
"""The invoice changed after the preview, so that the read before the cancel shows it."""
BETWEEN = {
    "then_paid": "pay",
    "then_cancelled": "cancel_elsewhere",
    "then_vanished": "delete",
}
"""It changes right after that read."""

# --- the other dimensions -------------------------------------------------------------------------

APPLIED = ("before", "after", "later")
"""The fault came before the provider acted (it never did), after it, or it acts later still."""
WORLDS = ("nothing", "paid", "cancelled_elsewhere", "stopped")
READS = ("works", "fails_three", "stale_once", "always_fails")


@dataclass(frozen=True, order=True)
class Case:
    """One row of the table."""

    provider: str
    fault: str
    applied: str
    world: str
    read: str
    wide: bool = False
    """Several invoices share each call, and so the fault."""

    def __str__(self) -> str:
        words = [self.provider, self.fault, self.applied, self.world, self.read]
        return "/".join([*words, *(["wide"] if self.wide else [])])

    @property
    def reads_first(self) -> bool:
        """Whether the invoice is read before each cancel.

        Where one read covers many always; else where our copy is old, as it is in these cases.
        """
        return self.provider in ("monite", "kantata", "teos") or self.fault in (*SEEN, *BETWEEN)

    @property
    def may_go_unpaused(self) -> bool:
        """A first 401 is answered by a new token: if the batch was stopped by then, by nothing."""
        return self.fault == "401_forever" and self.renews and self.world == "stopped"

    @property
    def pauses(self) -> str:
        """The code under which the account is paused for a person to look; "" for none."""
        if self.fault in REDIRECTS:
            return "redirect"
        if self.fault == "403":
            return "forbidden"
        if self.fault == "401_forever" or (self.fault == "401_once" and not self.renews):
            return "credentials"
        if (self.provider, self.fault) == ("teos", "404"):
            return "bad_address"
        if self.provider == "kantata" and self.fault in ("400", "409"):
            return "account_problem"
        return ""

    @property
    def renews(self) -> bool:
        """Whether there is a token or a signature to make anew after a 401."""
        return self.provider in ("paypal", "visa_acceptance", "monite")

    @property
    def alone(self) -> bool:
        """Whether the fault concerns the whole account, so that the case needs one of its own."""
        own = (*UNSENT, ALERT, *HELD_BACK)
        return (
            self.wide
            or self.fault.removesuffix(ONCE) in own
            or self.fault in TURNED_AWAY
            or bool(self.pauses and (self.fault not in REDIRECTS or self.world == "stopped"))
        )


def parse(text: str) -> Case:
    """The case that is written like this."""
    provider, fault, applied, world, read, *wide = text.split("/")
    return Case(provider, fault, applied, world, read, bool(wide))


def everything(providers: Sequence[str] = PROVIDERS) -> Iterator[Case]:
    """The whole table."""
    for provider in providers:
        yield from _answers(provider)
        yield from _liars(provider)
        yield from _connections(provider)
        yield from _invoices(provider)
    if "teos" in providers:
        yield from _wide("teos")


def selection(seed: int) -> list[Case]:
    """For each fault one case of some provider, chosen by the seed."""
    dice = random.Random(seed)
    by_fault: dict[str, list[Case]] = {}
    for case in everything():
        by_fault.setdefault(f"{case.fault} {case.wide}", []).append(case)
    narrow = [dice.choice(cases) for fault, cases in by_fault.items() if fault.endswith("False")]
    wide = [cases for fault, cases in by_fault.items() if fault.endswith("True")]
    return narrow + [dice.choice(cases) for cases in dice.sample(wide, 3)]


def _answers(provider: str) -> Iterator[Case]:
    teos = faults.TEOS if provider == "teos" else ()
    once = [*faults.ACCEPT, *REFUSED, *TURNED_AWAY, *NONE, *teos]
    struck = [(name, "before") for name in once]
    struck += list(product((*LOST, *REDIRECTS), APPLIED))
    for (name, applied), world, read in product(struck, WORLDS, READS):
        yield Case(provider, name, applied, world, read)


def _liars(provider: str) -> Iterator[Case]:
    """A no in the provider's own words, although it acts.

    Not those without a reason: whether the read that decides comes in time to show what was done
    is a matter of moments, and by the provider's word it was then somebody else's doing.
    """
    names = [name for name in ("403", "404") if (provider, name) != ("teos", "404")]
    for name, applied, world, read in product(names, APPLIED[1:], WORLDS, READS[:3]):
        yield Case(provider, name, applied, world, read)


def _connections(provider: str) -> Iterator[Case]:
    names = [*UNSENT, ALERT]
    names += [name + ONCE for name in names]
    for name, world in product(names, WORLDS[:3]):
        yield Case(provider, name, "before", world, "works")
    for name in HELD_BACK:
        yield Case(provider, name, "before", "nothing", "works")


def _invoices(provider: str) -> Iterator[Case]:
    for name, read in product((*SEEN, *BETWEEN), READS):
        if (provider, name) != ("teos", "seen_draft"):  # It has no drafts.
            yield Case(provider, name, "before", "nothing", read)


def _wide(provider: str) -> Iterator[Case]:
    struck = [(name, "before") for name in (*faults.ACCEPT, *NONE, *faults.TEOS)]
    struck += [(name, "before") for name in WITHOUT_REASON]
    struck += list(product(LOST, APPLIED))
    for (name, applied), world in product(struck, WORLDS[:3]):
        yield Case(provider, name, applied, world, "works", wide=True)
