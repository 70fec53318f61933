"""Monite's dialect against its reference."""

from __future__ import annotations

import time

import pytest

from providers.sandbox import SandboxServer
from tests.sandbox.conftest import Open

ACCOUNT = "monite-nord"
UNKNOWN = "5a4db0c5-0000-4000-8000-00000000dead"


@pytest.mark.parametrize("status", ["open", "overdue"])
def test_cancelling_answers_204_and_the_invoice_reads_canceled(
    sandbox: SandboxServer, at: Open, status: str
) -> None:
    monite, invoice = at(ACCOUNT), sandbox.control.add_invoice(ACCOUNT, status=status)
    answer = monite.cancel(invoice)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["x-request-id"]
    assert monite.fetch(invoice).json["status"] == "canceled"


def test_a_compliant_entity_gets_a_credit_note_for_what_is_open(
    sandbox: SandboxServer, at: Open
) -> None:
    monite, invoice = at(ACCOUNT), sandbox.control.add_invoice(ACCOUNT, amount=5000)
    monite.cancel(invoice)
    shown = monite.fetch(invoice).json
    assert len(shown["related_documents"]["credit_note_ids"]) == 1
    assert (shown["amount_due"], shown["total_amount_with_credit_notes"]) == (0, 0)


def test_a_non_compliant_entity_gets_none_and_its_settings_say_so(
    sandbox: SandboxServer, at: Open
) -> None:
    sandbox.control.switch(monite_edit_flow="non_compliant")
    monite, invoice = at(ACCOUNT), sandbox.control.add_invoice(ACCOUNT)
    settings = monite.call("GET", f"/entities/{monite.credentials['entity_id']}/settings")
    assert settings.json["receivable_edit_flow"] == "non_compliant"
    monite.cancel(invoice)
    assert monite.fetch(invoice).json["related_documents"]["credit_note_ids"] == []


def test_two_cancels_carried_out_leave_two_credit_notes_behind(
    sandbox: SandboxServer, at: Open
) -> None:
    monite, invoice = at(ACCOUNT), sandbox.control.add_invoice(ACCOUNT)
    sandbox.control.set_fault("504", ACCOUNT, invoice, applied="later", delay=0.2)
    assert monite.cancel(invoice).status == 504
    assert monite.cancel(invoice).status == 204
    time.sleep(0.25)
    state = sandbox.control.invoice(ACCOUNT, invoice)
    assert len(state["extra"]["credit_notes"]) == 2
    assert len(state["cancelled_by"]) == 2


@pytest.mark.parametrize("status", ["draft", "paid", "partially_paid", "written_off", "cancelled"])
def test_a_status_that_forbids_cancelling_is_409(
    sandbox: SandboxServer, at: Open, status: str
) -> None:
    answer = at(ACCOUNT).cancel(sandbox.control.add_invoice(ACCOUNT, status=status))
    assert answer.status == 409
    assert list(answer.json["error"]) == ["message"]


def test_a_partly_paid_invoice_may_become_paid_by_switch(sandbox: SandboxServer, at: Open) -> None:
    sandbox.control.switch(monite_partially_paid="paid")
    monite, invoice = at(ACCOUNT), sandbox.control.add_invoice(ACCOUNT, status="partially_paid")
    assert monite.cancel(invoice).status == 204
    assert monite.fetch(invoice).json["status"] == "paid"


def test_a_quote_is_a_receivable_that_cannot_be_cancelled(sandbox: SandboxServer, at: Open) -> None:
    monite, quote = at(ACCOUNT), sandbox.control.add_invoice(ACCOUNT, status="quote")
    assert monite.fetch(quote).json["type"] == "quote"
    assert monite.cancel(quote).status == 409
    assert monite.call("GET", "/receivables?type=invoice").json["data"] == []


def test_an_unknown_id_is_404_and_a_malformed_one_422(sandbox: SandboxServer, at: Open) -> None:
    monite = at(ACCOUNT)
    assert monite.cancel(UNKNOWN).status == 404
    refused = monite.cancel("not-a-uuid")
    assert (refused.status, refused.json["detail"][0]["loc"]) == (422, ["path", "receivable_id"])


def test_the_token_call_refuses_extra_properties_and_wrong_secrets(at: Open) -> None:
    monite = at(ACCOUNT)
    assert monite.monite_token().json["expires_in"] == 86400
    assert monite.monite_token(scope="all").status == 422
    monite.credentials["client_secret"] = "wrong"
    assert monite.monite_token().status == 401
    assert monite.raw("GET", "/auth/token", None, monite.monite_headers()).status == 405


def test_without_a_version_header_the_answer_is_400_not_401(at: Open) -> None:
    monite = at(ACCOUNT)
    headers = {"Authorization": f"Bearer {monite.fetch_token()}"}
    answer = monite.raw("GET", "/receivables", None, headers)
    assert (answer.status, answer.json["error"]["type"]) == (400, "missing_api_version")
    headers["x-monite-version"] = "1999-01-01"
    assert monite.raw("GET", "/receivables", None, headers).status == 400


def test_without_an_entity_header_it_is_400_or_422_and_with_another_entity_404(
    sandbox: SandboxServer, at: Open
) -> None:
    monite = at(ACCOUNT)
    headers = {
        "Authorization": f"Bearer {monite.fetch_token()}",
        "x-monite-version": "2024-05-25",
    }
    assert monite.raw("GET", "/receivables", None, headers).status == 400
    sandbox.control.switch(monite_missing_entity=422)
    assert monite.raw("GET", "/receivables", None, headers).status == 422
    headers["x-monite-entity-id"] = UNKNOWN
    assert monite.raw("GET", "/receivables", None, headers).status == 404


