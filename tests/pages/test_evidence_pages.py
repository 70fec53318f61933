"""Provider calls and history, for auditors."""

from datetime import datetime

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from time_machine import TimeMachineFixture

from invoices.admin.readonly import PER_PAGE
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


def test_calls_are_filtered_by_one_status_fault_or_that_nothing_was_sent(client: Client) -> None:
    login(client, "auditor")
    invoice = InvoiceFactory.create()
    call(invoice, correlation_id="gone", status=404)
    call(invoice, correlation_id="teapot", status=418)
    call(invoice, correlation_id="late", status=None, fault="timeout", complete=False)
    call(invoice, correlation_id="never", status=None, fault="dns", complete=False, sent=False)
    assert shown(client, "status=404") == {"gone"}
    assert shown(client, "status=418") == {"teapot"}
    assert shown(client, "fault=timeout") == {"late"}
    assert shown(client, "answer=unsent") == {"never"}
    assert shown(client, "answer=fault") == {"late", "never"}
    for nonsense in ("status=4", "status=x", "status=" + "9" * 40, "fault=", "fault=x"):
        assert shown(client, nonsense) == set(), nonsense


def test_an_invoice_number_finds_all_calls_about_it(client: Client) -> None:
    login(client, "auditor")
    invoice = InvoiceFactory.create(number="T-1")
    other = InvoiceFactory.create(number="T-12", account=invoice.account)
    call(invoice, correlation_id="one")
    call(other, correlation_id="other")
    for query in ("T-1", "t-1", invoice.external_id):
        assert shown(client, f"q={query}") == {"one"}


def at(minute: str) -> datetime:
    return datetime.fromisoformat(f"2026-03-01T{minute}:30+00:00")


@pytest.mark.parametrize(
    ("span", "found"),
    [
        ("since=2026-03-01T10:00", {"10:00", "11:00", "12:00"}),
        ("since=2026-03-01T10:01", {"11:00", "12:00"}),
        ("until=2026-03-01T11:00", {"09:00", "10:00", "11:00"}),
        ("until=2026-03-01T10:59", {"09:00", "10:00"}),
        ("since=2026-03-01T10:00&until=2026-03-01T11:00", {"10:00", "11:00"}),
        ("since=2026-03-01&until=2026-03-01", {"09:00", "10:00", "11:00", "12:00"}),
        ("since=2026-03-02", set()),
        ("until=2026-02-28", set()),
        ("since=yesterday", set()),
        ("since=0001-01-01T00:00", set()),
        ("until=9999-12-31", set()),
        ("since=2026-02-30", set()),
        ("since=&until=", {"09:00", "10:00", "11:00", "12:00"}),
    ],
)
def test_both_lists_are_filtered_by_time(
    client: Client, time_machine: TimeMachineFixture, span: str, found: set[str]
) -> None:
    invoice = InvoiceFactory.create()
    for minute in ("09:00", "10:00", "11:00", "12:00"):
        time_machine.move_to(at(minute))
        call(invoice, correlation_id=minute)
        HistoryEvent.objects.create(kind="account_paused", detail=minute, at=at(minute))
    login(client, "auditor")
    assert shown(client, span) == found
    rows = client.get(f"{HISTORY}?{span}").context["cl"].result_list
    assert {row.detail for row in rows} == found


def test_the_time_is_entered_in_a_form_that_keeps_the_other_filters(client: Client) -> None:
    login(client, "auditor")
    invoice = InvoiceFactory.create()
    call(invoice)
    page = text(client, f"{CALLS}?purpose=cancel&since=2026-03-01T10:00&before={call(invoice).pk}")
    form = page[page.index('class="pill-form"') :].partition("</form>")[0]
    assert 'name="since" value="2026-03-01T10:00"' in form
    assert '<input type="hidden" name="purpose" value="cancel">' in form
    assert 'name="before"' not in form


