"""`manage.py demo_data`: people, accounts, invoices and first batches for the demo.

Everything goes the way it goes in earnest: accounts by `add_account`, invoices by imports in the
worker, the batches by preview and confirmation. What is there already stays as it is.
"""

import io
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from invoices import approval_rules, batches, sync, tasks
from invoices.models import (
    ApprovalRule,
    CancellationAttempt,
    CancellationBatch,
    Invoice,
    SyncRun,
)
from providers.adapters import ADAPTERS
from providers.models import ProviderAccount
from providers.sandbox.control_api import RemoteControl
from providers.sandbox.credentials import account_sheet

PASSWORD = "demo"  # noqa: S105 - printed on the card; the command refuses outside the demo
ROLE_OF = {
    "operator": "operator",
    "approver": "approver",
    "auditor": "auditor",
    "support": "support",
    "admin": "administrator",
}
UNDER_WAY = (SyncRun.State.WAITING, SyncRun.State.RUNNING)
IMPORT_SECONDS = 120.0
BATCH_SECONDS = 8.0
OPEN_PER_ACCOUNT = 5
OTHERS_PER_ACCOUNT = 2
HURRIED_RATE = 100.0
APPROVAL_FROM = 100
APPROVAL_DELAY_MINUTES = 2
WAITING = 120


class Command(BaseCommand):
    """Fills an empty demo; a filled one only learns where its sandbox is now."""

    help = "Fills the demo with people, accounts, invoices, a rule and two batches."

    def add_arguments(self, parser: CommandParser) -> None:
        """Where the sandbox is."""
        parser.add_argument("--sandbox", required=True, metavar="ORIGIN")

    def handle(self, *args: Any, **options: Any) -> None:
        """Fill what is empty."""
        if not settings.DEMO:
            raise CommandError("The demo's people have known passwords; only with DEMO=1.")
        sandbox = RemoteControl(options["sandbox"])
        _create_people()
        _create_accounts(options["sandbox"])
        if not Invoice.objects.exists():
            self._import(sandbox)
        if not CancellationBatch.objects.exists():
            self._run_first_batch(sandbox)
        if not ApprovalRule.objects.exists():
            self._ask_for_approval()

    def _import(self, sandbox: RemoteControl) -> None:
        """All accounts at once; without the sandbox's delay, and faster than in earnest."""
        delay = sandbox.switches()["latency"]
        sandbox.switch(latency=0.0)
        with _hurried():
            runs = [sync.request(account, None) for account in ProviderAccount.objects.all()]
            for run in runs:
                tasks.start_sync(run.pk)
            self._say("Importing invoices from five providers ...")
            waiting = SyncRun.objects.filter(state__in=UNDER_WAY)
            if not _until(lambda: not waiting.exists(), IMPORT_SECONDS):
                raise CommandError("The imports do not come to an end; see the worker's log.")
        sandbox.switch(latency=delay)
        for failed in SyncRun.objects.filter(state=SyncRun.State.FAILED):
            raise CommandError(f"The import of {failed.account} failed: {failed.error}")
        self._say(f"{Invoice.objects.count():,} invoices are here.")

    def _run_first_batch(self, sandbox: RemoteControl) -> None:
        operator = User.objects.get(username="operator")
        chosen = [pk for account in ProviderAccount.objects.all() for pk in _some(account)]
        rows = Invoice.objects.filter(pk__in=chosen)
        batch = batches.freeze(operator, rows, "The demo's first batch")
        _stir(sandbox, batch)
        confirmation = batches.Confirmation(
            batch.confirm_key,
            batch.digest,
            CancellationBatch.Reason.DUPLICATE,
            "Billed twice in the move to the new ledger.",
            {},
        )
        batches.confirm(batch, operator, confirmation)
        for account_id in batch.attempts.values_list("account", flat=True).distinct():
            tasks.wake(account_id)
        self._say(f"Cancelling {len(chosen)} invoices ...")
        _until(lambda: _went_back_on_a_word(sandbox, batch), BATCH_SECONDS)
        # What is in doubt takes longer to settle: that batch may be looked at while it runs.
        _until(lambda: not batch.attempts.all().working().exists(), BATCH_SECONDS)

    def _ask_for_approval(self) -> None:
        """A rule, and a batch that waits for the approver."""
        approval_rules.store(
            ApprovalRule(
                measure=ApprovalRule.Measure.COUNT,
                threshold=APPROVAL_FROM,
                delay_minutes=APPROVAL_DELAY_MINUTES,
            ),
            User.objects.get(username="admin"),
        )
        operator = User.objects.get(username="operator")
        rows = Invoice.objects.filter(status=Invoice.Status.OPEN).order_by("issued_on", "pk")
        chosen = list(rows.values_list("pk", flat=True)[:WAITING])
        batch = batches.freeze(
            operator, Invoice.objects.filter(pk__in=chosen), "The demo’s oldest open invoices"
        )
        confirmation = batches.Confirmation(
            batch.confirm_key,
            batch.digest,
            CancellationBatch.Reason.ORDER_CANCELLED,
            "The framework contract ended; these are not to be paid any more.",
            {},
            asks=True,
        )
        batches.confirm(batch, operator, confirmation)
        self._say(f"Batch {batch.pk} waits for the approver.")

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def _create_people() -> None:
    for username, role in ROLE_OF.items():
        user, created = User.objects.get_or_create(username=username, defaults={"is_staff": True})
        if created:
            user.set_password(PASSWORD)
            user.save()
            user.groups.add(Group.objects.get(name=role))