def test_an_expired_token_is_401(sandbox: SandboxServer, at: Open) -> None:
    monite = at(ACCOUNT)
    assert monite.call("GET", "/receivables").status == 200
    sandbox.control.expire_tokens(ACCOUNT)
    assert monite.call("GET", "/receivables").status == 401


def test_a_list_goes_on_by_token_and_keeps_its_filters(sandbox: SandboxServer, at: Open) -> None:
    made = [sandbox.control.add_invoice(ACCOUNT, age_days=day) for day in range(5)]
    sandbox.control.add_invoice(ACCOUNT, status="paid")
    monite = at(ACCOUNT)
    first = monite.call("GET", "/receivables?type=invoice&status__in=issued&limit=3").json
    token = first["next_pagination_token"]
    second = monite.call("GET", f"/receivables?limit=3&pagination_token={token}&status=paid").json
    assert [row["id"] for row in first["data"] + second["data"]] == made
    assert second["next_pagination_token"] is None
    assert "total" not in first


def test_a_limit_above_the_documented_one_is_416(at: Open) -> None:
    monite = at(ACCOUNT)
    assert monite.call("GET", "/receivables?limit=100").status == 200
    assert monite.call("GET", "/receivables?limit=101").status == 416


def test_reading_by_ids_drops_unknown_ones_and_counts_as_a_fetch(
    sandbox: SandboxServer, at: Open
) -> None:
    ids = [sandbox.control.add_invoice(ACCOUNT) for _ in range(2)]
    query = "&".join(f"id__in={identity}" for identity in [*ids, UNKNOWN])
    answer = at(ACCOUNT).call("GET", f"/receivables?{query}")
    assert {row["id"] for row in answer.json["data"]} == set(ids)
    assert sandbox.control.log()[-1]["kind"] == "fetch"


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("total_amount__gt=1000", 1),
        ("total_amount__lte=1000", 1),
        ("counterpart_name__icontains=N%C3%96RD", 1),
        ("counterpart_name__contains=nope", 0),
        ("sort=total_amount&order=desc", 2),
    ],
)
def test_filters_find_what_they_should(
    sandbox: SandboxServer, at: Open, query: str, count: int
) -> None:
    sandbox.control.add_invoice(ACCOUNT, amount=1000, customer="Nördlich")
    sandbox.control.add_invoice(ACCOUNT, amount=2000)
    assert len(at(ACCOUNT).call("GET", f"/receivables?{query}").json["data"]) == count


def test_a_filter_that_does_not_exist_is_422(at: Open) -> None:
    assert at(ACCOUNT).call("GET", "/receivables?updated_at__gt=2026-01-01").status == 422


def test_a_search_takes_the_same_filters_as_json(sandbox: SandboxServer, at: Open) -> None:
    wanted = sandbox.control.add_invoice(ACCOUNT, status="paid")
    sandbox.control.add_invoice(ACCOUNT)
    answer = at(ACCOUNT).call("POST", "/receivables/search", {"status__in": ["paid"]})
    assert [row["id"] for row in answer.json["data"]] == [wanted]


def test_the_history_says_when_it_was_cancelled(sandbox: SandboxServer, at: Open) -> None:
    monite, invoice = at(ACCOUNT), sandbox.control.add_invoice(ACCOUNT)
    monite.cancel(invoice)
    path = f"/receivables/{invoice}/history?event_type__in=status_changed"
    events = monite.call("GET", path).json["data"]
    assert events[-1]["event_data"]["new_status"] == "canceled"


def test_a_draft_has_neither_number_nor_issue_date(sandbox: SandboxServer, at: Open) -> None:
    monite, draft = at(ACCOUNT), sandbox.control.add_invoice(ACCOUNT, status="draft")
    shown = monite.fetch(draft).json
    assert (shown["document_id"], shown["issue_date"]) == (None, None)
    assert monite.call("DELETE", f"/receivables/{draft}").status == 204


def test_beyond_the_rate_limit_it_is_429_with_retry_after(sandbox: SandboxServer, at: Open) -> None:
    monite, invoice = at(ACCOUNT), sandbox.control.add_invoice(ACCOUNT)
    monite.fetch(invoice)
    sandbox.control.limit(ACCOUNT, 3, 0.5)
    answers = [monite.fetch(invoice) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert int(answers[3].headers["retry-after"]) >= 1
    assert answers[2].headers["ratelimit-remaining"] == "0"
    assert sandbox.control.log()[-1]["throttled"]
    time.sleep(0.5)
    assert monite.fetch(invoice).status == 200


def test_two_entities_of_one_partner_share_a_token_and_nothing_else(
    sandbox: SandboxServer, at: Open
) -> None:
    monite = at(ACCOUNT)
    second = {**monite.credentials, "entity_id": UNKNOWN}
    sandbox.control.add_account("monite-two", "monite", second)
    here = sandbox.control.add_invoice(ACCOUNT)
    assert sandbox.control.add_invoice("monite-two") == here
    monite.token = monite.fetch_token()
    monite.credentials["entity_id"] = UNKNOWN
    assert monite.cancel(here).status == 204
    assert sandbox.control.invoice(ACCOUNT, here)["status"] == "issued"
    assert sandbox.control.log()[-1]["account"] == "monite-two"


def test_a_pagination_token_that_is_none_is_422(at: Open) -> None:
    monite = at(ACCOUNT)
    assert monite.call("GET", "/receivables?pagination_token=nonsense").status == 422
    assert monite.call("GET", "/receivables?pagination_token=MQ==").status == 422
