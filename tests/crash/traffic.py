"""What people and providers do meanwhile: batches are confirmed, and calls go wrong."""

import random
import threading
from dataclasses import dataclass, field

import requests
from django.contrib.auth.models import User
from django.db import DatabaseError, InterfaceError, connections

from invoices import batches, sync
from invoices.models import CancellationAttempt, Invoice
from invoices.models.attempt import WORKING
from providers.models import ProviderAccount
from providers.sandbox.control_api import RemoteControl
from providers.sandbox.credentials import PROVIDERS
from providers.sandbox.faults import ACCEPT, SENT
from tests.e2e.browser import Browser, Page
from tests.factories import AccountFactory, UserFactory

RATE = 4.0
LATENCY = 0.02
BYSTANDERS = 0.3
BACKLOG = 120
"""As many attempts are kept under way, so that there is always something to disturb."""
INVOICES = "/admin/invoices/invoice/"
ANSWERS = ("html_200", "json_not_object", "408", "429_then_ok", "500_json", "502", "503")
HOLD_SECONDS = 1.5
LATER_SECONDS = 0.3
HONEST_NO = (*ACCEPT, "429_then_ok")
"""The provider did not act, and what it says of that can be relied on."""
LATE_YES = ("header_stall", "header_drip", "body_stall")
"""Held for so short a time, these end as a whole yes; to act differently would be to lie."""
FAULTS = (*ACCEPT, *SENT, *ANSWERS)
WHEN = ("before", "after", "later")
HAPPENS = ("pay", "cancel_elsewhere")


class Unavailable(Exception):
    """The web answered with an error."""


@dataclass
class World:
    """Who is who before anything happens."""

    operator: User
    pickable: list[int]
    bystanders: set[tuple[str, str]] = field(default_factory=set)


def prepare(sandbox: str, dice: random.Random) -> World:
    """Six accounts at five providers, their invoices, and an operator."""
    operator = UserFactory.create(username="operator", role="operator")
    for name in PROVIDERS:
        account = AccountFactory.create(
            name=name, origin=sandbox, rate_per_second=2000.0, concurrency=4
        )
        sync.run(sync.request(account, None).pk)
    ProviderAccount.objects.update(rate_per_second=RATE)
    world = World(operator, [])
    for invoice in Invoice.objects.select_related("account").order_by("pk"):
        if dice.random() < BYSTANDERS:
            world.bystanders.add((invoice.account.name, invoice.external_id))
        elif invoice.status == Invoice.Status.OPEN:
            world.pickable.append(invoice.pk)
    dice.shuffle(world.pickable)
    RemoteControl(sandbox).switch(latency=LATENCY)
    return world


class Traffic(threading.Thread):
    """Goes on until told to stop, whatever is away for the moment."""

    def __init__(self, world: World, origin: str, sandbox: str, dice: random.Random) -> None:
        super().__init__(name="traffic", daemon=True)
        self.by_web = self.disturbed = 0
        self._world = world
        self._origin = origin
        self._control = RemoteControl(sandbox)
        self._dice = dice
        self._over = threading.Event()
        self._browser: Browser | None = None

    def run(self) -> None:
        while not self._over.wait(0.3):
            try:
                self._arm()
                self._pick()
            except (DatabaseError, InterfaceError, requests.RequestException, Unavailable):
                # Killed under our hands; what became of it is for the invariants to say.
                self.disturbed += 1
                self._browser = None
                connections.close_all()
        connections.close_all()

    def stop(self) -> None:
        """No more batches, no more faults."""
        self._over.set()
        self.join(60)
        self._control.clear_faults()

    def _arm(self) -> None:
        if self._dice.random() < 0.5:
            name, account = self._dice.choice(FAULTS), self._dice.choice([*PROVIDERS])
            applied = "before" if name in HONEST_NO else self._dice.choice(WHEN)
            if name in LATE_YES or (name not in HONEST_NO and PROVIDERS[account] == "teos"):
                applied = "after"
            self._control.set_fault(
                name=name,
                account=account,
                kind=self._dice.choice(("cancel", "cancel", "cancel", "fetch")),
                times=1,
                applied=applied,
                delay=LATER_SECONDS,
                hold=HOLD_SECONDS,
            )

    def _pick(self) -> None:
        under_way = CancellationAttempt.objects.filter(state__in=WORKING).count()
        if under_way >= BACKLOG or not self._world.pickable:
            return
        chosen = [
            self._world.pickable.pop()
            for _ in range(min(self._dice.randint(5, 40), len(self._world.pickable)))
        ]
        if self._dice.random() < 0.5:
            self._confirm_by_web(chosen)
        else:
            self._confirm_here(chosen)
        self._meanwhile(self._dice.choice(chosen))

    def _confirm_here(self, chosen: list[int]) -> None:
        operator = self._world.operator
        batch = batches.freeze(operator, Invoice.objects.filter(pk__in=chosen), "crash")
        key, digest = batch.confirm_key, batch.digest
        batches.confirm(batch, operator, batches.Confirmation(key, digest, "duplicate", "", {}))

    def _confirm_by_web(self, chosen: list[int]) -> None:
        """As a person does, and the second press of the button that an error page provokes."""
        browser = self._browser or self._logged_in()
        page = whole(browser.get(INVOICES))
        form = page.form_with("changelist-form")
        picked = [str(pk) for pk in chosen]
        shown = whole(browser.submit(page, form, action="cancel_selected", _selected_action=picked))
        started = shown.form_with("digest")
        for _ in range(self._dice.choice((1, 2))):
            browser.submit(shown, started, reason="duplicate", note="Billed twice.")
        self._browser = browser
        self.by_web += 1

    def _logged_in(self) -> Browser:
        browser = Browser(self._origin)
        page = whole(browser.get("/admin/login/?next=/admin/"))
        form = page.form_with("password")
        whole(browser.submit(page, form, username="operator", password="secret"))
        return browser

    def _meanwhile(self, pk: int) -> None:
        """Now and then somebody else does something with one of them."""
        if self._dice.random() < 0.5:
            invoice = Invoice.objects.select_related("account").get(pk=pk)
            self._control.change(
                account=invoice.account.name,
                external_id=invoice.external_id,
                name=self._dice.choice(HAPPENS),
                after=self._dice.uniform(0.0, 2.0),
            )


def whole(page: Page) -> Page:
    """A page that came as it should. Raises `Unavailable`."""
    if page.status != 200:
        raise Unavailable(page.url)
    return page
