"""Provider calls and history, for auditors."""

import pytest
from django.test import Client

from invoices.models import HistoryEvent, ProviderRequest
from tests.factories import AccountFactory, InvoiceFactory, UserFactory
from tests.pages.scenes import CALLS, HISTORY, attempt, call, event, login, queries, running, text

pytestmark = pytest.mark.django_db


def shown(client: Client, query: str) -> set[str]:
    answer = client.get(f"{CALLS}?{query}")
    assert answer.status_code == 200
    return {row.response.correlation_id for row in answer.context["cl"].result_list}


def test_calls_are_filtered_by_account_purpose_and_answer(client: Client) -> None:
    login(client, "auditor")
    one = InvoiceFactory.create()
    other = InvoiceFactory.create(account=AccountFactory.create(name="monite-nord"))
    call(one, correlation_id="yes")
    call(one, correlation_id="no", status=422)
    call(other, correlation_id="read", purpose="fetch", status=503)
    call(other, correlation_id="cut", status=200, fault="connection_lost", complete=False)
    assert shown(client, "") == {"yes", "no", "read", "cut"}
    assert shown(client, f"account={one.account_id}") == {"yes", "no"}
    assert shown(client, "purpose=fetch") == {"read"}
    assert shown(client, "answer=4") == {"no"}
    assert shown(client, "answer=5") == {"read"}
    assert shown(client, "answer=fault") == {"cut"}
    assert shown(client, "answer=open") == set()


def test_a_whole_correlation_id_or_request_id_finds_its_call(client: Client) -> None:
    login(client, "auditor")
    invoice = InvoiceFactory.create()
    request = call(invoice, correlation_id="f00")
    call(invoice, correlation_id="f001")
    assert shown(client, "q=f00") == {"f00"}
    assert shown(client, f"q={request.pk}") == {"f00"}
    assert shown(client, "q=f0") == set()


def test_older_calls_are_paged_by_key(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("invoices.admin.readonly.COUNTED", 50)
    login(client, "auditor")
    invoice = InvoiceFactory.create()
    for number in range(60):
        call(invoice, correlation_id=f"c{number}")
    assert "Older ones" not in text(client, CALLS)
    last = client.get(f"{CALLS}?p=2")
    assert "Older ones" in last.content.decode()
    oldest = list(last.context["cl"].result_list)[-1].pk
    paged = shown(client, "") | shown(client, "p=2")
    older = shown(client, f"before={oldest}")
    assert (len(paged), len(older), len(paged | older)) == (51, 9, 60)
    assert shown(client, "before=nonsense") == set()


@pytest.mark.parametrize("address", [CALLS, HISTORY])
def test_lists_take_no_query_for_each_row(client: Client, address: str) -> None:
    user = login(client, "auditor")
    invoice = InvoiceFactory.create()
    text(client, CALLS)
    counts = []
    for more in (10, 30):
        for _ in range(more):
            made = attempt(running(user), invoice, "refused")
            call(invoice, made)
            event(made, "refused", actor=user)
        counts.append(queries(client, address))
    assert counts[0] == counts[1]


def test_lists_do_not_load_payloads(client: Client) -> None:
    login(client, "auditor")
    call(InvoiceFactory.create(), body=b"x" * 1000)
    row = client.get(CALLS).context["cl"].result_list[0]
    assert {"headers", "body"} <= row.get_deferred_fields()
    assert {"headers", "body"} <= row.response.get_deferred_fields()


def test_a_call_without_an_answer_has_its_page(client: Client) -> None:
    login(client, "auditor")
    request = ProviderRequest.objects.create(
        account=AccountFactory.create(),
        purpose="list",
        method="GET",
        url="https://provider.example/",
        headers=b"[]",
        body=b"",
    )
    page = text(client, f"{CALLS}{request.pk}/change/")
    assert "Not known: no answer is on record" in page
    assert "Not recorded" in text(client, CALLS)
    assert client.get(f"{CALLS}{request.pk}/response.txt").status_code == 404


@pytest.mark.parametrize("pk", ["abc", "0", "00000000-0000-0000-0000-000000000000"])
def test_a_call_that_is_not_there_is_no_error(client: Client, pk: str) -> None:
    login(client, "auditor")
    assert client.get(f"{CALLS}{pk}/change/", follow=True).status_code == 200
    assert client.get(f"{CALLS}{pk}/payload/", follow=True).status_code in (200, 404)


def test_history_is_filtered_by_kind_batch_and_invoice(client: Client) -> None:
    user = login(client, "auditor")
    one, other = (
        InvoiceFactory.create(),
        InvoiceFactory.create(account=AccountFactory.create(name="monite-nord")),
    )
    first, second = running(user), running(user)
    event(attempt(first, one, "refused"), "refused")
    event(attempt(second, other, "refused"), "refused")
    HistoryEvent.objects.create(kind="account_paused", account=one.account)
    for query, count in (
        ("", 3),
        ("kind=attempt_state", 2),
        (f"batch={first.pk}", 1),
        (f"invoice={other.pk}", 1),
        (f"account={one.account_id}", 2),
        ("batch=x", 0),
        ("batch=" + "9" * 40, 0),
    ):
        answer = client.get(f"{HISTORY}?{query}")
        assert len(answer.context["cl"].result_list) == count, query


def test_an_event_has_its_page(client: Client) -> None:
    user = login(client, "auditor")
    made = attempt(running(user), InvoiceFactory.create(), "refused", code="paid")
    seen = event(made, "refused", from_state="sending", code="paid")
    page = text(client, f"{HISTORY}{seen.pk}/change/")
    assert "It is paid." in page
    assert "Annul" in page


@pytest.mark.parametrize("address", [CALLS, HISTORY])
def test_records_cannot_be_changed_even_by_a_superuser(client: Client, address: str) -> None:
    user = UserFactory.create(is_superuser=True)
    client.force_login(user)
    made = attempt(running(user), InvoiceFactory.create(), "refused")
    pk = call(made.invoice, made).pk if address == CALLS else event(made, "refused").pk
    for page in ("add/", f"{pk}/delete/", f"{pk}/change/"):
        assert client.post(address + page, {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("address", [CALLS, HISTORY])
def test_empty_lists_say_what_will_appear(client: Client, address: str) -> None:
    login(client, "auditor")
    assert "Nothing is on record yet." in text(client, address)


@pytest.mark.parametrize(
    "parameter", ["response__body__contains", "headers__startswith", "actor__password__startswith"]
)
def test_no_field_can_be_guessed_at(client: Client, parameter: str) -> None:
    login(client, "auditor")
    for address in (CALLS, HISTORY):
        assert client.get(address, {parameter: "a"}).status_code == 400
