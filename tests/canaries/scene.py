"""An account whose provider blurts out every secret."""

import logging
from contextlib import closing

from invoices.models import Invoice
from invoices.recorder import DirectRecorder
from providers.models import ProviderAccount
from providers.sandbox.running import SandboxServer
from tests.canaries.leaking import Leaking, base_url
from tests.engine.scene import Scene

log = logging.getLogger("canaries")


class LeakyScene(Scene):
    """An account that leaks, with invoices."""

    def __init__(
        self, sandbox: SandboxServer, leaks: Leaking, provider: str, invoices: int
    ) -> None:
        name = f"{provider}-leaks"
        given = leaks.add(sandbox.control, provider, name)
        super().__init__(
            sandbox,
            name,
            invoices,
            provider=provider,
            credentials=given.credentials,
            base_url=base_url(sandbox.origin, provider),
        )


def called(account: ProviderAccount, what: str) -> None:
    """One verb of the adapter; a failure is logged, as the outermost loops do."""
    adapter = account.connect(DirectRecorder(account))
    reference = Invoice.objects.filter(account=account).values_list("external_id", flat=True)[0]
    with closing(adapter.client):
        try:
            if what == "check":
                adapter.check()
            elif what == "list":
                next(iter(adapter.list()), None)
            elif what == "fetch":
                adapter.fetch([reference])
            else:
                adapter.cancel([reference], {})
        except Exception:
            log.exception("A %s failed.", what)
