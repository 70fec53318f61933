"""The list of invoices: what it shows, how it is filtered, and who may act on it."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from invoices.models import CancellationBatch, Invoice, SyncRun
from invoices.search import searchable
from tests.factories import AccountFactory, InvoiceFactory
from tests.pages.scenes import LIST, XSS, attempt, call, invoices, login, queries, running, text

pytestmark = pytest.mark.django_db

ALL = {"action": "cancel_selected", "select_across": "1", "index": "0"}


def shown(client: Client, query: str) -> set[str]:
    answer = client.get(f"{LIST}?{query}")
    assert answer.status_code == 200
    return {row.number for row in answer.context["cl"].result_list}


def test_a_row_has_amount_status_and_the_providers_own_word(client: Client) -> None:
    login(client, "operator")
    InvoiceFactory.create(amount_minor=123_456, status="partially_paid", provider_status="PART")
    page = text(client, LIST)
    assert '<span class="money">1,234.56 EUR</span>' in page
    assert 'data-state="partially_paid">Partially paid<' in page
    assert "At the provider: PART" in page


def test_what_is_overdue_is_marked_while_it_is_open(client: Client) -> None:
    login(client, "operator")
    account, past = AccountFactory.create(), timezone.localdate() - timedelta(days=1)
    InvoiceFactory.create(account=account, due_on=past, status="paid")
    assert "overdue</strong>" not in text(client, LIST)
    InvoiceFactory.create(account=account, due_on=past)
    assert "overdue</strong>" in text(client, LIST)


def test_the_last_attempt_is_shown_and_drafts_are_not_attempts(client: Client) -> None:
    user = login(client, "operator")
    invoice = InvoiceFactory.create()
    attempt(running(user), invoice, "refused", code="paid")
    attempt(running(user), invoice, "cancelled")
    attempt(running(user), invoice, "ineligible")
    page = text(client, LIST)
    assert "verification pending" in page
    assert 'data-state="refused"' not in page


def test_each_filter_finds_its_own(client: Client) -> None:
    user = login(client, "operator")
    one, other = AccountFactory.create(), AccountFactory.create(name="monite-nord")
    today = timezone.localdate()
    InvoiceFactory.create(account=one, number="A", due_on=today - timedelta(days=2))
    InvoiceFactory.create(account=other, number="B", status="paid", due_on=today)
    tried = InvoiceFactory.create(
        account=one, number="C", currency="XAU", due_on=today + timedelta(20)
    )
    attempt(running(user), tried, "refused", code="paid")
    assert shown(client, f"account={other.pk}") == {"B"}
    assert shown(client, "status=paid") == {"B"}
    assert shown(client, "currency=XAU") == {"C"}
    assert shown(client, "currency=EUR") == {"A", "B"}
    assert shown(client, "due=overdue") == {"A"}
    assert shown(client, "due=7") == {"B"}
    assert shown(client, "due=30") == {"B", "C"}
    assert shown(client, "due=none") == set()
    assert shown(client, "attempt=never") == {"A", "B"}
    assert shown(client, "attempt=refused") == {"C"}
    assert shown(client, "attempt=working") == set()


def test_what_is_due_soon_is_sorted_like_everything(client: Client) -> None:
    login(client, "operator")
    account, today = AccountFactory.create(), timezone.localdate()
    for number, days, minor in (("B", 1, 300), ("A", 2, 100), ("C", 3, 200)):
        InvoiceFactory.create(
            account=account,
            number=number,
            amount_minor=minor,
            issued_on=today - timedelta(days=10 * days),
            due_on=today + timedelta(days=days),
        )

    def order(query: str) -> str:
        rows = client.get(f"{LIST}?due=7{query}").context["cl"].result_list
        return "".join(row.number for row in rows)

    assert order("") == "BAC"
    assert [order("&o=1"), order("&o=-1")] == ["ABC", "CBA"]
    assert [order("&o=4"), order("&o=-4")] == ["ACB", "BCA"]
    assert order("&o=6") == "CAB"


def test_a_value_that_no_pill_offers_finds_nothing(client: Client) -> None:
    login(client, "operator")
    InvoiceFactory.create()
    for query in ("account=x", "status=zzz", "due=forever", "attempt=draft", "currency="):
        assert shown(client, query) == set(), query


@pytest.mark.parametrize(
    "parameter",
    ["search_text__startswith", "account__sealed_credentials__gt", "status__in", "id__gt", "zzz"],
)
def test_a_field_cannot_be_guessed_at_through_the_address(client: Client, parameter: str) -> None:
    login(client, "operator")
    assert client.get(LIST, {parameter: "a"}).status_code == 400


def test_an_exact_hit_says_that_it_hides_others_and_links_to_them(client: Client) -> None:
    login(client, "operator")
    account = AccountFactory.create()
    for number in ("INV-1", "INV-10"):
        InvoiceFactory.create(account=account, number=number, search_text=searchable(number))
    page = text(client, f"{LIST}?q=INV-1")
    assert "This invoice is called exactly “INV-1”" in page
    assert "?partly=INV-1&amp;q=INV-1" in page
    assert shown(client, "q=INV-1&partly=INV-1") == {"INV-1", "INV-10"}
    assert shown(client, "q=INV-1&partly=another") == {"INV-1"}


def test_empty_lists_say_what_to_do_next(client: Client) -> None:
    login(client, "operator")
    page = text(client, LIST)
    assert "No invoices yet." in page
    assert "Import" in page
    assert "Nothing matches." in text(client, f"{LIST}?q=zzz")


def test_a_search_that_is_too_long_says_so_and_offers_its_beginning(client: Client) -> None:
    login(client, "operator")
    InvoiceFactory.create()
    page = text(client, f"{LIST}?q=a+b+c+d+e+f&status=open")
    assert "at most 5 words. Nothing was looked for." in page
    assert '<a href="?q=a+b+c+d+e&amp;status=open">Search for “a b c d e”</a>' in page
    page = text(client, f"{LIST}?q={'x' * 200}")
    assert "at most 100 characters. Nothing was looked for." in page
    assert f'<a href="?q={"x" * 100}">' in page


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("amount_from=12", "ABC"),
        ("amount_from=12.01", "C"),
        ("amount_to=12", "AB"),
        ("amount_from=12&amount_to=12.00", "AB"),
        ("amount_to=11.999", ""),
        ("amount_from=1,234.5&amount_to=1.234,51", "C"),
        ("amount_from=12&currency=JPY", "B"),
    ],
)
@pytest.mark.parametrize("many", [10_000, 0])
def test_a_range_of_amounts_knows_the_decimal_places_of_each_currency(
    client: Client, query: str, expected: str, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("invoices.amounts.MANY_HITS", many)  # Found along either index.
    login(client, "operator")
    account = AccountFactory.create()
    for number, minor, exponent, currency in (
        ("A", 1200, 2, "EUR"),
        ("B", 12, 0, "JPY"),
        ("C", 1_234_501, 3, "KWD"),
        ("D", None, 2, "EUR"),
    ):
        InvoiceFactory.create(
            account=account,
            number=number,
            amount_minor=minor,
            exponent=exponent,
            currency=currency,
        )
    assert shown(client, query) == set(expected)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("amount_from=abc", "“abc” cannot be read as an amount."),
        ("amount_from=1&amount_to=-1", "“-1” cannot be read as an amount."),
        ("amount_from=9&amount_to=1", "ends below where it begins: 9 to 1."),
    ],
)
def test_a_range_that_is_none_finds_nothing_and_says_what_is_wrong(
    client: Client, query: str, said: str
) -> None:
    login(client, "operator")
    InvoiceFactory.create()
    assert said in text(client, f"{LIST}?{query}")
    assert shown(client, query) == set()
    client.post(f"{LIST}?{query}", ALL)
    assert not CancellationBatch.objects.exists()


def test_a_range_is_named_in_the_batch_and_keeps_the_other_filters(client: Client) -> None:
    login(client, "operator")
    InvoiceFactory.create()
    page = text(client, f"{LIST}?status=open&q=sample&amount_from=100")
    assert '<input type="hidden" name="status" value="open">' in page
    client.post(f"{LIST}?status=open&amount_from=100", ALL)
    assert CancellationBatch.objects.get().selection == (
        "All invoices: status Open, amount from 100"
    )


def test_the_currencies_to_choose_from_are_those_that_occur(client: Client) -> None:
    login(client, "operator")
    account = AccountFactory.create()

    def choices() -> list[str]:
        page = client.get(LIST).context["cl"]
        [pill] = [spec for spec in page.filter_specs if spec.title == "currency"]
        return [one for one, _ in pill.lookup_choices]

    assert choices() == []
    for currency in ("USD", "EUR", ""):
        InvoiceFactory.create(account=account, number=currency or "none", currency=currency)
    assert choices() == ["EUR", "USD", "other"]
    assert shown(client, "currency=other") == {"none"}
    assert shown(client, "currency=XAU") == set()
    for at in range(15):
        InvoiceFactory.create(account=account, number="rare", currency=f"X{at:02}")
    assert choices() == ["EUR", "USD", "other"]
    assert shown(client, "currency=other") == {"none", "rare"}


def test_a_row_says_why_it_was_found_where_it_does_not_show_it(client: Client) -> None:
    user = login(client, "operator")
    made = InvoiceFactory.create(
        number="A-1",
        external_id="INV2-XYZ",
        customer_name="Müller & Söhne",
        customer_email="pay@shop.example",
        search_text=searchable("A-1", "INV2-XYZ", "Müller & Söhne", "pay@shop.example"),
    )
    batch = running(user)
    attempt(batch, made, "refused", code="paid")

    def row(query: str) -> str:
        page = text(client, f"{LIST}?q={query}")
        return page[page.index('id="result_list"') : page.index("</table>")]

    assert '<span class="why">e-mail <bdi>pay@<mark>shop</mark>.example</bdi>' in row("shop")
    assert '<span class="why">provider id <bdi>INV2-<mark>XYZ</mark>' in row("xyz")
    assert '<span class="why">provider id <bdi><mark>INV2-XYZ</mark>' in row("inv2-xyz")
    assert "<bdi><mark>Müller</mark> &amp; Söhne</bdi>" in row("MULLER")
    assert '<mark><span class="money">123.45 EUR</span></mark>' in row("123.45")
    for visible in ("MULLER", "123.45", "A-1", "123.45+eur"):
        assert 'class="why"' not in row(visible), visible
    said = f'<span class="why">batch <bdi><mark>{batch.pk}</mark>'
    assert said in row(f"batch+{batch.pk}")
    assert said in row(f"%23{batch.pk}+muller")


def test_a_call_is_found_by_its_correlation_id_and_named(client: Client) -> None:
    login(client, "support")
    call(InvoiceFactory.create(), correlation_id="f00-ba4")
    page = text(client, f"{LIST}?q=f00-ba4")
    assert '<span class="why">correlation id <bdi><mark>f00-ba4</mark>' in page


def test_pages_hold_fifty_rows_or_a_hundred(client: Client) -> None:
    login(client, "operator")
    invoices(AccountFactory.create(), 101)
    assert len(shown(client, "")) == 50
    assert len(shown(client, "rows=100")) == 100
    assert len(shown(client, "p=2&rows=100")) == 1


def test_it_sorts_by_columns_that_have_an_index_and_by_no_other(client: Client) -> None:
    login(client, "operator")
    account = AccountFactory.create()
    for number, amount, customer in (("A", 2, "z"), ("B", 3, "y"), ("C", 1, "x")):
        InvoiceFactory.create(
            account=account, number=number, amount_minor=amount, customer_name=customer
        )

    def order(query: str) -> str:
        rows = client.get(f"{LIST}?{query}").context["cl"].result_list
        return "".join(row.number for row in rows)

    assert order("") == "CBA"
    assert (order("o=1"), order("o=-1")) == ("ABC", "CBA")
    assert (order("o=4"), order("o=-4")) == ("CAB", "BAC")
    assert order("o=2") == order("o=3") == order("o=5") == order("")


def test_the_menu_sorts_as_the_heads_of_the_columns_do(client: Client) -> None:
    login(client, "operator")
    account = AccountFactory.create()
    for number, amount in (("A", 2), ("B", 3), ("C", 1)):
        InvoiceFactory.create(account=account, number=number, amount_minor=amount)
    for role in ("operator", "support"):  # Whoever has no actions has a column less.
        login(client, role)
        page = client.get(f"{LIST}?status=open").context["cl"]
        [menu] = [spec for spec in page.filter_specs if spec.title == "sort"]
        links = {one["display"]: one["query_string"] for one in menu.choices(page)}
        rows = client.get(LIST + links["Largest amount first"]).context["cl"].result_list
        assert "".join(row.number for row in rows) == "BAC"
        rows = client.get(LIST + links["By number"]).context["cl"].result_list
        assert "".join(row.number for row in rows) == "ABC"
        assert links["Newest first"] == "?status=open"


def test_counting_stops_and_says_so(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("invoices.admin.readonly.COUNTED", 100)
    login(client, "operator")
    invoices(AccountFactory.create(), 120)
    page = text(client, LIST)
    assert "more than 10,000 invoices" in page
    assert "Select all that match" in page
    assert "All 101" not in page


def test_a_page_costs_the_same_number_of_queries_at_any_length(client: Client) -> None:
    user, account = login(client, "operator"), AccountFactory.create()
    text(client, LIST)  # The first page of a session also writes the session.
    counts = []
    for more in (10, 190):
        for row in invoices(account, more):
            attempt(running(user), row, "refused", code="paid")
        counts.append(queries(client, f"{LIST}?rows=100"))
    assert counts[0] == counts[1]
    assert counts[0] <= 14


def test_ticked_rows_become_a_draft_and_nothing_is_sent(client: Client) -> None:
    login(client, "operator")
    chosen = invoices(AccountFactory.create(), 3)
    ticked = {**ALL, "select_across": "0", "_selected_action": [chosen[0].pk, chosen[1].pk]}
    answer = client.post(LIST, ticked)
    batch = CancellationBatch.objects.get()
    assert answer["Location"] == f"/admin/invoices/cancellationbatch/{batch.pk}/preview/"
    assert (batch.state, batch.selected_count) == ("draft", 2)
    assert batch.selection == "2 ticked invoices"


def test_all_that_match_are_frozen_without_their_ids(client: Client) -> None:
    login(client, "operator")
    account = AccountFactory.create()
    invoices(account, 60)
    invoices(account, 2, status="paid")
    client.post(f"{LIST}?status=open&q=sample", ALL)
    batch = CancellationBatch.objects.get()
    assert batch.selected_count == 60
    assert batch.selection == "All invoices: matching “sample”, status Open"


@pytest.mark.parametrize("role", ["support", "auditor", "approver", "administrator"])
def test_who_may_not_cancel_is_refused_even_for_all(client: Client, role: str) -> None:
    login(client, role)
    InvoiceFactory.create()
    for action in ("cancel_selected", "refresh_selected", "delete_selected"):
        assert client.post(LIST, {**ALL, "action": action}).status_code == 403
    assert not CancellationBatch.objects.exists()


@pytest.mark.parametrize("ticked", ["", "abc", "-1", "9" * 40, "1; DROP", "٣", "\0"])
def test_an_id_that_is_none_selects_nothing(client: Client, ticked: str) -> None:
    login(client, "operator")
    InvoiceFactory.create()
    answer = client.post(LIST, {**ALL, "select_across": "0", "_selected_action": ticked})
    assert answer.status_code == 302
    assert not CancellationBatch.objects.exists()


def test_no_row_ticked_is_said_and_nothing_happens(client: Client) -> None:
    login(client, "operator")
    InvoiceFactory.create()
    page = client.post(LIST, {"action": "cancel_selected", "index": "0"}, follow=True)
    assert "Items must be selected" in page.content.decode()
    assert not CancellationBatch.objects.exists()


def test_a_selection_that_matches_nothing_is_refused_in_words(client: Client) -> None:
    login(client, "operator")
    InvoiceFactory.create()
    page = client.post(f"{LIST}?status=paid", ALL, follow=True).content.decode()
    assert "No invoice is selected. Nothing was sent." in page
    assert not CancellationBatch.objects.exists()


def test_refreshing_asks_each_account_for_its_own(client: Client) -> None:
    login(client, "operator")
    one = InvoiceFactory.create(account=AccountFactory.create(), external_id="INV2-A")
    InvoiceFactory.create(account=AccountFactory.create(name="monite-nord"))
    page = client.post(LIST, {**ALL, "action": "refresh_selected"}, follow=True).content.decode()
    assert "2 invoices are being read from the provider" in page
    assert SyncRun.objects.get(account=one.account).external_ids == ["INV2-A"]
    assert SyncRun.objects.count() == 2


def test_too_many_are_not_refreshed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("invoices.admin.invoices.MOST_REFRESHED", 2)
    login(client, "operator")
    invoices(AccountFactory.create(), 3)
    page = client.post(LIST, {**ALL, "action": "refresh_selected"}, follow=True).content.decode()
    assert "Nothing was read." in page
    assert not SyncRun.objects.exists()


def test_a_customers_name_stays_text(client: Client) -> None:
    login(client, "operator")
    InvoiceFactory.create(
        number=XSS, customer_name=XSS, customer_email=XSS, currency="<b>", provider_status=XSS[:60]
    )
    page = text(client, LIST)
    assert "<script>alert" not in page
    assert "<img" not in page.replace('<img class="logo"', "")
    assert "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize(
    "query",
    [
        "p=0", "p=-1", "p=99999", "p=x", "o=999999999999999999999", "o=-1.x.2", "all=1", "e=1",
        "_facets=1", "_popup=1", "q=%22", "q=%EF%BF%BF", "q=%ED%A0%80", "rows=x", "partly=",
        "q=" + "9" * 90, "q=%23" + "9" * 40, "q=batch", "q=%E2%80%AE%D7%90", "q=%F0%9F%92%B8",
        "q=" + "x" * 10_000, "q=" + "%25_" * 30, "q=batch+12+%231+%232+%233+%234+%235", "q='%22",
        "amount_from=" + "9" * 300, "amount_to=%E2%88%9E", "amount_from=%D9%A1", "amount_from=1e9",
        "amount_from=1&amount_from=2", "q=" + "w%20" * 40, "q=1%2C2%2C3", "account=" + "9" * 40,
    ],
)  # fmt: skip
def test_no_address_breaks_the_list(client: Client, query: str) -> None:
    login(client, "operator")
    invoices(AccountFactory.create(), 2)
    answer = client.get(f"{LIST}?{query}", follow=True)
    assert answer.status_code == 200


def test_nothing_can_be_added_changed_or_deleted(client: Client) -> None:
    login(client, "operator")
    invoice: Invoice = InvoiceFactory.create()
    for page in ("add/", f"{invoice.pk}/delete/"):
        assert client.get(LIST + page).status_code == 403
        assert client.post(LIST + page, {"post": "yes"}).status_code == 403
    assert client.post(f"{LIST}{invoice.pk}/change/", {"status": "paid"}).status_code == 403
    invoice.refresh_from_db()
    assert invoice.status == "open"