@pytest.mark.parametrize("address", [CALLS, HISTORY])
def test_pages_follow_one_another_by_key_and_back(client: Client, address: str) -> None:
    user = login(client, "auditor")
    made = attempt(running(user), InvoiceFactory.create(), "refused")
    keys = []
    for _ in range(PER_PAGE * 2 + 10):
        keys.append(call(made.invoice, made).pk if address == CALLS else event(made, "refused").pk)
    keys.sort(reverse=True)
    list_ = client.get(f"{address}?account={made.account_id}").context["cl"]
    assert (list_.newer_url, list_.newest_url) == ("", "")
    pages = []
    while True:
        pages.append([row.pk for row in list_.result_list])
        if not list_.older_url:
            break
        assert f"account={made.account_id}" in list_.older_url
        list_ = client.get(address + list_.older_url).context["cl"]
    assert pages == [keys[:PER_PAGE], keys[PER_PAGE : PER_PAGE * 2], keys[PER_PAGE * 2 :]]
    for expected in reversed(pages[:-1]):
        list_ = client.get(address + list_.newer_url).context["cl"]
        assert [row.pk for row in list_.result_list] == expected
        assert list_.older_url
    assert list_.newer_url == ""
    for nonsense in ("before=nonsense", "after=-1", "before=" + "9" * 40):
        assert not client.get(f"{address}?{nonsense}").context["cl"].result_list


def test_no_page_counts_or_skips_rows(client: Client) -> None:
    user = login(client, "auditor")
    made = attempt(running(user), InvoiceFactory.create(), "refused")
    oldest = [call(made.invoice, made).pk for _ in range(PER_PAGE + 5)][3]
    for query in ("", f"before={oldest}", f"after={oldest}", "p=3"):
        with CaptureQueriesContext(connection) as taken:
            text(client, f"{CALLS}?{query}")
        asked = [one["sql"] for one in taken if "invoices_providerrequest" in one["sql"]]
        assert asked
        assert not [sql for sql in asked if "COUNT(" in sql.upper() or "OFFSET" in sql.upper()]


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
    assert client.get(f"{CALLS}{request.pk}/answer.txt").status_code == 404


@pytest.mark.parametrize("pk", ["abc", "0", "00000000-0000-0000-0000-000000000000"])
def test_a_call_that_is_not_there_is_no_error(client: Client, pk: str) -> None:
    login(client, "auditor")
    assert client.get(f"{CALLS}{pk}/change/", follow=True).status_code == 200
    for part in ("payload/request/", "payload/answer/", "request.txt", "answer-head.txt"):
        assert client.get(f"{CALLS}{pk}/{part}", follow=True).status_code in (200, 404)


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


def details(client: Client, query: str) -> set[str]:
    """What the history tells under these filters."""
    answer = client.get(f"{HISTORY}?{query}")
    assert answer.status_code == 200
    return {row.detail for row in answer.context["cl"].result_list}


def test_the_history_of_a_person_is_what_they_did_and_what_was_done_with_them(
    client: Client,
) -> None:
    login(client, "auditor")
    dora = UserFactory.create(username="dora", first_name="Dora", last_name="Diaz")
    eve = UserFactory.create(username="eve")
    HistoryEvent.objects.create(kind="account_paused", actor=dora, detail="by dora")
    about = {"code": f"person:{dora.pk}", "detail": "about dora"}
    HistoryEvent.objects.create(kind="user_changed", actor=eve, **about)
    HistoryEvent.objects.create(kind="account_paused", actor=eve, detail="by eve")
    for query in (f"person={dora.pk}", "q=dora", "q=diaz", "q=Dora+Diaz"):
        assert details(client, query) == {"by dora", "about dora"}, query
    assert details(client, "q=nobody") == set()
    assert details(client, "person=0") == set()
    assert details(client, "person=x") == set()


def test_the_history_is_searched_by_batch_and_invoice_number(client: Client) -> None:
    user = login(client, "auditor")
    batch, other = running(user), running(user)
    invoice = InvoiceFactory.create(number="T-7")
    namesake = InvoiceFactory.create(number=str(batch.pk), account=invoice.account)
    event(attempt(batch, invoice, "refused"), "refused", detail="of the batch")
    event(attempt(other, namesake, "refused"), "refused", detail="of the namesake")
    assert details(client, f"q=Batch+{batch.pk}") == {"of the batch"}
    assert details(client, f"q=%23{batch.pk}") == {"of the batch"}
    assert details(client, f"q={batch.pk}") == {"of the batch", "of the namesake"}
    assert details(client, "q=t-7") == {"of the batch"}
    for nonsense in ("9" * 30, "a b c d e f g h", "%25", "'" * 90):
        details(client, f"q={nonsense}")


def test_who_could_not_sign_in_is_somebody_and_not_annul(client: Client) -> None:
    login(client, "auditor")
    HistoryEvent.objects.create(kind="sign_in_failed", address="203.0.113.9")
    page = text(client, HISTORY)
    assert "Somebody" in page
    assert "203.0.113.9" in page


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
