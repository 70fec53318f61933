"""What people see of a batch that needs approval, and what they can do with it."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from invoices import approvals, batches
from invoices.models import CancellationBatch, Invoice
from tests.approvals.requests import answer, awaiting, rule, states
from tests.factories import AccountFactory, InvoiceFactory, UserFactory
from tests.pages.scenes import (
    BATCHES,
    XSS,
    draft,
    form_of,
    invoices,
    login,
    queries,
    text,
)

pytestmark = pytest.mark.django_db

APPROVALS = "/admin/invoices/awaitingbatch/"
ROLES = ["operator", "approver", "auditor", "support", "administrator"]


def preview_url(batch: CancellationBatch) -> str:
    return f"{BATCHES}{batch.pk}/preview/"


def page_of(client: Client, batch: CancellationBatch) -> str:
    return text(client, f"{BATCHES}{batch.pk}/change/")


def requested(**facts: Any) -> CancellationBatch:
    """Three invoices of 123.45 EUR that olga wants cancelled, by a rule that holds for all."""
    rule("count", 1, **facts)
    batch = awaiting(UserFactory.create(role="operator", username="olga"))
    batch.expires_at = timezone.now() + timedelta(minutes=90, seconds=50)
    batch.save()
    return batch


def answer_form(batch: CancellationBatch, do: str, **changes: str) -> dict[str, str]:
    given = {"key": str(batch.approval_key), "digest": batch.approval_digest, "note": "seen"}
    return {**given, "do": do, **changes}


def decide(client: Client, batch: CancellationBatch, do: str, **changes: str) -> Any:
    form = answer_form(batch, do, **changes)
    return client.post(f"{APPROVALS}{batch.pk}/decide/", form, follow=True)


# --- The requester ------------------------------------------------------------------------------


def test_the_preview_says_why_and_its_button_only_asks(client: Client) -> None:
    rule("count", 2, delay_minutes=10)
    batch = draft(login(client, "operator"), *invoices(AccountFactory.create(), 2))
    page = text(client, preview_url(batch))
    assert "This batch needs an approver." in page
    assert "It has 2 invoices; from 2 invoices on a batch needs an approver." in page
    assert "it can still be recalled for 10 minutes" in page
    assert "Ask for approval to cancel 2 invoices</button>" in page
    assert "btn-danger" not in page
    answer = client.post(preview_url(batch), form_of(batch, asks="1"), follow=True)
    assert "waits for another person’s approval. Nothing has been sent." in answer.content.decode()
    batch.refresh_from_db()
    assert batch.state == "awaiting_approval"
    again = client.post(preview_url(batch), form_of(batch, asks="1"), follow=True)
    assert "was already asked for. Nothing was sent." in again.content.decode()


def test_below_the_limit_the_preview_says_nothing_of_it(client: Client) -> None:
    rule("count", 3)
    batch = draft(login(client, "operator"), *invoices(AccountFactory.create(), 2))
    page = text(client, preview_url(batch))
    assert "approver" not in page
    assert "Cancel 2 invoices</button>" in page


def test_a_rule_that_came_meanwhile_is_told_and_what_was_typed_is_kept(client: Client) -> None:
    batch = draft(login(client, "operator"), *invoices(AccountFactory.create(), 2))
    rule("count", 2)
    answer = client.post(preview_url(batch), form_of(batch, note="my words"))
    page = answer.content.decode()
    assert answer.status_code == 409
    assert "it needs an approver now. Nothing was sent." in page
    assert "my words" in page
    assert 'name="asks"' in page


def test_a_second_preview_says_that_another_batch_waits_with_the_same(client: Client) -> None:
    batch = requested()
    other = draft(login(client, "operator"), *Invoice.objects.all())
    page = text(client, preview_url(other))
    assert f'3 of these are in <a href="{BATCHES}{batch.pk}/change/">batch {batch.pk}</a>' in page


def test_its_page_says_why_until_when_and_who_may_approve(client: Client) -> None:
    batch = requested(delay_minutes=10)
    UserFactory.create(role="approver", username="anna")
    client.force_login(batch.requested_by)
    page = page_of(client, batch)
    assert "It waits for another person’s approval.</strong> Nothing has been sent." in page
    assert "It has 3 invoices; from 1 invoice on a batch needs an approver." in page
    assert "<dd>anna</dd>" in page
    assert "in 1 h 30 min" in page
    assert "10 minutes to recall it" in page
    assert 'value="recall"' in page
    assert 'value="stop"' not in page
    assert "Approve or reject" not in page
    assert f'data-poll="{BATCHES}{batch.pk}/progress/"' in page
    assert client.get(f"{BATCHES}{batch.pk}/progress/").status_code == 200


def test_that_nobody_may_approve_is_said(client: Client) -> None:
    batch = requested()
    client.force_login(batch.requested_by)
    assert "Nobody may approve it." in page_of(client, batch)


@pytest.mark.parametrize("role", ROLES)
def test_who_may_recall_it_finds_a_button_and_others_are_refused(client: Client, role: str) -> None:
    batch = requested()
    login(client, role)
    may = role in ("approver", "administrator")
    assert ('value="recall"' in page_of(client, batch)) is may
    answer = client.post(f"{BATCHES}{batch.pk}/control/", {"do": "recall"})
    assert answer.status_code == (302 if may else 403)
    batch.refresh_from_db()
    assert batch.state == ("recalled" if may else "awaiting_approval")


def test_what_became_of_it_is_told_and_it_can_be_prepared_again(client: Client) -> None:
    batch = requested()
    anna = UserFactory.create(role="approver", username="anna")
    approvals.reject(batch, anna, answer(batch, "Not this month."))
    client.force_login(batch.requested_by)
    page = page_of(client, batch)
    assert "Rejected by anna</strong>" in page
    assert "Not this month." in page
    assert "data-poll" not in page
    again = client.post(f"{BATCHES}{batch.pk}/control/", {"do": "retry"}, follow=True)
    assert "Ask for approval to cancel 3 invoices" in again.content.decode()


@pytest.mark.parametrize(
    ("end", "said"),
    [("recall", "Recalled by olga</strong>"), ("expire", "Nobody approved it within 24 hours.")],
)
def test_that_it_ended_with_nothing_sent_is_told(client: Client, end: str, said: str) -> None:
    batch = requested()
    if end == "recall":
        approvals.recall(batch, batch.requested_by)
    else:
        CancellationBatch.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        client.force_login(batch.requested_by)
        assert "Nobody approved it in time." in page_of(client, batch)
        approvals.expire_overdue()
    client.force_login(batch.requested_by)
    page = page_of(client, batch)
    assert said in page
    assert "Nothing was sent." in page


def test_within_the_delay_its_page_counts_down_and_offers_to_recall(client: Client) -> None:
    batch = requested(delay_minutes=10)
    anna = UserFactory.create(role="approver", username="anna")
    approvals.approve(batch, anna, answer(batch))
    soon = timezone.now() + timedelta(minutes=9, seconds=50)
    CancellationBatch.objects.update(starts_at=soon)
    client.force_login(batch.requested_by)
    page = page_of(client, batch)
    assert "Starts in 9 min " in page
    assert "anna approved it. Nothing is sent before" in page
    assert 'data-state="scheduled">Not started yet' in page
    assert 'value="recall"' in page
    assert 'value="stop"' not in page
    assert "Not started yet" in text(client, BATCHES)
    client.post(f"{BATCHES}{batch.pk}/control/", {"do": "recall"})
    page = page_of(client, batch)
    assert "Recalled by olga</strong> before anything was sent." in page
    assert states(batch) == {"withdrawn": 3}


# --- The approver -------------------------------------------------------------------------------


def test_the_queue_tells_what_who_how_much_and_until_when(client: Client) -> None:
    requested()
    login(client, "approver")
    page = text(client, APPROVALS)
    for said in ("olga", "370.35 EUR", "Duplicate invoice", "in 1 h 30 min"):
        assert said in page
    assert "Approve selected batches…" in page
    assert 'class="count">1<' in page


def test_an_empty_queue_says_whether_there_are_rules(client: Client) -> None:
    login(client, "approver")
    assert "No approval rule is in force, so no batch needs an approver." in text(client, APPROVALS)
    rule("count", 5)
    assert "for which a rule wants a second person" in text(client, APPROVALS)


def test_the_queue_takes_the_same_queries_however_long(client: Client) -> None:
    first = requested()
    login(client, "approver")
    text(client, APPROVALS)
    few = queries(client, APPROVALS)
    for _ in range(10):
        awaiting(first.requested_by, *invoices(first.attempts.all()[0].account, 2))
    assert queries(client, APPROVALS) == few


def test_the_approver_sees_the_preview_as_it_was_frozen_and_what_changed(client: Client) -> None:
    batch = requested(delay_minutes=10)
    first = batch.attempts.order_by("pk")[0]
    Invoice.objects.filter(pk=first.invoice_id).update(status="paid", amount_minor=1)
    login(client, "approver")
    page = text(client, f"{APPROVALS}{batch.pk}/change/")
    for said in (
        "olga asks for this.",
        "370.35 EUR",
        "Duplicate invoice",
        "PayPal is told not to mail the customer",
        "Mail the customer: no",
        "Some have changed since they were chosen.",
        "1: It is paid; a paid invoice is refunded, not cancelled.",
        "Approve: cancel 3 invoices",
        "10 minutes to recall it",
        f"{BATCHES}{batch.pk}/rows/?state=draft",
        "Not started",
    ):
        assert said in page, said


def test_amounts_of_one_currency_are_put_together_whatever_their_decimals(client: Client) -> None:
    rule("count", 1)
    account = AccountFactory.create()
    rows = [
        *invoices(account, 1, amount_minor=100),
        *invoices(account, 1, amount_minor=12_345, exponent=4),
        *invoices(account, 1, amount_minor=None),
        *invoices(account, 1, amount_minor=None, currency="XTS"),
    ]
    awaiting(UserFactory.create(role="operator"), *rows)
    login(client, "approver")
    page = text(client, APPROVALS)
    assert "2.2345 EUR" in page
    assert "and 1 not stated" in page
    assert page.count('class="money') == 2


def test_approving_starts_it_and_leads_to_its_page(client: Client) -> None:
    batch = requested()
    anna = login(client, "approver", username="anna")
    answer = decide(client, batch, "approve")
    assert answer.redirect_chain[-1] == (f"{BATCHES}{batch.pk}/change/", 303)
    assert f"Batch {batch.pk} is approved." in answer.content.decode()
    batch.refresh_from_db()
    assert (batch.state, batch.approved_by) == ("running", anna)
    page = page_of(client, batch)
    assert "<dt>Approved by</dt><dd>anna" in page
    assert "<dt>Approver’s note</dt><dd>seen</dd>" in page


def test_rejecting_needs_a_note(client: Client) -> None:
    batch = requested()
    login(client, "approver")
    answer = decide(client, batch, "reject", note=" ")
    assert answer.status_code == 409
    assert "Say in the note why it is rejected. Nothing was sent." in answer.content.decode()
    assert "is rejected." in decide(client, batch, "reject", note="No.").content.decode()
    batch.refresh_from_db()
    assert (batch.state, batch.answer_note) == ("rejected", "No.")


@pytest.mark.parametrize(
    "changes", [{"key": "no key"}, {"key": ""}, {"digest": "0" * 64}, {"do": "burn"}, {"do": ""}]
)
def test_a_form_that_is_none_of_ours_starts_nothing(
    client: Client, changes: dict[str, str]
) -> None:
    batch = requested()
    login(client, "approver")
    form = answer_form(batch, "approve") | changes
    answer = client.post(f"{APPROVALS}{batch.pk}/decide/", form)
    assert answer.status_code == 409
    assert "Nothing was sent." in answer.content.decode()
    batch.refresh_from_db()
    assert batch.state == "awaiting_approval"


def test_who_asked_sees_that_somebody_else_must_answer(client: Client) -> None:
    rule("count", 1)
    both = login(client, "operator", is_superuser=True)
    batch = awaiting(both)
    page = text(client, f"{APPROVALS}{batch.pk}/change/")
    assert "You asked for it yourself" in page
    assert 'value="approve"' not in page
    answer = decide(client, batch, "approve")
    assert answer.status_code == 409
    assert "another person has to answer it. Nothing was sent." in answer.content.decode()


@pytest.mark.parametrize("role", ["auditor", "administrator"])
def test_others_follow_it_without_a_form(client: Client, role: str) -> None:
    batch = requested()
    login(client, role)
    page = text(client, f"{APPROVALS}{batch.pk}/change/")
    assert "You may follow it here, but not answer it." in page
    assert 'value="approve"' not in page
    assert "Approve selected" not in text(client, APPROVALS)


def test_one_that_was_answered_leads_to_its_batch(client: Client) -> None:
    batch = requested()
    approvals.recall(batch, batch.requested_by)
    login(client, "approver")
    answer = client.get(f"{APPROVALS}{batch.pk}/change/")
    assert (answer.status_code, answer["Location"]) == (302, f"{BATCHES}{batch.pk}/change/")
    page = decide(client, batch, "approve").content.decode()
    assert f"Batch {batch.pk} is recalled by olga. Nothing was sent." in page


def test_a_batch_that_never_waited_has_no_page_here(client: Client) -> None:
    free = draft(login(client, "operator"), *invoices(AccountFactory.create(), 1))
    login(client, "approver")
    assert client.get(f"{APPROVALS}{free.pk}/change/").status_code == 302
    assert client.post(f"{APPROVALS}{free.pk}/decide/", {"do": "approve"}).status_code == 404


# --- Several at once ----------------------------------------------------------------------------


def several(*rows: CancellationBatch, do: str = "approve", note: str = "all") -> dict[str, Any]:
    keys = {f"key-{one.pk}": str(one.approval_key) for one in rows}
    digests = {f"digest-{one.pk}": one.approval_digest for one in rows}
    return {"do": do, "note": note, "batch": [str(one.pk) for one in rows], **keys, **digests}


def three(client: Client) -> list[CancellationBatch]:
    """Of one, the approver is the requester."""
    first = requested()
    anna = login(client, "approver", username="anna")
    anna.groups.add(*first.requested_by.groups.all())
    account = first.attempts.all()[0].account
    others = (first.requested_by, anna)
    return [first, *(awaiting(who, *invoices(account, 2)) for who in others)]


def test_the_action_shows_what_would_be_answered_first(client: Client) -> None:
    rows = three(client)
    posted = {"action": "approve_selected", "_selected_action": [one.pk for one in rows[:2]]}
    page = client.post(APPROVALS, posted).content.decode()
    assert "Approve 2 batches</button>" in page
    assert "370.35 EUR" in page
    assert str(rows[0].approval_key) in page
    assert not CancellationBatch.objects.exclude(state="awaiting_approval").exists()


def test_each_is_checked_on_its_own_and_the_result_says_which_and_why(client: Client) -> None:
    rows = three(client)
    page = client.post(f"{APPROVALS}several/", several(*rows), follow=True).content.decode()
    assert "2 approved, 1 refused." in page
    assert f"You asked for batch {rows[2].pk} yourself" in page
    found = list(CancellationBatch.objects.order_by("pk").values_list("state", flat=True))
    assert found == ["running", "running", "awaiting_approval"]


def test_a_refusal_among_several_names_its_batch(client: Client) -> None:
    one = requested()
    same = Invoice.objects.filter(attempts__batch=one)
    other = awaiting(one.requested_by, *same)
    login(client, "approver", username="anna")
    page = client.post(f"{APPROVALS}several/", several(one, other), follow=True).content.decode()
    # The first one takes all of them; the sentence by itself would not tell whose it is.
    assert "1 approved, 1 refused." in page
    assert f"Batch {other.pk}: None of the selected invoices can be cancelled." in page


def test_several_are_rejected_with_one_note(client: Client) -> None:
    rows = three(client)[:2]
    empty = client.post(f"{APPROVALS}several/", several(*rows, do="reject", note=" "))
    assert empty.status_code == 409
    assert "Say in the note why they are rejected." in empty.content.decode()
    page = client.post(f"{APPROVALS}several/", several(*rows, do="reject"), follow=True)
    assert "2 rejected, 0 refused." in page.content.decode()
    assert set(CancellationBatch.objects.values_list("state", "answer_note")) >= {
        ("rejected", "all")
    }


@pytest.mark.parametrize("changes", [{"do": "burn"}, {"batch": []}, {"batch": ["x", "9" * 30]}])
def test_several_of_nothing_is_said_to_do_nothing(client: Client, changes: dict[str, Any]) -> None:
    rows = three(client)
    form = several(*rows) | changes
    page = client.post(f"{APPROVALS}several/", form, follow=True).content.decode()
    assert "There is no such step. Nothing was sent." in page
    assert not CancellationBatch.objects.exclude(state="awaiting_approval").exists()


def test_one_key_does_not_answer_another(client: Client) -> None:
    one, other, _ = three(client)
    form = several(one) | {f"key-{one.pk}": str(other.approval_key)}
    page = client.post(f"{APPROVALS}several/", form, follow=True).content.decode()
    assert "0 approved, 1 refused." in page
    assert "as it was shown. Nothing was sent." in page


# --- The front page -----------------------------------------------------------------------------


def test_the_front_page_tells_approvers_what_waits_for_them(client: Client) -> None:
    batch = requested()
    login(client, "approver")
    page = text(client, "/admin/")
    assert "Waiting for my approval" in page
    assert "the first expires in 1 h 30 min" in page
    assert f"{APPROVALS}{batch.pk}/change/" in page
    client.force_login(batch.requested_by)
    assert "Waiting for my approval" not in text(client, "/admin/")


def test_what_an_approver_asked_for_does_not_wait_for_that_approver(client: Client) -> None:
    rule("count", 1)
    awaiting(login(client, "approver", is_superuser=True))
    assert "no batch of others waits" in text(client, "/admin/")


def test_texts_stay_text(client: Client) -> None:
    rule("count", 1)
    operator = UserFactory.create(role="operator", username=XSS[:60])
    rows = [InvoiceFactory.create(number=XSS, customer_name=XSS, currency="<img>")]
    batch = batches.freeze(operator, Invoice.objects.filter(pk=rows[0].pk), XSS)
    batch = batches.confirm(
        batch,
        operator,
        batches.Confirmation(batch.confirm_key, batch.digest, "other", XSS, {}, asks=True),
    )
    login(client, "approver")
    for page in (APPROVALS, f"{APPROVALS}{batch.pk}/change/", f"{BATCHES}{batch.pk}/change/"):
        shown = text(client, page)
        assert "<script>alert" not in shown
        assert "<img" not in shown.replace('<img class="logo"', "")
