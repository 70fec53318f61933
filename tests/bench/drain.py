"""How many invoices a second one drain cancels, beside a script that records nothing.

    python -m tests.bench [--json FILE] [--rounds N]

Both cancel at the same sandbox, a process of its own, 32 at once, in turns; the medians count.
The drain does all that it always does: it masks, stores each request before it leaves, stores
each answer, and keeps the history. Only the account's own rate is set high.
"""

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from django.conf import settings
from django.core.management import call_command

from invoices import batches, drain
from invoices.models import Invoice
from invoices.search import searchable
from providers.models import ProviderAccount
from providers.sandbox.credentials import CREDENTIALS
from tests.factories import AccountFactory, UserFactory

AT_ONCE = 32
ACCOUNT = "paypal-europe"
SIZES = {0: 1500, 150: 1500}
"""Latency of the provider in milliseconds -> invoices a round."""


def main(arguments: list[str]) -> None:
    """Measure, print, and write the figures where asked to."""
    parser = argparse.ArgumentParser(prog="tests.bench")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    call_command("migrate", verbosity=0)
    figures = [measure(latency, size, options.rounds) for latency, size in SIZES.items()]
    for figure in figures:
        print(sentence(figure), flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))


def sentence(figure: dict[str, Any]) -> str:
    """A figure for people."""
    bound = f", {figure['of_bound']:.2f} of the bound" if figure["of_bound"] else ""
    return (
        f"  provider latency {figure['latency_ms']:>3} ms: drain {figure['drain']:6.0f}/s, "
        f"script {figure['script']:6.0f}/s, ratio {figure['ratio']:.2f}{bound}"
    )


def measure(latency: int, size: int, rounds: int) -> dict[str, Any]:
    """Medians of invoices a second, in turns; the bound is what 32 at once can reach."""
    drained, scripted = [], []
    with sandbox(latency) as origin:
        settings.PROVIDER_EXTRA_ORIGINS = [origin]
        for _ in range(rounds):
            scripted.append(size / seconds_of(lambda: script(origin, fresh(origin, size))))
            job = prepared(origin, size)
            drained.append(size / seconds_of(job))
    bound = AT_ONCE / (latency / 1000) if latency else 0.0
    fast = statistics.median(drained)
    return {
        "latency_ms": latency,
        "drain": fast,
        "script": statistics.median(scripted),
        "ratio": fast / statistics.median(scripted),
        "of_bound": fast / bound if bound else 0.0,
    }


def seconds_of(job: Callable[[], None]) -> float:
    """How long a job takes."""
    started = time.perf_counter()
    job()
    return time.perf_counter() - started


def script(origin: str, references: list[str]) -> None:
    """The throwaway script: a session a thread, no record, no care."""
    base, local = f"{origin}/paypal", threading.local()
    secret = CREDENTIALS[ACCOUNT]
    token = requests.post(
        f"{base}/v1/oauth2/token",
        data={"grant_type": "client_credentials"},
        auth=(secret["client_id"], secret["client_secret"]),
        timeout=30,
    ).json()["access_token"]

    def cancel(reference: str) -> int:
        if not hasattr(local, "session"):
            local.session = requests.Session()
        answer: requests.Response = local.session.post(
            f"{base}/v2/invoicing/invoices/{reference}/cancel",
            json={"send_to_invoicer": False, "send_to_recipient": False},
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
        )
        return answer.status_code

    with ThreadPoolExecutor(AT_ONCE) as pool:
        if set(pool.map(cancel, references)) != {204}:
            raise SystemExit("the script did not cancel everything")


def prepared(origin: str, size: int) -> Callable[[], None]:
    """A confirmed batch of so many invoices; calling it drains it to its end."""
    account = fast_account(origin)
    import_invoices(account, fresh(origin, size))
    operator = UserFactory.create(username=f"bench-{time.time_ns()}", role="operator")
    open_ones = Invoice.objects.filter(status=Invoice.Status.OPEN)
    batch = batches.freeze(operator, open_ones, "all open")
    reasons = batches.Confirmation(batch.confirm_key, batch.digest, "test", "", {})
    batches.confirm(batch, operator, reasons)

    def job() -> None:
        while batch.attempts.exclude(state="cancelled").exists():
            drain.run(account.pk, 25.0)

    return job


def fast_account(origin: str) -> ProviderAccount:
    """The account, with its own rate set out of the way."""
    account = ProviderAccount.objects.filter(name=ACCOUNT).first() or AccountFactory.create(
        name=ACCOUNT
    )
    account.base_url = f"{origin}/paypal"
    account.rate_per_second, account.concurrency = 100_000.0, AT_ONCE
    account.save()
    return account


def import_invoices(account: ProviderAccount, references: list[str]) -> None:
    """Our copies of them."""
    Invoice.objects.bulk_create(
        Invoice(
            account=account,
            external_id=reference,
            number=reference[-9:],
            currency="EUR",
            amount_minor=12_345,
            status=Invoice.Status.OPEN,
            search_text=searchable(reference),
        )
        for reference in references
    )


def fresh(origin: str, size: int) -> list[str]:
    """So many new open invoices at the sandbox; their ids."""
    control(origin, "reset", invoices=0)
    stamp = f"{time.time_ns() % 36**8:08d}"
    return [
        str(control(origin, "add_invoice", account=ACCOUNT, external_id=_reference(stamp, number)))
        for number in range(size)
    ]


def _reference(stamp: str, number: int) -> str:
    return f"INV2-{stamp[-8:-4]}-{stamp[-4:]}-{number // 10_000:04d}-{number % 10_000:04d}"


_control_session = requests.Session()


def control(origin: str, method: str, **arguments: Any) -> Any:
    """One call of the sandbox's control API."""
    answer = _control_session.post(f"{origin}/_control/{method}", json=arguments, timeout=30)
    answer.raise_for_status()
    return answer.json()["result"]


@contextmanager
def sandbox(latency: int) -> Iterator[str]:
    """A sandbox in a process of its own; yields its origin."""
    command = [sys.executable, "-m", "providers.sandbox", "--port", "0", "--no-limits"]
    command += ["--invoices", "0", "--latency", str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield next(word for word in process.stdout.readline().split() if "http://" in word)
        finally:
            process.terminate()
