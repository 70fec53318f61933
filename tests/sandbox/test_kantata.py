"""Kantata's dialect against its reference."""

from __future__ import annotations

import pytest

from providers.sandbox import SandboxServer
from tests.sandbox.conftest import Open

ACCOUNT = "kantata-studio"


@pytest.mark.parametrize("suffix", ["", ".json"])
def test_cancelling_answers_200_with_the_envelope(
    sandbox: SandboxServer, at: Open, suffix: str
) -> None:
    kantata, invoice = at(ACCOUNT), sandbox.control.add_invoice(ACCOUNT)
    answer = kantata.call("PUT", f"/invoices/{invoice}/cancel{suffix}")
    assert answer.status == 200
    assert answer.json["results"] == [{"key": "invoices", "id": invoice}]
    assert answer.json["invoices"][invoice]["status"] == "cancelled"
    assert kantata.fetch(invoice).json["invoices"][invoice]["status"] == "cancelled"
    assert answer.headers["x-request-id"]


def test_a_cancel_by_post_is_404_and_cancels_nothing(sandbox: SandboxServer, at: Open) -> None:
    kantata, invoice = at(ACCOUNT), sandbox.control.add_invoice(ACCOUNT)
    assert kantata.call("POST", f"/invoices/{invoice}/cancel").status == 404
    assert sandbox.control.invoice(ACCOUNT, invoice)["status"] == "new"


@pytest.mark.parametrize("status", ["paid", "draft"])
def test_paid_and_draft_are_refused_with_a_validation_error(
    sandbox: SandboxServer, at: Open, status: str
) -> None:
    answer = at(ACCOUNT).cancel(sandbox.control.add_invoice(ACCOUNT, status=status))
    assert (answer.status, answer.json["errors"][0]["type"]) == (422, "validation")


@pytest.mark.parametrize("status", [200, 400, 422])
def test_already_cancelled_answers_what_the_switch_says(
    sandbox: SandboxServer, at: Open, status: int
) -> None:
    sandbox.control.switch(kantata_already_cancelled=status)
    invoice = sandbox.control.add_invoice(ACCOUNT, status="cancelled")
    assert at(ACCOUNT).cancel(invoice).status == status
    assert sandbox.control.log()[-1]["applied"] == []


def test_an_unknown_and_a_hidden_invoice_are_404(sandbox: SandboxServer, at: Open) -> None:
    hidden = sandbox.control.add_invoice(ACCOUNT, extra={"hidden": True})
    kantata = at(ACCOUNT)
    assert kantata.cancel("1").status == kantata.cancel(hidden).status == 404
    assert kantata.call("GET", "/invoices").json["count"] == 0


def test_a_wrong_token_is_401_of_type_oauth(at: Open) -> None:
    kantata = at(ACCOUNT)
    kantata.credentials["token"] = "wrong"
    answer = kantata.call("GET", "/invoices")
    assert answer.status == 401
    assert answer.json == {"errors": [{"type": "oauth", "message": "Invalid OAuth 2 Request"}]}


def test_associations_come_only_when_included(sandbox: SandboxServer, at: Open) -> None:
    invoice = sandbox.control.add_invoice(ACCOUNT, customer="株式会社さくら")
    kantata = at(ACCOUNT)
    plain = kantata.fetch(invoice).json
    assert "recipient_id" not in plain["invoices"][invoice]
    assert "users" not in plain
    full = kantata.call("GET", f"/invoices/{invoice}?include=recipient,workspaces").json
    recipient = full["invoices"][invoice]["recipient_id"]
    assert full["users"][recipient]["full_name"] == "株式会社さくら"
    assert full["workspaces"][full["invoices"][invoice]["workspace_ids"][0]]["title"]
    assert kantata.call("GET", f"/invoices/{invoice}?include=nonsense").status == 400


