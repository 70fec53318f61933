"""The main job as a person does it: five providers, a browser, and every process for real."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from pytest_django import Settings

from backoffice.demonstration import answers, free_port
from invoices.models import (
    CallSubject,
    CancellationAttempt,
    CancellationBatch,
    Heartbeat,
    HistoryEvent,
    Invoice,
    ProviderRequest,
    ProviderResponse,
)
from providers.models import ProviderAccount
from providers.sandbox.running import SandboxServer
from tests.e2e.browser import Browser, Page
from tests.factories import AccountFactory, UserFactory
from tests.processes import MANAGE, environment, running, until

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

ACCOUNTS = ("paypal-europe", "visa-harbour", "monite-nord", "kantata-studio", "teos-ledger")
PICKED = 3
INVOICES = "/admin/invoices/invoice/"
BATCHES = "/admin/invoices/cancellationbatch/"
FOLLOWED_TO_THE_END = 286
PACE = {"PACE": "0.05", "DRAIN_SECONDS": "4", "DRAIN_LEASE_SECONDS": "6"}


@dataclass(frozen=True)
class Site:
    """A running site: its address, its worker's log, and the sandbox that it calls."""

    origin: str
    worker_log: Path
    sandbox: SandboxServer

    def browser(self, name: str) -> Browser:
        """Somebody's browser, logged in."""
        browser = Browser(self.origin)
        assert browser.log_in(name, "secret").url == f"{self.origin}/admin/"
        return browser


@pytest.fixture
def site(sandbox: SandboxServer, settings: Settings, tmp_path: Path) -> Iterator[Site]:
    """Web and worker as processes on the test's database; five accounts, two people."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
    for role in ("operator", "auditor"):
        UserFactory.create(username=role, role=role)
    for name in ACCOUNTS:
        AccountFactory.create(name=name, origin=sandbox.origin, rate_per_second=40.0)
    env = environment(tmp_path, sandbox.origin, **PACE, WORKER_ACCOUNTS_IN_PARALLEL="6")
    port = free_port()
    web = (sys.executable, "-m", "gunicorn", "backoffice.wsgi", "--bind", f"127.0.0.1:{port}")
    worker_log = tmp_path / "worker.log"
    with (
        running(*MANAGE, "worker", env=env, log=worker_log),
        running(*web, "--threads", "4", env=env, log=tmp_path / "web.log"),
    ):
        until(lambda: answers(port, "/readyz"))
        yield Site(f"http://127.0.0.1:{port}", worker_log, sandbox)
    assert not Heartbeat.objects.exists()


def seed(sandbox: SandboxServer, name: str) -> tuple[list[str], list[str]]:
    """Open invoices to pick and bystanders, one of them paid, at an account of the sandbox."""
    add = sandbox.control.add_invoice
    picked = [add(name, customer="Pick & Söhne") for _ in range(PICKED)]
    paid = add(name, customer="Paid Ltd", status="paid")
    return picked, [paid, *(add(name, customer="Bystander Ltd") for _ in range(2))]


def import_all(browser: Browser) -> None:
    """Have every account's invoices imported, from the list of accounts."""
    page = browser.get("/admin/providers/provideraccount/")
    every = [str(pk) for pk in ProviderAccount.objects.values_list("pk", flat=True)]
    asked = browser.submit(
        page, page.form_with("changelist-form"), action="import_invoices", _selected_action=every
    )
    assert asked.status == 200
    until(lambda: Invoice.objects.count() == len(every) * (PICKED + 3), 30)


def preview(browser: Browser, path: str, **selection: str | list[str]) -> Page:
    """Choose invoices in the list and ask for their cancellation."""
    page = browser.get(path)
    form = page.form_with("changelist-form")
    return browser.submit(page, form, action="cancel_selected", **selection)


def confirm(browser: Browser, page: Page) -> Page:
    """Give the reason and press the button."""
    return browser.submit(page, page.form_with("digest"), reason="duplicate", note="Billed twice.")


def follow(browser: Browser, page: Page) -> CancellationBatch:
    """Look at the progress until the page says that there is nothing more to come."""
    batch = CancellationBatch.objects.get(pk=int(page.url.rstrip("/").split("/")[-2]))
    progress = f"{BATCHES}{batch.pk}/progress/"
    try:
        until(lambda: browser.get(progress).status == FOLLOWED_TO_THE_END, 40)
    except AssertionError:
        print(list(batch.attempts.values("account__name", "state", "code", "message", "due_at")))
        raise
    batch.refresh_from_db()
    return batch


def test_picked_invoices_of_five_providers_are_cancelled_once_and_no_other(site: Site) -> None:
    seeded = {name: seed(site.sandbox, name) for name in ACCOUNTS}
    operator = site.browser("operator")
    import_all(operator)

    ticked = [
        str(Invoice.objects.get(account__name=name, external_id=reference).pk)
        for name, (picked, (paid, *_)) in seeded.items()
        for reference in (*picked, paid)
    ]
    shown = preview(operator, INVOICES, _selected_action=ticked)
    assert f"Cancel {PICKED * 5} invoices?" in shown.text
    assert "a paid invoice is refunded, not cancelled" in shown.text
    assert cancels_in(site) == [], "nothing may be sent before it is confirmed"

    started = confirm(operator, shown)
    again = confirm(operator, shown)
    assert "Nothing was started a second time" in again.text
    batch = follow(operator, started)

    assert batch.state == CancellationBatch.State.FINISHED
    assert outcomes(batch) == {"cancelled": PICKED * 5, "ineligible": 5}
    for name, (picked, others) in seeded.items():
        for reference in picked:
            assert len(site.sandbox.control.invoice(name, reference)["cancelled_by"]) == 1
        for reference in others:
            assert site.sandbox.control.invoice(name, reference)["cancelled_by"] == []
            assert site.sandbox.control.cancels(name, reference) == []
    check_the_record(site, batch)
    read_the_record(site, batch)


