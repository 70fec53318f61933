"""What is parked for a person takes two of them, or a read that proves it."""

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction

from invoices import batches, reviews
from invoices.models import CancellationAttempt, HistoryEvent, ReviewDecision
from invoices.models.attempt import State, Step
from tests.factories import InvoiceFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator() -> User:
    user: User = UserFactory.create(role="operator")
    return user


@pytest.fixture
def approver() -> User:
    user: User = UserFactory.create(role="approver")
    return user


@pytest.fixture
def parked(operator: User) -> CancellationAttempt:
    """An attempt that needs review, as the drain leaves it."""
    invoice = InvoiceFactory.create()
    batch = batches.freeze(operator, type(invoice).objects.all(), "one")
    reasons = batches.Confirmation(batch.confirm_key, batch.digest, "duplicate", "", {})
    batches.confirm(batch, operator, reasons)
    attempt = batch.attempts.get()
    for one, other in (("queued", "claimed"), ("claimed", "sending"), ("sending", "needs_review")):
        step = Step(State(one), State(other), code="undecided")
        assert CancellationAttempt.objects.move([attempt], step)
    attempt.refresh_from_db()
    return attempt


def test_two_persons_end_it(parked: CancellationAttempt, operator: User, approver: User) -> None:
    decision = reviews.propose(parked, operator, "refused", "The provider's desk said no.")
    reviews.confirm(decision, approver)
    parked.refresh_from_db()
    assert (parked.state, parked.code) == ("refused", "decided")
    event = HistoryEvent.objects.filter(attempt=parked).first()
    assert event is not None
    assert event.actor == approver
    assert "The provider's desk said no." in event.detail


def test_declared_cancelled_does_not_make_the_invoice_read_so(
    parked: CancellationAttempt, operator: User, approver: User
) -> None:
    reviews.confirm(reviews.propose(parked, operator, "cancelled", "Seen in their app."), approver)
    parked.refresh_from_db()
    assert (parked.state, parked.evidence) == ("cancelled", "person")
    assert parked.invoice.status == "open"


def test_nobody_confirms_an_own_proposal(parked: CancellationAttempt, operator: User) -> None:
    decision = reviews.propose(parked, operator, "failed", "Nothing arrived.")
    with pytest.raises(PermissionDenied):
        reviews.confirm(decision, operator)
    with pytest.raises(IntegrityError), transaction.atomic():
        ReviewDecision.objects.update(answer="confirmed", answered_by=operator)


@pytest.mark.parametrize("role", ["support", "auditor", "administrator"])
def test_it_takes_the_permission(parked: CancellationAttempt, role: str) -> None:
    with pytest.raises(PermissionDenied):
        reviews.propose(parked, UserFactory.create(role=role), "failed", "No.")


def test_a_proposal_needs_a_reason_and_a_known_end(
    parked: CancellationAttempt, operator: User
) -> None:
    for outcome, reason in (("failed", "  "), ("queued", "again"), ("failed", "x" * 1001)):
        with pytest.raises(reviews.ReviewRefused):
            reviews.propose(parked, operator, outcome, reason)


def test_one_proposal_at_a_time_and_it_can_be_declined(
    parked: CancellationAttempt, operator: User, approver: User
) -> None:
    first = reviews.propose(parked, operator, "failed", "Nothing arrived.")
    with pytest.raises(reviews.ReviewRefused):
        reviews.propose(parked, approver, "refused", "They refused.")
    reviews.decline(first, approver)
    with pytest.raises(reviews.ReviewRefused):
        reviews.confirm(first, approver)
    reviews.propose(parked, approver, "refused", "They refused.")


def test_a_read_that_settled_it_first_wins(
    parked: CancellationAttempt, operator: User, approver: User
) -> None:
    decision = reviews.propose(parked, operator, "failed", "Nothing arrived.")
    changes = {"evidence": "read_back"}
    step = Step(State.NEEDS_REVIEW, State.CANCELLED, changes=changes)
    CancellationAttempt.objects.move([parked], step)
    with pytest.raises(reviews.ReviewRefused, match="settled"):
        reviews.confirm(decision, approver)
    decision.refresh_from_db()
    parked.refresh_from_db()
    assert (decision.answer, parked.state) == ("overtaken", "cancelled")
