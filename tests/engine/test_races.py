"""Several people and processes at the same moment."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
from django.contrib.auth.models import User
from django.db import connection
from pytest_django import Settings

from invoices import batches, drain
from invoices.models import CancellationAttempt, CancellationBatch, HistoryEvent, Invoice
from invoices.models.attempt import LIVE, State, Step
from providers.models import ProviderAccount
from providers.sandbox.running import SandboxServer
from tests import invariants
from tests.engine.scene import PACE, Scene
from tests.factories import AccountFactory, InvoiceFactory, UserFactory
from tests.processes import until

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

Result = TypeVar("Result")


def at_once(*works: Callable[[], Result]) -> Sequence[Result | Exception]:
    """Begin all at the same moment, each on a connection of its own; what became of each."""
    gate = threading.Barrier(len(works))

    def run(work: Callable[[], Result]) -> Result | Exception:
        try:
            gate.wait(10)
            return work()
        except batches.BatchRefused as refusal:
            return refusal
        finally:
            connection.close()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


def draft(user: User) -> tuple[CancellationBatch, batches.Confirmation]:
    """A preview of every invoice, and what its form posts."""
    batch = batches.freeze(user, Invoice.objects.all(), "all")
    return batch, batches.Confirmation(batch.confirm_key, batch.digest, "duplicate", "", {})


@pytest.fixture
def account() -> ProviderAccount:
    made: ProviderAccount = AccountFactory.create()
    InvoiceFactory.create_batch(60, account=made)
    return made


@pytest.mark.usefixtures("account")
def test_the_same_form_posted_twenty_times_starts_one_batch() -> None:
    operator = UserFactory.create(role="operator")
    batch, form = draft(operator)
    results = at_once(
        *[
            lambda: batches.confirm(CancellationBatch.objects.get(pk=batch.pk), operator, form)
            for _ in range(20)
        ]
    )
    assert {getattr(one, "pk", one) for one in results} == {batch.pk}
    assert CancellationBatch.objects.count() == 1
    assert HistoryEvent.objects.filter(kind="batch_state", to_state="running").count() == 1
    assert HistoryEvent.objects.filter(kind="attempt_state", to_state="queued").count() == 60


@pytest.mark.usefixtures("account")
def test_of_overlapping_batches_confirmed_at_once_each_invoice_is_in_one() -> None:
    people = [UserFactory.create(role="operator") for _ in range(4)]
    drafts = [(one, *draft(one)) for one in people]
    # Rows that moved about on disk are updated in another order.
    reverse = CancellationAttempt.objects.filter(batch=drafts[1][1]).order_by("-pk")
    for attempt in reverse[:30]:
        CancellationAttempt.objects.filter(pk=attempt.pk).update(message="moved")
    results = at_once(*[lambda u=u, b=b, f=f: batches.confirm(b, u, f) for u, b, f in drafts])
    refused = [one for one in results if isinstance(one, batches.BatchRefused)]
    assert not [one for one in results if isinstance(one, Exception) and one not in refused]
    live = CancellationAttempt.objects.filter(state__in=LIVE)
    assert live.count() == live.values("invoice").distinct().count() == 60
    for batch in CancellationBatch.objects.filter(state="running"):
        assert batch.attempts.count() == batch.selected_count
        assert set(batch.attempts.values_list("state", flat=True)) <= {"queued", "ineligible"}


@pytest.mark.usefixtures("account")
def test_without_the_constraint_both_would_have_it() -> None:
    """The control: two batches do see the same invoices as free at the same time."""
    people = [UserFactory.create(role="operator") for _ in range(2)]
    drafts = [draft(one)[0] for one in people]
    assert [one.attempts.filter(state="draft").count() for one in drafts] == [60, 60]


def test_a_failed_attempt_is_tried_again_by_a_new_batch_of_just_those() -> None:
    operator = UserFactory.create(role="operator")
    InvoiceFactory.create_batch(3, account=AccountFactory.create())
    batch, form = draft(operator)
    batches.confirm(batch, operator, form)
    ends = (State.FAILED, State.SKIPPED, State.ALREADY_CANCELLED)
    for attempt, end in zip(batch.attempts.all(), ends, strict=True):
        assert CancellationAttempt.objects.move([attempt], Step(State.QUEUED, end))
    assert batches.finish_if_done(batch.pk)
    batch.refresh_from_db()
    again = batches.retry(batch, operator)
    assert again.selected_count == 2
    assert set(again.attempts.values_list("state", flat=True)) == {"draft"}


def test_a_batch_paused_resumed_and_stopped_under_way_ends_and_adds_up(
    sandbox: SandboxServer, settings: Settings
) -> None:
    settings.PACE = PACE
    scene = Scene(sandbox, "paypal-europe", invoices=120, rate_per_second=60.0)
    batch = scene.started()
    scene.control.switch(latency=0.01)
    for reference in scene.references[::7]:
        scene.control.set_fault("fin_after_request", scene.name, reference)

    def person() -> None:
        # Some are done and some have not left, however slow the machine is.
        until(lambda: batch.attempts.filter(state=State.CANCELLED).exists(), 60)
        for act in (batches.pause, batches.resume, batches.pause, batches.stop):
            time.sleep(0.1)
            act(CancellationBatch.objects.get(pk=batch.pk), scene.operator)

    def worker() -> None:
        mine = CancellationBatch.objects.filter(pk=batch.pk)
        while mine.filter(state__in=("running", "paused")).exists():
            drain.run(scene.account.pk, 0.3)

    try:
        at_once(person, worker)
        ends = {one.state for one in scene.drained(batch)}
    finally:
        scene.control.switch(latency=0.0)
    assert batch.state == "finished"
    assert ends == {"cancelled", "withdrawn"}
    invariants.check(scene.control)
