"""A batch's page: figures that add up, honest progress, and buttons for whoever may use them."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from invoices.models import CancellationAttempt, CancellationBatch, HistoryEvent
from invoices.models.attempt import State
from invoices.progress import ORDER, progress, rows_of, troubles
from providers.models import ProviderAccount
from tests.factories import AccountFactory, InvoiceFactory
from tests.pages.scenes import (
    BATCHES,
    XSS,
    a_worker_runs,
    attempt,
    event,
    invoices,
    login,
    queries,
    running,
    text,
)

pytestmark = pytest.mark.django_db


def page_of(client: Client, batch: CancellationBatch) -> str:
    return text(client, f"{BATCHES}{batch.pk}/change/")


def filled(user: User, states: dict[str, int], **facts: Any) -> CancellationBatch:
    batch = running(user, **facts)
    account = ProviderAccount.objects.first() or AccountFactory.create()
    for state, count in states.items():
        code = "paid" if state in ("refused", "ineligible") else ""
        for invoice in invoices(account, count):
            attempt(batch, invoice, state, code=code)
    return CancellationBatch.objects.get(pk=batch.pk)


def test_the_outcomes_add_up_to_the_selection(client: Client) -> None:
    user = login(client, "operator")
    states = {str(state): number for number, state in enumerate(State, start=1)}
    batch = filled(user, states)
    state = progress(batch)
    assert state.total == state.selected == sum(states.values())
    page = page_of(client, batch)
    assert f"{state.selected} selected = 8 cancelled + 9 already cancelled + " in page


def test_every_state_has_its_place_in_the_list(client: Client) -> None:
    assert set(ORDER) == set(State)


def test_what_needs_a_person_comes_first_and_pages_are_complete(client: Client) -> None:
    user = login(client, "operator")
    batch = filled(user, {"cancelled": 3, "needs_review": 2, "refused": 2})
    pages = [rows_of(batch, state="", code=None, start=at, length=3) for at in (0, 3, 6)]
    assert {count for _, count in pages} == {7}
    states = [row.state for rows, _ in pages for row in rows]
    assert states == ["needs_review"] * 2 + ["refused"] * 2 + ["cancelled"] * 3
    assert len({row.pk for rows, _ in pages for row in rows}) == 7


def test_rows_are_filtered_by_state_and_code_and_paged(client: Client) -> None:
    user = login(client, "operator")
    batch = filled(user, {"cancelled": 60, "refused": 2})
    page = text(client, f"{BATCHES}{batch.pk}/rows/?state=cancelled")
    assert "1 to 50 of 60" in page
    assert "51 to 60 of 60" in text(client, f"{BATCHES}{batch.pk}/rows/?state=cancelled&p=2")
    assert "1 to 2 of 2" in text(client, f"{BATCHES}{batch.pk}/rows/?state=refused&code=paid")
    assert "No invoices here." in text(client, f"{BATCHES}{batch.pk}/rows/?state=refused&code=x")


@pytest.mark.parametrize(
    "query", ["p=0", "p=x", "p=9999999", "state=zzz", "code=%22", "p=" + "9" * 30]
)
def test_no_address_breaks_the_rows(client: Client, query: str) -> None:
    user = login(client, "operator")
    batch = filled(user, {"cancelled": 1})
    text(client, f"{BATCHES}{batch.pk}/rows/?{query}")
    text(client, f"{BATCHES}{batch.pk}/change/?{query}")


def test_errors_are_grouped_with_a_sentence(client: Client) -> None:
    user = login(client, "operator")
    batch = filled(user, {"refused": 3, "ineligible": 2, "needs_review": 1, "cancelled": 4})
    CancellationAttempt.objects.filter(state="needs_review").update(code="vanished")
    found = [(one.state, one.code, one.count) for one in troubles(batch)]
    assert found == [
        ("needs_review", "vanished", 1),
        ("refused", "paid", 3),
        ("ineligible", "paid", 2),
    ]
    page = page_of(client, batch)
    assert "The provider does not have it any more, so it cannot tell." in page
    assert "?state=refused&amp;code=paid" in page


def test_cancelled_but_not_yet_verified_is_said(client: Client) -> None:
    user = login(client, "operator")
    batch = filled(user, {"cancelled": 2}, state="finished", finished_at=timezone.now())
    assert "2 cancelled, verification pending" in page_of(client, batch)
    assert client.get(f"{BATCHES}{batch.pk}/progress/").status_code == 200
    batch.attempts.update(verified_at=timezone.now())
    page = page_of(client, batch)
    assert "verification pending" not in page
    assert "data-poll" not in page
    assert client.get(f"{BATCHES}{batch.pk}/progress/").status_code == 286


def test_progress_is_fetched_again_while_something_may_happen(client: Client) -> None:
    user = login(client, "operator")
    batch = filled(user, {"queued": 2})
    assert f'data-poll="{BATCHES}{batch.pk}/progress/"' in page_of(client, batch)
    answer = client.get(f"{BATCHES}{batch.pk}/progress/")
    assert answer.status_code == 200
    assert "<html" not in answer.content.decode()


def test_the_rate_and_the_time_left_come_from_the_last_minute(client: Client) -> None:
    user = login(client, "operator")
    batch = filled(user, {"cancelled": 30, "queued": 60})
    CancellationBatch.objects.update(confirmed_at=timezone.now() - timedelta(seconds=10))
    batch.refresh_from_db()
    assert progress(batch).rate == 0
    for made in batch.attempts.filter(state="cancelled"):
        event(made, "cancelled")
    state = progress(batch)
    assert 2.0 < state.rate <= 30.0
    assert state.seconds_left == round(60 / state.rate)
    assert "per second, about" in page_of(client, batch)


def test_without_a_worker_the_page_says_so(client: Client) -> None:
    user = login(client, "operator")
    batch = filled(user, {"queued": 1})
    assert "No worker is running." in page_of(client, batch)
    a_worker_runs()
    assert "No worker is running." not in page_of(client, batch)


def test_a_finished_batch_needs_no_worker(client: Client) -> None:
    user = login(client, "operator")
    batch = filled(user, {"refused": 1}, state="finished")
    assert "No worker is running." not in page_of(client, batch)


def test_a_paused_account_is_said_with_its_reason(client: Client) -> None:
    user = login(client, "operator")
    batch = filled(user, {"queued": 1})
    ProviderAccount.objects.update(paused_at=timezone.now(), pause_reason="Wrong secret")
    page = page_of(client, batch)
    assert "is paused.</strong> Its invoices wait; nothing is sent for them" in page
    assert "Reason: Wrong secret" in page
    assert "All that is left waits for a paused account." in page


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"resting_reason": "rate_limited"}, "because the provider asked for fewer calls;"),
        ({"resting_reason": "breaker"}, "because too many calls to the provider failed;"),
        ({"resting_reason": "breaker", "breaker_trips": 3}, "failed, 3 times in a row by now;"),
    ],
)
def test_a_resting_account_is_said_with_its_end_and_why(
    client: Client, facts: dict[str, Any], why: str
) -> None:
    user = login(client, "operator")
    batch = filled(user, {"queued": 2})
    until = timezone.now() + timedelta(minutes=3)
    ProviderAccount.objects.update(resting_until=until, **facts)
    page = page_of(client, batch)
    assert "paypal-europe rests until <time" in page
    assert why in page
    assert "it goes on by itself" in page
    assert "All that is left waits for an account that rests" in page
    ProviderAccount.objects.update(resting_until=timezone.now() - timedelta(seconds=1))
    assert "rests until" not in page_of(client, batch)


def test_who_paused_an_account_is_said(client: Client) -> None:
    user = login(client, "operator", username="mara")
    batch = filled(user, {"queued": 1})
    ProviderAccount.objects.update(paused_at=timezone.now(), paused_by=user, pause_reason="Audit")
    assert "by mara. Reason: Audit" in page_of(client, batch)


def test_nothing_is_said_of_accounts_for_which_nothing_is_left(client: Client) -> None:
    user = login(client, "operator")
    batch = filled(user, {"cancelled": 1})
    ProviderAccount.objects.update(paused_at=timezone.now(), pause_reason="Audit")
    assert "is paused" not in page_of(client, batch)


def buttons(page: str) -> list[str]:
    return [step for step in ("pause", "resume", "stop", "retry") if f'value="{step}"' in page]


@pytest.mark.parametrize(
    ("state", "there"),
    [
        ("running", ["pause", "stop"]),
        ("paused", ["resume", "stop"]),
        ("stopping", []),
        ("finished", ["retry"]),
    ],
)
def test_the_buttons_fit_the_state(client: Client, state: str, there: list[str]) -> None:
    user = login(client, "operator")
    batch = filled(user, {"failed": 1, "refused": 1}, state=state)
    assert buttons(page_of(client, batch)) == there


def test_what_cannot_be_retried_offers_no_retry(client: Client) -> None:
    user = login(client, "operator")
    batch = filled(user, {"refused": 1, "cancelled": 1}, state="finished")
    assert buttons(page_of(client, batch)) == []


@pytest.mark.parametrize("role", ["operator", "approver", "auditor", "support", "administrator"])
def test_nobody_else_can_control_a_batch(client: Client, role: str) -> None:
    batch = filled(login(client, "operator"), {"queued": 1})
    login(client, role)
    assert buttons(page_of(client, batch)) == []
    for step in ("pause", "stop"):
        assert client.post(f"{BATCHES}{batch.pk}/control/", {"do": step}).status_code == 403
    batch.refresh_from_db()
    assert batch.state == "running"


def control(client: Client, batch: CancellationBatch, step: str) -> str:
    answer = client.post(f"{BATCHES}{batch.pk}/control/", {"do": step}, follow=True)
    batch.refresh_from_db()
    return answer.content.decode()


def test_pause_resume_and_stop_do_what_they_say(client: Client) -> None:
    batch = filled(login(client, "operator"), {"queued": 2, "cancelled": 1})
    assert "is paused. What was sent already is still followed" in control(client, batch, "pause")
    assert batch.state == "paused"
    assert "goes on." in control(client, batch, "resume")
    assert batch.state == "running"
    assert "2 not yet sent were withdrawn" in control(client, batch, "stop")
    assert batch.attempts.filter(state="withdrawn").count() == 2


def test_a_step_that_comes_too_late_is_said_to_have_done_nothing(client: Client) -> None:
    batch = filled(login(client, "operator"), {"cancelled": 1}, state="finished")
    assert "is finished now." in control(client, batch, "pause")
    assert "cannot be stopped" in control(client, batch, "stop")
    assert "There is no such step." in control(client, batch, "burn")


def test_retry_leads_to_a_new_preview(client: Client) -> None:
    batch = filled(login(client, "operator"), {"failed": 2, "refused": 1}, state="finished")
    assert "Cancel 2 invoices?" in control(client, batch, "retry")


def test_a_step_by_a_link_is_refused(client: Client) -> None:
    batch = filled(login(client, "operator"), {"queued": 1})
    assert client.get(f"{BATCHES}{batch.pk}/control/?do=stop").status_code == 403


def test_who_asked_when_why_and_with_which_options_is_shown(client: Client) -> None:
    user = login(client, "operator", username="mara")
    options = {"paypal": {"notify_payer": True, "notify_merchant": False}}
    batch = filled(user, {"queued": 1}, note="see ticket 118", options=options)
    page = page_of(client, batch)
    for fact in ("mara", "Duplicate invoice", "see ticket 118", "1 ticked invoice", "UTC"):
        assert fact in page
    assert "PayPal: Mail the customer</dt><dd>Yes" in page


def test_a_draft_is_said_to_have_sent_nothing(client: Client) -> None:
    user = login(client, "operator")
    batch = CancellationBatch.objects.create(requested_by=user, selection="x")
    assert "This is a preview; nothing was sent for it." in page_of(client, batch)


def test_the_list_shows_counts_without_a_query_for_each(client: Client) -> None:
    user = login(client, "operator")
    text(client, BATCHES)
    counts = []
    for more in (10, 30):
        for _ in range(more):
            filled(user, {"cancelled": 1, "refused": 1})
        counts.append(queries(client, BATCHES))
    assert counts[0] == counts[1]


def test_a_page_of_rows_takes_no_query_for_each(client: Client) -> None:
    user = login(client, "operator")
    text(client, BATCHES)
    few = queries(client, f"{BATCHES}{filled(user, {'refused': 10}).pk}/change/")
    many = queries(client, f"{BATCHES}{filled(user, {'refused': 200}).pk}/change/")
    assert few == many


def test_the_list_leaves_out_what_was_never_confirmed_unless_asked(client: Client) -> None:
    user = login(client, "operator")
    assert "No batch yet." in text(client, BATCHES)
    CancellationBatch.objects.create(requested_by=user, selection="x")
    filled(user, {"queued": 1})
    assert "1 cancellation batch" in text(client, BATCHES)
    assert 'data-state="draft"' in text(client, f"{BATCHES}?state=draft")


def test_names_and_messages_stay_text(client: Client) -> None:
    user = login(client, "operator")
    batch = running(user, note=XSS, selection=XSS)
    invoice = InvoiceFactory.create(number=XSS, customer_name=XSS)
    attempt(batch, invoice, "refused", code=XSS[:40], message=XSS)
    assert "<script>alert" not in page_of(client, batch)
    assert "<img src" not in page_of(client, batch)


def test_reading_a_batch_changes_nothing(client: Client) -> None:
    user = login(client, "operator")
    batch = filled(user, {"queued": 1})
    before = HistoryEvent.objects.count()
    for page in ("change/", "rows/", "progress/"):
        text(client, f"{BATCHES}{batch.pk}/{page}")
    assert HistoryEvent.objects.count() == before
    assert client.post(f"{BATCHES}{batch.pk}/change/", {"state": "finished"}).status_code == 403
