"""No path leads a batch that needs approval to running, except another person's approval.

People of every kind do whatever the services offer, at random, with forms that are right, stale or
made up. After each step the database is asked for a batch that got through.
"""

import random
from collections.abc import Callable
from contextlib import suppress
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db.models.functions import Now

from invoices import approvals, batches
from invoices.models import CancellationAttempt, CancellationBatch, HistoryEvent, Invoice
from invoices.models.attempt import State
from tests.approvals.requests import rule
from tests.factories import AccountFactory, InvoiceFactory, UserFactory

pytestmark = pytest.mark.django_db

LIMIT = 3
STEPS = 50
NOT_BEGUN = (State.DRAFT, State.INELIGIBLE)


class World:
    """Some people, some invoices, and a random hand."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        rule("count", LIMIT, delay_minutes=self.dice.choice((0, 0, 30)))
        self.invoices = InvoiceFactory.create_batch(80, account=AccountFactory.create())
        roles = ("operator", "operator", "approver", "approver", "administrator", "support")
        self.people = [UserFactory.create(role=role) for role in roles]
        self.people.append(UserFactory.create(is_superuser=True))
        both = UserFactory.create(role="operator")
        both.groups.add(Group.objects.get(name="approver"))
        self.people.append(both)
        self.asked: dict[int, int] = {}
        """For each confirmed batch, how many invoices it asked for."""
        self.approved: dict[int, tuple[int, bool]] = {}
        """For each batch that was let go, by whom, and whether they held the permission."""

    @property
    def steps(self) -> list[Callable[[User, CancellationBatch], object]]:
        return [
            self.freeze,
            self.freeze,
            self.confirm,
            self.confirm,
            self.confirm,
            self.approve,
            self.approve,
            self.reject,
            self.time_passes,
            self.hire_or_fire,
            self.slip_in,
            lambda user, batch: approvals.recall(batch, user),
            lambda user, batch: batches.pause(batch, user),
            lambda user, batch: batches.resume(batch, user),
            lambda user, batch: batches.stop(batch, user),
            lambda user, batch: batches.retry(batch, user),
            lambda user, batch: batches.discard(batch, user),
            lambda user, batch: batches.finish_if_done(batch.pk),
            lambda user, batch: approvals.expire_overdue(),
        ]

    def step(self) -> None:
        """Somebody does something with some batch, permitted or not."""
        user = User.objects.get(pk=self.dice.choice(self.people).pk)
        # The newest, so that something comes of it.
        known = list(CancellationBatch.objects.order_by("-pk")[:3])
        batch = self.dice.choice(known) if known else self.first()
        with suppress(batches.BatchRefused, PermissionDenied):
            self.dice.choice(self.steps)(user, batch)

    def first(self) -> CancellationBatch:
        return batches.freeze(self.people[0], Invoice.objects.all(), "all")

    def freeze(self, user: User, _: CancellationBatch) -> CancellationBatch:
        if self.dice.random() < 0.7:
            user = self.people[self.dice.randint(0, 1)]
        some = self.dice.sample(self.invoices, self.dice.randint(1, 8))
        rows = Invoice.objects.filter(pk__in=[one.pk for one in some])
        return batches.freeze(user, rows, "some")

    def confirm(self, user: User, batch: CancellationBatch) -> None:
        batch = self._one_that_is("draft", batch)
        if self.dice.random() < 0.8:
            user = User.objects.get(pk=batch.requested_by_id)
            user.groups.add(Group.objects.get(name="operator"))
        count = batch.attempts.filter(state=State.DRAFT).count()
        key = batch.confirm_key if self.dice.random() < 0.9 else uuid4()
        asks = (count >= LIMIT) is (self.dice.random() < 0.9)
        given = batches.Confirmation(key, batch.digest, "duplicate", "", {}, asks)
        batches.confirm(batch, user, given)
        self.asked.setdefault(batch.pk, count)

    def approve(self, user: User, batch: CancellationBatch) -> None:
        batch = self._one_that_is("awaiting_approval", batch)
        permitted = user.has_perm(approvals.APPROVE)
        run = approvals.approve(batch, user, self._answer(batch))
        self.approved[run.pk] = (user.pk, permitted)

    def reject(self, user: User, batch: CancellationBatch) -> None:
        batch = self._one_that_is("awaiting_approval", batch)
        approvals.reject(batch, user, self._answer(batch))

    def time_passes(self, user: User, batch: CancellationBatch) -> None:
        waiting = CancellationBatch.objects.filter(pk=batch.pk, state="awaiting_approval")
        waiting.update(expires_at=Now())
        CancellationBatch.objects.filter(pk=batch.pk).exclude(starts_at=None).update(
            starts_at=Now()
        )

    def hire_or_fire(self, user: User, batch: CancellationBatch) -> None:
        group = Group.objects.get(name=self.dice.choice(("approver", "operator")))
        change = self.dice.choice((user.groups.add, user.groups.remove))
        change(group)

    def slip_in(self, user: User, batch: CancellationBatch) -> None:
        """What is asked for is altered behind everybody's back."""
        CancellationBatch.objects.filter(pk=batch.pk, state="awaiting_approval").update(
            note=self.dice.choice(("", "other"))
        )

    def _one_that_is(self, state: str, otherwise: CancellationBatch) -> CancellationBatch:
        """Mostly a batch with which something can be done."""
        found = list(CancellationBatch.objects.filter(state=state).order_by("pk"))
        return self.dice.choice(found) if found and self.dice.random() < 0.8 else otherwise

    def _answer(self, batch: CancellationBatch) -> approvals.Answer:
        key = batch.approval_key if self.dice.random() < 0.9 else None
        digest = batch.approval_digest if self.dice.random() < 0.9 else "0" * 64
        return approvals.Answer(key or uuid4(), digest, "seen")

    def check(self) -> int:
        """How many batches that needed it run with approval; fails for one without."""
        begun = CancellationAttempt.objects.exclude(state__in=NOT_BEGUN).values("batch")
        for batch in CancellationBatch.objects.filter(pk__in=begun):
            if self.asked[batch.pk] < LIMIT:
                continue
            approver, permitted = self.approved[batch.pk]
            assert permitted
            assert approver == batch.approved_by_id != batch.requested_by_id
            let_go = HistoryEvent.objects.get(
                batch=batch, from_state="awaiting_approval", to_state="running"
            )
            assert let_go.actor_id == approver
        return len(self.approved)


SEEDS = range(20)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_people_do_another_person_let_it_go(seed: int) -> None:
    world = World(seed)
    for _ in range(STEPS):
        world.step()
        world.check()


def test_batches_do_get_through_with_approval_and_small_ones_without() -> None:
    """The control: the walk above reaches what it is about."""
    world = World(seed=1)
    wanted = {"rejected", "recalled", "expired"}
    for _ in range(40):
        for _ in range(STEPS):
            world.step()
        small = CancellationBatch.objects.filter(needs_approval=False, state="running")
        ends = set(CancellationBatch.objects.values_list("state", flat=True))
        if world.check() >= 3 and small.exists() and ends >= wanted:
            return
    raise AssertionError("the walk leads nowhere")