def test_a_list_pages_by_page_and_limit_and_offset_win(sandbox: SandboxServer, at: Open) -> None:
    made = [sandbox.control.add_invoice(ACCOUNT, age_days=day) for day in range(5)]
    kantata = at(ACCOUNT)
    shown = kantata.call("GET", "/invoices?page=2&per_page=2").json
    assert [row["id"] for row in shown["results"]] == made[2:4]
    assert shown["meta"] == {"count": 5, "page_count": 3, "page_number": 2, "page_size": 2}
    shown = kantata.call("GET", "/invoices?page=2&per_page=2&limit=1&offset=4").json
    assert [row["id"] for row in shown["results"]] == made[4:]
    assert kantata.call("GET", "/invoices?per_page=500").json["meta"]["page_size"] == 200
    assert kantata.call("GET", "/invoices?page=0").status == 400


def test_only_drops_unknown_ids_and_counts_as_a_fetch(sandbox: SandboxServer, at: Open) -> None:
    ids = [sandbox.control.add_invoice(ACCOUNT) for _ in range(2)]
    answer = at(ACCOUNT).call("GET", f"/invoices?only={','.join(ids)},1")
    assert set(answer.json["invoices"]) == set(ids)
    entry = sandbox.control.log()[-1]
    assert (entry["kind"], entry["ids"]) == ("fetch", [*ids, "1"])


@pytest.mark.parametrize(
    ("query", "statuses"),
    [
        ("paid=true", ["accepted payment"]),
        ("paid=false&without_drafts=true", ["cancelled", "new"]),
        ("pending=true", ["cancelled", "new"]),
        ("without_drafts=true", ["accepted payment", "cancelled", "new"]),
        ("updated_after=2999-01-01T00:00:00Z", []),
        ("created_before=2999-01-01T00:00:00%2B01:00&paid=true", ["accepted payment"]),
        ("user_invoice_number=1000,1001", ["cancelled", "new"]),
    ],
)
def test_filters_find_what_they_should(
    sandbox: SandboxServer, at: Open, query: str, statuses: list[str]
) -> None:
    for status in ("open", "cancelled", "paid", "draft"):
        sandbox.control.add_invoice(ACCOUNT, status=status)
    rows = at(ACCOUNT).call("GET", f"/invoices?{query}").json["invoices"].values()
    assert sorted(row["status"] for row in rows) == statuses


def test_the_order_is_newest_first_unless_asked_otherwise(sandbox: SandboxServer, at: Open) -> None:
    made = [sandbox.control.add_invoice(ACCOUNT, age_days=day) for day in range(3)]
    shown = at(ACCOUNT).call("GET", "/invoices?order=created_at:asc").json["results"]
    assert [row["id"] for row in shown] == made[::-1]


@pytest.mark.parametrize(("currency", "unit"), [("EUR", 100), ("JPY", 1), ("KWD", 1000)])
def test_the_base_unit_belongs_to_the_currency_and_there_is_no_total(
    sandbox: SandboxServer, at: Open, currency: str, unit: int
) -> None:
    invoice = sandbox.control.add_invoice(ACCOUNT, amount=777, currency=currency)
    shown = at(ACCOUNT).fetch(invoice).json["invoices"][invoice]
    assert (shown["balance_in_cents"], shown["currency_base_unit"]) == (777, unit)
    assert "total" not in shown


def test_a_draft_is_a_flag_beside_the_status_and_can_be_deleted(
    sandbox: SandboxServer, at: Open
) -> None:
    draft, sent = (sandbox.control.add_invoice(ACCOUNT, status=s) for s in ("draft", "open"))
    kantata = at(ACCOUNT)
    shown = kantata.fetch(draft).json["invoices"][draft]
    assert (shown["status"], shown["draft"]) == ("new", True)
    assert kantata.call("DELETE", f"/invoices/{draft}").status == 204
    assert kantata.call("DELETE", f"/invoices/{sent}").status == 422


def test_a_payment_can_be_looked_up(sandbox: SandboxServer, at: Open) -> None:
    paid = sandbox.control.add_invoice(ACCOUNT, status="paid", amount=900)
    answer = at(ACCOUNT).call("GET", f"/external_payments?invoice_id={paid}").json
    assert answer["external_payments"][f"9{paid}"]["amount_in_cents"] == 900
