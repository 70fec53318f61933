"""What is measured against: a sandbox in a process of its own, and batches on both sides."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.utils import timezone

from invoices import batches
from invoices.models import CancellationAttempt, CancellationBatch, Invoice
from invoices.search import searchable
from providers.models import ProviderAccount
from providers.sandbox.control_api import RemoteControl
from providers.sandbox.credentials import BASE_PATHS
from tests.factories import AccountFactory, UserFactory

AT_ONCE = 32
PAYPAL = "paypal-europe"
"""A cancel is one request for one invoice there, so requests and invoices are the same number."""
CHUNK = 5_000


@contextmanager
def sandbox(latency: int = 0) -> Iterator[str]:
    """A sandbox that takes so many milliseconds for each answer; yields its origin."""
    command = [sys.executable, "-m", "providers.sandbox", "--port", "0", "--no-limits"]
    command += ["--invoices", "0", "--latency", str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            origin = next(one for one in process.stdout.readline().split() if "http://" in one)
            settings.PROVIDER_EXTRA_ORIGINS = [*settings.PROVIDER_EXTRA_ORIGINS, origin]
            yield origin
        finally:
            process.terminate()


def fresh(origin: str, size: int, account: str = PAYPAL) -> list[str]:
    """So many open invoices at an emptied sandbox, which nobody has seen before; their ids."""
    control = RemoteControl(origin, seconds=600)
    # Two in three of what the sandbox makes up can be cancelled.
    control.reset(invoices={account: size * 3 // 2 + size // 10 + 60}, seed=time.time_ns() % 10**9)
    ids: list[str] = control.ids(account=account, status="open")
    ids = (ids + control.ids(account=account, status="unpaid"))[:size]
    if len(ids) < size:
        raise SystemExit(f"the sandbox made {len(ids)} open invoices, not {size}")
    return ids


def fast_account(origin: str, name: str = PAYPAL) -> ProviderAccount:
    """The account, with its own rate set out of the way."""
    account = ProviderAccount.objects.filter(name=name).first()
    if account is None:
        account = AccountFactory.create(name=name)
    account.base_url = origin + BASE_PATHS[account.provider]
    account.rate_per_second, account.concurrency = 100_000.0, AT_ONCE
    account.save()
    return account


def import_invoices(account: ProviderAccount, references: list[str]) -> QuerySet[Invoice]:
    """Our copies of them; the invoices that were made."""
    put_away(account)
    for start in range(0, len(references), CHUNK):
        Invoice.objects.bulk_create(
            Invoice(
                account=account,
                external_id=reference,
                number=reference[-9:],
                customer_name="Nordlicht Reederei",
                currency="EUR",
                amount_minor=12_345,
                balance_minor=12_345,
                status=Invoice.Status.OPEN,
                search_text=searchable(reference, "Nordlicht Reederei"),
            )
            for reference in references[start : start + CHUNK]
        )
    return Invoice.objects.filter(account=account, status=Invoice.Status.OPEN)


def put_away(account: ProviderAccount) -> None:
    """As if all earlier cancellations had been verified: the sandbox that knew them is gone."""
    done = CancellationAttempt.objects.filter(account=account, state="cancelled")
    done.filter(due_at__isnull=False).update(due_at=None, verified_at=timezone.now())
    earlier = Invoice.objects.filter(account=account, status=Invoice.Status.OPEN)
    earlier.update(status=Invoice.Status.CANCELLED)


def operator() -> User:
    """Somebody who has asked for nothing yet."""
    made: User = UserFactory.create(username=f"bench-{time.time_ns()}", role="operator")
    return made


def confirmed(invoices: QuerySet[Invoice]) -> CancellationBatch:
    """A batch of them, ready to be worked off."""
    user = operator()
    batch = batches.freeze(user, invoices, "all open")
    reasons = batches.Confirmation(batch.confirm_key, batch.digest, "test", "", {})
    return batches.confirm(batch, user, reasons)


def confirmed_batch(origin: str, size: int, name: str = PAYPAL) -> CancellationBatch:
    """The same for so many invoices that are new on both sides."""
    account = fast_account(origin, name)
    return confirmed(import_invoices(account, fresh(origin, size, name)))


def logs() -> Path:
    """Where processes that are measured write to."""
    folder = Path(os.environ.get("BENCH_FOLDER") or tempfile.gettempdir())
    folder.mkdir(parents=True, exist_ok=True)
    return folder
