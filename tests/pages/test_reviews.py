"""The queue of what needs review, and the page on which two persons decide."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from invoices import reviews
from invoices.models import CancellationAttempt, HistoryEvent, ReviewDecision
from invoices.models.attempt import State, Step
from invoices.progress import progress
from invoices.reasons import DECISIONS, LEFT_TO_A_PERSON, OTHERS
from providers.models import ProviderAccount
from tests.factories import AccountFactory, InvoiceFactory, UserFactory
from tests.pages.scenes import (
    BATCHES,
    HISTORY,
    QUEUE,
    XSS,
    attempt,
    call,
    login,
    queries,
    running,
    text,
)

pytestmark = pytest.mark.django_db

SAID = "Their desk says so, ticket 4711."


def parked(code: str = "vanished", hours: int = 1, **facts: Any) -> CancellationAttempt:
    """An attempt that waits for a person for so many hours."""
    account = ProviderAccount.objects.first() or AccountFactory.create()
    user = User.objects.filter(username="olga").first() or UserFactory.create(
        username="olga", role="operator"
    )
    invoice = InvoiceFactory.create(account=account, **facts)
    since = timezone.now() - timedelta(hours=hours)
    batch = running(user, state="finished")
    made: CancellationAttempt = attempt(
        batch, invoice, "needs_review", code=code, finished_at=since
    )
    return made


def page_of(made: CancellationAttempt) -> str:
    return f"{QUEUE}{made.pk}/change/"


def decide(client: Client, made: CancellationAttempt, do: str, **fields: object) -> Any:
    return client.post(f"{QUEUE}{made.pk}/decide/", {"do": do, **fields}, follow=True)


def proposed(made: CancellationAttempt, outcome: str = "failed") -> ReviewDecision:
    return reviews.propose(made, User.objects.get(username="olga"), outcome, SAID)


def test_the_queue_shows_what_waits_the_longest_first(client: Client) -> None:
    late, early = parked(hours=1), parked(hours=30)
    login(client, "approver")
    assert [row.pk for row in client.get(QUEUE).context["cl"].result_list] == [early.pk, late.pk]


def test_a_row_says_all_that_one_must_know(client: Client) -> None:
    made = parked("never_confirmed", customer_name="Acme")
    made.due_at = timezone.now() + timedelta(days=1)
    made.save(update_fields=["due_at"])
    proposed(made, "refused")
    login(client, "approver")
    page = text(client, QUEUE)
    for fact in (
        str(made.invoice),
        str(made.account),
        "123.45 EUR",
        str(made.batch),
        OTHERS["never_confirmed"],
        "next read",
        "SENT",
        "Refused?",
        "by olga",
    ):
        assert fact in page, fact


@pytest.mark.parametrize("code", LEFT_TO_A_PERSON)
def test_each_way_to_the_queue_has_a_sentence_and_a_filter(client: Client, code: str) -> None:
    made, _ = parked(code), parked("other")
    login(client, "operator")
    rows = client.get(f"{QUEUE}?code={code}").context["cl"].result_list
    assert [row.pk for row in rows] == [made.pk]
    assert OTHERS[code] in text(client, page_of(made))


def test_the_queue_can_be_narrowed_to_what_is_proposed(client: Client) -> None:
    one, other = parked(), parked()
    proposed(one)
    login(client, "operator")
    for value, expected in (("proposed", one.pk), ("none", other.pk)):
        rows = client.get(f"{QUEUE}?decision={value}").context["cl"].result_list
        assert [row.pk for row in rows] == [expected]


def test_an_empty_queue_says_what_would_appear(client: Client) -> None:
    login(client, "operator")
    page = text(client, QUEUE)
    assert "Nothing waits for a person." in page
    assert 'class="count"' not in page


def test_the_navigation_counts_what_waits(client: Client) -> None:
    parked()
    parked()
    login(client, "approver")
    entry = re.search(rf'<a href="{QUEUE}".*?</a>', text(client, "/admin/"))
    assert entry
    assert '<span class="count">2<' in entry[0]


@pytest.mark.parametrize("role", ["operator", "approver", "auditor"])
def test_the_overview_leads_to_the_queue(client: Client, role: str) -> None:
    parked()
    login(client, role)
    assert f'<a href="{QUEUE}">Needs review</a>' in text(client, "/admin/")


@pytest.mark.parametrize("role", ["support", "administrator"])
def test_who_may_not_see_decisions_sees_neither_entry_nor_page(client: Client, role: str) -> None:
    made = parked()
    login(client, role)
    assert QUEUE not in text(client, "/admin/")
    for address in (QUEUE, page_of(made)):
        assert client.get(address).status_code == 403
    assert QUEUE not in text(client, f"/admin/invoices/invoice/{made.invoice_id}/change/")


@pytest.mark.parametrize("role", ["auditor", "support", "administrator"])
@pytest.mark.parametrize("do", ["propose", "confirm", "decline"])
def test_only_who_may_decide_can(client: Client, role: str, do: str) -> None:
    made = parked()
    decision = proposed(made) if do != "propose" else None
    login(client, role)
    fields = {"outcome": "failed", "reason": SAID, "decision": decision.pk if decision else 0}
    assert decide(client, made, do, **fields).status_code == 403
    made.refresh_from_db()
    assert made.state == "needs_review"
    assert ReviewDecision.objects.exclude(answer="open").count() == 0
    assert ReviewDecision.objects.count() == (1 if decision else 0)


def test_an_auditor_sees_the_evidence_and_no_buttons(client: Client) -> None:
    made = parked()
    call(made.invoice, made, status=404, purpose="fetch")
    proposed(made)
    login(client, "auditor")
    page = text(client, page_of(made))
    assert SAID in page
    assert "<summary>Answer</summary>" in page
    assert 'name="do"' not in page


@pytest.mark.parametrize("role", ["operator", "approver"])
def test_the_form_says_what_each_end_means(client: Client, role: str) -> None:
    made = parked()
    login(client, role)
    page = text(client, page_of(made))
    for outcome in ReviewDecision.OUTCOMES:
        assert f'name="outcome" value="{outcome}"' in page
        assert DECISIONS[outcome] in page
    assert "own status stays what the provider last stated" in DECISIONS[State.CANCELLED]


def test_one_proposes_and_another_one_confirms(client: Client) -> None:
    made = parked()
    login(client, "operator", username="mara")
    answer = decide(client, made, "propose", outcome="cancelled", reason=SAID)
    assert "A second person has to confirm it." in answer.content.decode()
    decision = made.review_decisions.get()
    assert "Take it back" in text(client, page_of(made))
    assert "Confirm “" not in text(client, page_of(made))
    login(client, "approver", username="nils")
    assert f'href="{page_of(made)}"' in text(client, "/admin/")
    assert "Confirm “cancelled”" in text(client, page_of(made))
    answer = decide(client, made, "confirm", decision=decision.pk)
    assert "is decided: cancelled." in answer.content.decode()
    made.refresh_from_db()
    assert (made.state, made.evidence, made.invoice.status) == ("cancelled", "person", "open")


@pytest.fixture
def decided() -> CancellationAttempt:
    """An attempt that olga and nils declared cancelled."""
    made = parked()
    reviews.confirm(
        proposed(made, "cancelled"), UserFactory.create(role="approver", username="nils")
    )
    made.refresh_from_db()
    return made


def test_a_decision_is_told_with_both_persons_everywhere(
    client: Client, decided: CancellationAttempt
) -> None:
    login(client, "auditor")
    for address in (
        page_of(decided),
        f"/admin/invoices/invoice/{decided.invoice_id}/change/",
        HISTORY,
    ):
        page = text(client, address)
        assert "olga" in page, address
        assert "nils" in page, address
        assert SAID in page, address
    page = text(client, f"/admin/invoices/invoice/{decided.invoice_id}/change/")
    assert "olga proposed and nils confirmed" in page
    assert "own status stays what the provider last stated" in page
    assert "showed it cancelled" not in page


def test_a_decision_waits_for_no_verification(client: Client, decided: CancellationAttempt) -> None:
    assert progress(decided.batch).unverified == 0
    login(client, "operator")
    page = text(client, f"{BATCHES}{decided.batch_id}/change/")
    assert "verification pending" not in page
    assert "by two persons’ decision" in page


def test_nobody_confirms_an_own_proposal_on_the_page(client: Client) -> None:
    made = parked()
    decision = proposed(made)
    client.force_login(User.objects.get(username="olga"))
    assert decide(client, made, "confirm", decision=decision.pk).status_code == 403
    made.refresh_from_db()
    assert made.state == "needs_review"


def test_a_proposal_can_be_taken_back_or_declined(client: Client) -> None:
    made = parked()
    first = proposed(made)
    client.force_login(User.objects.get(username="olga"))
    answer = decide(client, made, "decline", decision=first.pk).content.decode()
    assert "your proposal is taken back" in answer
    second = proposed(made)
    login(client, "approver")
    answer = decide(client, made, "decline", decision=second.pk).content.decode()
    assert "the proposal is declined" in answer
    answers = list(made.review_decisions.order_by("pk").values_list("answer", flat=True))
    assert answers == ["taken_back", "declined"]
    kinds = HistoryEvent.objects.filter(attempt=made).order_by("pk").values_list("kind", flat=True)
    assert list(kinds) == [
        "review_proposed",
        "review_taken_back",
        "review_proposed",
        "review_declined",
    ]
    assert "How does it end?" in text(client, page_of(made))


def test_what_was_typed_survives_a_refusal(client: Client) -> None:
    made = parked()
    login(client, "operator")
    answer = decide(client, made, "propose", reason=SAID)
    page = answer.content.decode()
    assert answer.status_code == 409
    assert "Choose how the attempt is to end. Nothing was changed." in page
    assert SAID in page
    answer = decide(client, made, "propose", outcome="failed", reason=" ")
    assert answer.status_code == 409
    assert 'value="failed" required aria-describedby="means-failed" checked' in (
        answer.content.decode()
    )


def test_an_answer_to_another_proposal_than_the_one_shown_is_refused(client: Client) -> None:
    made, other = parked(), parked()
    foreign, decision = proposed(other), proposed(made)
    login(client, "approver")
    for number in (foreign.pk, "x", "9" * 30, ""):
        assert decide(client, made, "confirm", decision=number).status_code == 409
    decision.refresh_from_db()
    assert decision.answer == "open"


def test_a_read_that_came_first_is_said(client: Client) -> None:
    made = parked()
    decision = proposed(made)
    step = Step(State.NEEDS_REVIEW, State.CANCELLED, changes={"evidence": "read_back"})
    CancellationAttempt.objects.move([made], step)
    login(client, "approver")
    answer = decide(client, made, "confirm", decision=decision.pk)
    assert answer.status_code == 409
    assert "A read has settled it meanwhile." in answer.content.decode()
    assert "Overtaken by a read" in text(client, page_of(made))


def test_a_proposal_from_an_earlier_review_neither_counts_nor_blocks(client: Client) -> None:
    made = parked(hours=5)
    old = proposed(made, "refused")
    ReviewDecision.objects.update(proposed_at=timezone.now() - timedelta(hours=3))
    CancellationAttempt.objects.filter(pk=made.pk).update(
        finished_at=timezone.now() - timedelta(hours=1)
    )
    login(client, "approver")
    assert "How does it end?" in text(client, page_of(made))
    assert decide(client, made, "confirm", decision=old.pk).status_code == 409
    made.refresh_from_db()
    assert made.state == "needs_review"
    decide(client, made, "propose", outcome="failed", reason=SAID)
    assert reviews.proposals().get().outcome == "failed"


@pytest.mark.parametrize("do", ["burn", ""])
def test_an_unknown_step_changes_nothing(client: Client, do: str) -> None:
    made = parked()
    login(client, "operator")
    assert decide(client, made, do).status_code == 409


def test_a_decision_by_a_link_is_refused(client: Client) -> None:
    made = parked()
    login(client, "operator")
    assert client.get(f"{QUEUE}{made.pk}/decide/?do=propose").status_code == 403


def test_a_decision_needs_the_token_of_the_form() -> None:
    made = parked()
    client = Client(enforce_csrf_checks=True)
    login(client, "operator")
    fields = {"outcome": "failed", "reason": SAID}
    assert decide(client, made, "propose", **fields).status_code == 403
    assert not ReviewDecision.objects.exists()


@pytest.mark.parametrize("pk", ["abc", "0", "9" * 30])
def test_an_attempt_that_is_not_there_is_no_error(client: Client, pk: str) -> None:
    login(client, "operator")
    assert client.get(f"{QUEUE}{pk}/change/", follow=True).status_code == 200


def test_an_attempt_that_never_waited_has_no_page_here(client: Client) -> None:
    user = login(client, "operator")
    made = attempt(running(user), InvoiceFactory.create(), "refused")
    assert "There is no" in client.get(page_of(made), follow=True).content.decode()
    assert decide(client, made, "propose").status_code == 404


def test_names_and_reasons_stay_text(client: Client) -> None:
    made = parked(code=XSS[:40], number=XSS, customer_name=XSS)
    reviews.propose(made, User.objects.get(username="olga"), "failed", XSS)
    login(client, "approver")
    for address in (QUEUE, page_of(made), "/admin/"):
        page = text(client, address)
        assert "<script>alert" not in page
        assert "<img src" not in page


def test_the_queue_takes_no_query_for_each_row(client: Client) -> None:
    login(client, "operator")
    text(client, QUEUE)
    counts = []
    for more in (5, 15):
        for _ in range(more):
            proposed(parked())
        counts.append(queries(client, QUEUE))
    assert counts[0] == counts[1]


def test_a_long_reason_is_kept_whole(client: Client) -> None:
    made = parked()
    reason = "because " * 120
    decision = reviews.propose(made, User.objects.get(username="olga"), "failed", reason)
    assert HistoryEvent.objects.get(kind="review_proposed").detail.endswith("…")
    reviews.confirm(decision, UserFactory.create(role="approver"))
    login(client, "auditor")
    assert reason.strip() in text(client, page_of(made))