def _create_accounts(origin: str) -> None:
    for sheet in account_sheet(origin):
        known = ProviderAccount.objects.filter(name=sheet["name"])
        if known.exists():
            known.update(base_url=sheet["base_url"])
        else:
            _add_account(sheet)


def _add_account(sheet: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        credentials = Path(folder) / "credentials.json"
        credentials.write_text(json.dumps(sheet["credentials"]))
        call_command(
            "add_account",
            name=sheet["name"],
            provider=sheet["provider"],
            environment=next(iter(ADAPTERS[sheet["provider"]].environments)),
            base_url=sheet["base_url"],
            credentials=str(credentials),
            stdout=io.StringIO(),
        )


@contextmanager
def _hurried() -> Iterator[None]:
    """The sandbox bears more than the providers; afterwards each account has its own rate again."""
    rates = dict(ProviderAccount.objects.values_list("pk", "rate_per_second"))
    for account in ProviderAccount.objects.filter(provider__in=("paypal", "visa_acceptance")):
        ProviderAccount.objects.filter(pk=account.pk).update(rate_per_second=HURRIED_RATE)
    try:
        yield
    finally:
        for pk, rate in rates.items():
            ProviderAccount.objects.filter(pk=pk).update(rate_per_second=rate)


def _some(account: ProviderAccount) -> list[int]:
    """A few open invoices of an account, and a few that cannot be cancelled any more."""
    rows = Invoice.objects.filter(account=account).order_by("-issued_on", "-pk")
    still_open = rows.filter(status=Invoice.Status.OPEN)[:OPEN_PER_ACCOUNT]
    others = rows.exclude(status=Invoice.Status.OPEN)[:OTHERS_PER_ACCOUNT]
    return [invoice.pk for invoice in (*still_open, *others)]


def _stir(sandbox: RemoteControl, batch: CancellationBatch) -> None:
    """What happens in earnest between import and cancellation, one of each."""
    paid, elsewhere, lost = _drafts(batch, "paypal-europe")[:3]
    sandbox.pay(account="paypal-europe", external_id=paid)
    sandbox.cancel_elsewhere(account="paypal-europe", external_id=elsewhere)
    for account, name, reference in (
        ("paypal-europe", "fin_after_request", lost),
        ("visa-harbour", "500_json", _drafts(batch, "visa-harbour")[0]),
    ):
        sandbox.set_fault(name=name, account=account, external_id=reference)
    sandbox.pay_part(account="monite-nord", external_id=_drafts(batch, "monite-nord")[0])


def _went_back_on_a_word(sandbox: RemoteControl, batch: CancellationBatch) -> bool:
    """A provider confirmed a cancellation, and will show the invoice open when it is verified."""
    account = "paypal-america"
    confirmed = batch.attempts.filter(
        account__name=account, state=CancellationAttempt.State.CANCELLED, verified_at=None
    ).select_related("invoice")
    for attempt in confirmed[:1]:
        reference = attempt.invoice.external_id
        sandbox.set_status(account=account, external_id=reference, status="open")
        return True
    return False


def _drafts(batch: CancellationBatch, account: str) -> list[str]:
    """Provider ids of what the batch will send for an account."""
    rows = batch.attempts.filter(account__name=account, state=CancellationAttempt.State.DRAFT)
    return list(rows.order_by("pk").values_list("invoice__external_id", flat=True))


def _until(done: Callable[[], bool], seconds: float) -> bool:
    """Wait for something; whether it came in time."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.3)
    return True