def test_all_that_match_a_search_are_cancelled_without_their_ids(site: Site) -> None:
    for name in ACCOUNTS[:2]:
        seed(site.sandbox, name)
    for name in ACCOUNTS[2:]:
        ProviderAccount.objects.get(name=name).delete()
    operator = site.browser("operator")
    import_all(operator)

    first = str(Invoice.objects.filter(customer_name="Pick & Söhne")[0].pk)
    path = f"{INVOICES}?q=pick+sohne"
    shown = preview(operator, path, _selected_action=[first], select_across="1")
    assert f"Cancel {PICKED * 2} invoices?" in shown.text
    batch = follow(operator, confirm(operator, shown))
    assert outcomes(batch) == {"cancelled": PICKED * 2}
    assert "pick sohne" in batch.selection


def test_a_worker_killed_in_the_middle_neither_repeats_nor_forgets(site: Site) -> None:
    control = site.sandbox.control
    references = [control.add_invoice("paypal-europe") for _ in range(24)]
    ProviderAccount.objects.exclude(name="paypal-europe").delete()
    ProviderAccount.objects.update(rate_per_second=12.0)
    operator = site.browser("operator")
    page = operator.get("/admin/providers/provideraccount/")
    every = [str(ProviderAccount.objects.get().pk)]
    operator.submit(
        page, page.form_with("changelist-form"), action="import_invoices", _selected_action=every
    )
    until(lambda: Invoice.objects.count() == len(references))
    control.switch(latency=0.2)
    ticked = [str(pk) for pk in Invoice.objects.values_list("pk", flat=True)]
    started = confirm(operator, preview(operator, INVOICES, _selected_action=ticked))
    until(lambda: len(cancels_in(site)) >= 6)
    os.killpg(cluster_of(site), signal.SIGKILL)

    batch = follow(operator, started)
    assert outcomes(batch) == {"cancelled": len(references)}
    for reference in references:
        assert len(control.invoice("paypal-europe", reference)["cancelled_by"]) == 1
    in_doubt = HistoryEvent.objects.filter(batch=batch, code="interrupted").count()
    assert in_doubt, "the kill came too early or too late to prove anything"
    check_the_record(site, batch)


def outcomes(batch: CancellationBatch) -> dict[str, int]:
    """How many attempts of a batch are in which state."""
    states = batch.attempts.values_list("state", flat=True)
    return {state: list(states).count(state) for state in set(states)}


def cancels_in(site: Site) -> list[str]:
    """The request ids of all cancels that the sandbox read."""
    return [str(entry["request_id"]) for entry in site.sandbox.control.log(kind="cancel")]


def cluster_of(site: Site) -> int:
    """The worker's cluster, by the last line that says so."""
    lines = [
        json.loads(line) for line in site.worker_log.read_text().splitlines() if line[:1] == "{"
    ]
    starts = [one["message"] for one in lines if str(one["message"]).startswith("The cluster")]
    return int(str(starts[-1]).split()[2])


def check_the_record(site: Site, batch: CancellationBatch) -> None:
    """Every cancel that the sandbox read is on record, and every state was reached step by step."""
    recorded = {str(pk) for pk in ProviderRequest.objects.values_list("pk", flat=True)}
    seen = cancels_in(site)
    assert len(seen) == len(set(seen))
    assert set(seen) <= recorded
    for attempt in batch.attempts.filter(state=CancellationAttempt.State.CANCELLED):
        steps = HistoryEvent.objects.filter(
            attempt_id=attempt.pk, kind=HistoryEvent.Kind.ATTEMPT_STATE
        ).order_by("pk")
        path = list(steps.values_list("from_state", "to_state"))
        assert path[0] == ("draft", "queued")
        assert path[-1][1] == "cancelled"
        assert all(before[1] == after[0] for before, after in pairwise(path))


def read_the_record(site: Site, batch: CancellationBatch) -> None:
    """The auditor finds the request and the answer on the invoice's page."""
    unanswered = ProviderRequest.objects.exclude(
        pk__in=ProviderResponse.objects.values("request_id")
    )
    assert not unanswered.exists()
    auditor = site.browser("auditor")
    for name in ACCOUNTS:
        attempt = batch.attempts.filter(account__name=name, state="cancelled")[0]
        page = auditor.get(f"{INVOICES}{attempt.invoice_id}/change/")
        assert page.status == 200
        assert "Reason: duplicate invoice." in page.text
        for request in CallSubject.objects.filter(attempt=attempt).values_list(
            "request", flat=True
        ):
            assert str(request) in page.text
        assert f"Batch {batch.pk}" in page.text
