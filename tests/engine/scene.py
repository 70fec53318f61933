"""An account at the sandbox with invoices of its own, and a batch to work off."""

import time
from typing import Any

from django.contrib.auth.models import User

from invoices import batches, drain
from invoices.models import CancellationAttempt, CancellationBatch, Invoice
from invoices.models.attempt import WORKING
from invoices.recorder import DirectRecorder
from providers.models import ProviderAccount
from providers.sandbox.control import Control
from providers.sandbox.running import SandboxServer
from tests.factories import AccountFactory, UserFactory, store

PACE = 0.001


class Scene:
    """What a test of the engine begins with."""

    def __init__(
        self,
        sandbox: SandboxServer,
        name: str = "paypal-europe",
        invoices: int = 1,
        **account: Any,
    ) -> None:
        self.control: Control = sandbox.control
        self.origin = sandbox.origin
        self.name = name
        self.account: ProviderAccount = AccountFactory.create(
            name=name, origin=sandbox.origin, **account
        )
        self.operator: User = UserFactory.create(role="operator")
        self.references = [self.control.add_invoice(name) for _ in range(invoices)]
        self.import_all()

    def import_all(self) -> None:
        """Our copies, as an import stores them."""
        adapter = self.account.connect(DirectRecorder(self.account))
        size = adapter.fetch_limit
        for first in range(0, len(self.references), size):
            found = adapter.fetch(self.references[first : first + size])
            for remote in found.invoices.values():
                store(self.account, remote)
        adapter.client.close()

    def frozen(self) -> CancellationBatch:
        """A draft of everything the account holds."""
        mine = Invoice.objects.filter(account=self.account)
        return batches.freeze(self.operator, mine, "all")

    def confirmation(self, batch: CancellationBatch) -> batches.Confirmation:
        """What the form of this draft would post."""
        return batches.Confirmation(batch.confirm_key, batch.digest, "duplicate", "", {})

    def started(self) -> CancellationBatch:
        """A running batch of everything the account holds."""
        batch = self.frozen()
        return batches.confirm(batch, self.operator, self.confirmation(batch))

    def drained(self, batch: CancellationBatch, seconds: float = 20.0) -> list[CancellationAttempt]:
        """Its attempts once none is being worked on any more, or the account is paused."""
        gives_up = time.monotonic() + seconds
        while time.monotonic() < gives_up:
            drain.run(self.account.pk, 3.0)
            self.account.refresh_from_db()
            working = batch.attempts.filter(state__in=WORKING).exists()
            if self.account.is_paused or not working:
                break
            time.sleep(0.02)
        batch.refresh_from_db()
        return list(batch.attempts.select_related("invoice").order_by("pk"))

    def cancels(self, reference: str = "") -> list[dict[str, Any]]:
        """The cancel requests that arrived at the account, or about one invoice of it."""
        return self.control.log(kind="cancel", account=self.name, external_id=reference or None)
