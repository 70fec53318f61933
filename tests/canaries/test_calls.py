"""No secret of any provider reaches a table, a log line, a page or a mail, whatever happens.

Every step of a call breaks at one provider, and each third of them at each other one; with
CANARIES=all, every step at every provider.
"""

import logging
import os
from itertools import cycle

import pytest
from django.core import mail
from django_q.tasks import async_task
from pytest_django import Settings

from invoices import accounts, drain, failpoints
from invoices.failpoints import Armed
from invoices.models import ProviderResponse
from providers.models import ProviderAccount
from providers.sandbox.running import SandboxServer
from tests.canaries.leaking import Leaking
from tests.canaries.scene import LeakyScene, called
from tests.canaries.search import all_found
from tests.canaries.sinks import Logs, mails, pages, tables, watched
from tests.canaries.steps import ERRORS, STEPS, breaking
from tests.crash.test_failpoints import in_the_code
from tests.faults.cases import PROVIDERS

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)
log = logging.getLogger("canaries")

PACE = 0.001
THOROUGH = "paypal"
EVERYTHING = os.environ.get("CANARIES") == "all"
FAILPOINTS = sorted(in_the_code())


@pytest.fixture(autouse=True)
def _quick(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.PACE = PACE
    monkeypatch.setattr("providers.http.READ_SECONDS", 0.4)


def searched(leaks: Leaking, logs: Logs) -> dict[str, set[str]]:
    """Sink -> the canaries found in it. Every sink has something in it, or nothing is proven."""
    auditor = pages("auditor", "/admin/invoices/providerrequest/", "/admin/")
    administrator = pages("administrator", "/admin/providers/provideraccount/", most=20)
    stored = tables()
    sinks = {f"table {name}": texts for name, texts in stored.items()}
    sinks["log"] = logs.lines
    sinks["pages of an auditor"] = list(auditor.values())
    sinks["pages of an administrator"] = list(administrator.values())
    sinks["mail"] = mails()
    assert sinks["log"]
    assert len(auditor) > 10
    assert sum(map(len, stored["invoices_providerresponse"])) > 1000
    canaries = leaks.canaries()
    assert len(canaries) >= 12
    print(
        f"{len(canaries)} canaries, {len(sinks)} sinks,"
        f" {sum(map(len, sinks.values()))} texts, {len(mail.outbox)} mails"
    )
    return {name: hits for name, texts in sinks.items() if (hits := all_found(texts, canaries))}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_neither_success_nor_a_break_anywhere_leaves_a_secret(
    provider: str,
    sandbox: SandboxServer,
    leaks: Leaking,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = provider == THOROUGH or EVERYTHING
    scene = LeakyScene(sandbox, leaks, provider, invoices=2)
    with watched(html=whole) as logs:
        assert succeeds(scene)
        breaks_at(list(STEPS) if whole else list(STEPS)[PROVIDERS.index(provider) % 3 :: 3], scene)
        breaks_at_every_failpoint(scene, monkeypatch)
        assert len(mail.outbox) > len(FAILPOINTS)
    assert searched(leaks, logs) == {}


def succeeds(scene: LeakyScene) -> bool:
    """Each verb, by itself and by a batch and a task; then a refusal in the provider's words."""
    for what in ("check", "list", "fetch"):
        called(scene.account, what)
    attempts = scene.drained(scene.started())
    scene.control.expire_tokens()
    called(scene.account, "cancel")
    async_task("invoices.tasks.drain_account", scene.account.pk)
    bodies = ProviderResponse.objects.filter(complete=True).values_list("body", flat=True)
    assert any(b"[masked " in bytes(body) for body in bodies)
    assert accounts.check(scene.account, None).good
    return {one.state for one in attempts} == {"cancelled"}


def breaks_at(steps: list[str], scene: LeakyScene) -> None:
    """Steps of the HTTP client, by one kind of error after the other."""
    for step, error in zip(steps, cycle(ERRORS.values()), strict=False):
        with breaking(step, error) as broken:
            called(scene.account, "check")
            checked(scene.account)
        assert broken, step


def checked(account: ProviderAccount) -> None:
    """As an administrator tests a connection, whose page tells how it ended."""
    try:
        accounts.check(account, None)
    except Exception:
        log.exception("The check of %s failed.", account)


def breaks_at_every_failpoint(scene: LeakyScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the engine, with invoices that are open again."""
    scene.references = [scene.control.add_invoice(scene.name) for _ in FAILPOINTS]
    scene.import_all()
    batch = scene.started()
    for name in FAILPOINTS:
        arm(monkeypatch, failpoints.parse(f"{name}:raise"))
        try:
            drain.run(scene.account.pk, 0.5)
        except Exception:
            log.exception("The drain broke.")
        ProviderAccount.objects.update(lease_token=None, lease_expires_at=None)
    arm(monkeypatch, {})
    scene.drained(batch)


def arm(monkeypatch: pytest.MonkeyPatch, points: dict[str, failpoints.Failpoint]) -> None:
    """In each module that passes failpoints."""
    armed = Armed(points)
    for module in ("calls", "drain", "due", "intents", "settling"):
        monkeypatch.setattr(f"invoices.{module}.failpoint", armed)
