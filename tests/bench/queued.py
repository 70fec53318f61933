"""The obvious way to cancel in the background: django-q2 with one task for each invoice.

Also the settings of its cluster, and the task. It records nothing but the new status.
"""

import sys
import time
from collections.abc import Iterator
from typing import Any

import requests
from django_q.models import OrmQ
from django_q.tasks import async_task

from invoices.models import Invoice
from providers.sandbox.control_api import RemoteControl
from tests.bench.drain import rates, token
from tests.bench.figures import Figure, Size, times_better
from tests.bench.stage import PAYPAL, fast_account, fresh, import_invoices, logs, sandbox
from tests.processes import ROOT, environment, running

WARM_UP = 20
LONGEST = 600.0


def cancel_one(pk: int, base: str, bearer: str) -> None:
    """Ask, and store the status."""
    invoice = Invoice.objects.get(pk=pk)
    answer = requests.post(
        f"{base}/v2/invoicing/invoices/{invoice.external_id}/cancel",
        json={"send_to_invoicer": False, "send_to_recipient": False},
        headers={"Authorization": f"Bearer {bearer}"},
        timeout=30,
    )
    answer.raise_for_status()
    invoice.status = Invoice.Status.CANCELLED
    invoice.save(update_fields=["status"])


def figures(size: Size) -> Iterator[Figure]:
    """The drain beside it, both without latency."""
    ours = rates(0, size).drain
    yield times_better("drain, 0 ms: django-q2, a task per invoice", ours, "/s", rate(size), 20)


def rate(size: Size) -> float:
    """Invoices a second, once the cluster is at work."""
    count = max(20, size.drained // 3)
    with sandbox() as origin:
        control = RemoteControl(origin)
        account = fast_account(origin)
        invoices = import_invoices(account, fresh(origin, count + WARM_UP))
        bearer = token(origin)
        for pk in invoices.values_list("pk", flat=True):
            async_task("tests.bench.queued.cancel_one", pk, account.base_url, bearer)
        command = (sys.executable, str(ROOT / "manage.py"), "qcluster")
        env = environment(logs(), origin, DJANGO_SETTINGS_MODULE="tests.bench.cluster")
        with running(*command, env=env, log=logs() / "qcluster.log"):
            wait_for(control, WARM_UP)
            started = time.perf_counter()
            wait_for(control, count + WARM_UP)
            took = time.perf_counter() - started
    OrmQ.objects.all().delete()
    return count / took


def wait_for(control: Any, cancelled: int) -> None:
    """Until the provider has been asked to cancel so many."""
    gives_up = time.monotonic() + LONGEST
    while control.stats()["requests"].get(PAYPAL, {}).get("cancel", 0) < cancelled:
        if time.monotonic() > gives_up:
            raise SystemExit(f"{cancelled} cancellations took longer than {LONGEST:.0f} s")
        time.sleep(0.02)
