"""Pasted lists: matched exactly, what was not found is said, and the rest becomes a selection."""

import re
from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from invoices import pasted, waking
from invoices.models import CancellationBatch, HistoryEvent, Invoice, PastedList
from invoices.pasted import ListRefused, entries_of, paste, text_of
from tests.factories import AccountFactory, InvoiceFactory, UserFactory
from tests.pages.scenes import LIST, XSS, login, text

pytestmark = pytest.mark.django_db

PASTE = f"{LIST}paste/"
ALL = {"action": "cancel_selected", "select_across": "1", "index": "0"}


def pasted_by(client: Client, typed: str) -> str:
    """Paste a list; the address of what came of it."""
    answer = client.post(PASTE, {"list": typed})
    assert answer.status_code == 303
    return str(answer["Location"])


def shown(client: Client, query: str) -> set[str]:
    return {row.number for row in client.get(f"{LIST}?{query}").context["cl"].result_list}


def test_entries_are_read_from_lines_commas_semicolons_and_tabs() -> None:
    typed = " INV-1 \r\nINV-2,\"INV-3\";\t'INV-4'\n\n\ufeffINV  5\u200b,,INV-6"
    assert entries_of(typed) == ["INV-1", "INV-2", "INV-3", "INV-4", "INV 5", "INV-6"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "no number"),
        (" ,;\n\t\0", "no number"),
        ("1\n" * 10_001, "10,001 entries. At most 10,000"),
        ("x" * 1_000_001, "larger than 1 MB"),
    ],
)
def test_a_list_that_is_empty_or_too_long_is_refused_in_words(
    client: Client, typed: str, said: str
) -> None:
    login(client, "operator")
    answer = client.post(PASTE, {"list": typed})
    assert answer.status_code == 409
    assert said in answer.content.decode()
    assert not PastedList.objects.exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("list.xlsx", b"PK", "ends in .txt or .csv"),
        ("list.csv", b"x" * 1_000_001, "The file is larger than 1 MB."),
        ("list.csv", b"", "no number"),
    ],
)
def test_a_file_that_is_no_list_is_refused_in_words(
    client: Client, name: str, content: bytes, said: str
) -> None:
    login(client, "operator")
    answer = client.post(PASTE, {"list": "", "file": SimpleUploadedFile(name, content)})
    assert answer.status_code == 409
    # An empty file does not come with the form at all.
    assert said in answer.content.decode()


@pytest.mark.parametrize(
    "encoded", ["Ä-1\nB".encode(), "Ä-1\nB".encode("utf-8-sig"), "Ä-1\nB".encode("utf-16"),
    "Ä-1\nB".encode("cp1252")],
)  # fmt: skip
def test_a_file_is_read_however_it_is_encoded(encoded: bytes) -> None:
    assert entries_of(text_of(encoded)) == ["Ä-1", "B"]


@given(st.binary(max_size=60))
def test_no_file_breaks_it(content: bytes) -> None:
    try:
        entries_of(text_of(content))
    except ListRefused:
        return


def test_each_entry_is_a_whole_number_or_provider_id_in_capitals_or_not(client: Client) -> None:
    login(client, "support")
    account = AccountFactory.create()
    for number, external_id in (("INV-1", "ID-A"), ("Inv-2", "ID-B"), ("INV-10", "ID-C")):
        InvoiceFactory.create(account=account, number=number, external_id=external_id)
    file = SimpleUploadedFile("more.csv", b"id-c;INV-2;nothing")
    answer = client.post(PASTE, {"list": "inv-1\nINV-1, inv-99\ninv", "file": file})
    page = text(client, answer["Location"])
    assert "<h1>3 invoices found</h1>" in page
    made = PastedList.objects.get()
    assert (made.entries, made.repeated) == (6, 1)
    assert made.unmatched == ["inv-99", "inv", "nothing"]
    assert "inv-99\ninv\nnothing\n</pre>" in page
    assert "and 1 repeated, counted once" in page
    assert shown(client, f"selection={made.pk}") == {"INV-1", "Inv-2", "INV-10"}
    event = HistoryEvent.objects.get(kind="list_pasted")
    assert event.detail == "6 entries, 3 of them unmatched"


def test_an_entry_that_means_several_invoices_is_listed(client: Client) -> None:
    login(client, "operator")
    one, other = AccountFactory.create(), AccountFactory.create(name="monite-nord")
    for account in (one, other):
        InvoiceFactory.create(account=account, number="INV-1")
    InvoiceFactory.create(account=one, number="INV-2", external_id="INV-3")
    page = text(client, pasted_by(client, "inv-1\nINV-2\nINV-3"))
    assert "<h1>3 invoices found</h1>" in page
    assert "Called the same: 1 entry" in page
    table = page[page.index("<tbody") : page.index("</tbody>")]
    assert (table.count("<tr "), table.count("inv-1")) == (2, 2)
    assert "monite-nord" in table


def test_the_selection_narrows_the_list_beside_its_filters_and_is_cancelled_across_pages(
    client: Client,
) -> None:
    login(client, "operator")
    account = AccountFactory.create()
    numbers = [f"N-{at}" for at in range(60)]
    for number in (*numbers, "other"):
        InvoiceFactory.create(account=account, number=number)
    InvoiceFactory.create(account=account, number="N-paid", status="paid")
    address = pasted_by(client, "\n".join((*numbers, "N-paid", "N-missing")))
    query = re.search(r"\?(selection=[0-9a-f-]{36})", text(client, address))
    assert query
    page = client.get(f"{LIST}?{query[1]}&status=open")
    assert page.context["cl"].result_count == 60
    assert "62 numbers</b>" in page.content.decode()
    client.post(f"{LIST}?{query[1]}", ALL)
    batch = CancellationBatch.objects.get()
    assert (batch.selected_count, batch.selection) == (61, "62 pasted numbers")
    client.post(f"{LIST}?{query[1]}&status=open", ALL)
    batch = CancellationBatch.objects.latest("pk")
    assert (batch.selected_count, batch.selection) == (60, "62 pasted numbers: status Open")


def test_nobody_sees_the_list_of_somebody_else(client: Client) -> None:
    login(client, "operator")
    InvoiceFactory.create(number="A")
    address = pasted_by(client, "A")
    made = PastedList.objects.get()
    login(client, "operator")
    assert client.get(address)["Location"] == PASTE
    assert shown(client, f"selection={made.pk}") == set()
    assert "expired or belongs to somebody else" in text(client, f"{LIST}?selection={made.pk}")
    client.post(f"{LIST}?selection={made.pk}", ALL)
    assert not CancellationBatch.objects.exists()


@pytest.mark.parametrize("selection", ["x", "1", "00000000-0000-0000-0000-000000000000", "'"])
def test_a_selection_that_is_none_shows_nothing(client: Client, selection: str) -> None:
    login(client, "operator")
    InvoiceFactory.create()
    assert shown(client, f"selection={selection}") == set()


def test_only_what_one_may_see_is_matched() -> None:
    user = UserFactory.create(role="operator")
    InvoiceFactory.create(number="A")
    assert paste(user, Invoice.objects.none(), "A").unmatched == ["A"]
    with pytest.raises(PermissionDenied):
        paste(UserFactory.create(), Invoice.objects.all(), "A")


def test_old_lists_are_forgotten(client: Client) -> None:
    user = login(client, "operator")
    InvoiceFactory.create(number="A")
    old, young = (paste(user, Invoice.objects.all(), "A") for _ in range(2))
    PastedList.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=8))
    assert shown(client, f"selection={old.pk}") == set()
    waking.tidy_up()
    assert list(PastedList.objects.all()) == [young]
    assert young.rows.count() == 1


def test_a_thousand_entries_cost_one_query() -> None:
    user = UserFactory.create(role="operator")
    counts = []
    paste(user, Invoice.objects.all(), "N")  # Permissions are read once.
    for size in (10, 1000, 3000):
        with CaptureQueriesContext(connection) as made:
            paste(user, Invoice.objects.all(), "\n".join(f"N-{at}" for at in range(size)))
        counts.append(len(made))
    assert counts == [counts[0], counts[0], counts[0] + 2]


def test_a_pasted_script_stays_text(client: Client) -> None:
    login(client, "operator")
    page = text(client, pasted_by(client, XSS))
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_who_may_not_see_invoices_pastes_nothing(client: Client) -> None:
    client.force_login(UserFactory.create())
    assert client.get(PASTE).status_code == 403
    assert client.post(PASTE, {"list": "A"}).status_code == 403


def test_the_longest_entry_that_can_be_a_number_is_matched() -> None:
    user = UserFactory.create(role="operator")
    InvoiceFactory.create(number="x" * pasted.LONGEST_ENTRY)
    made = paste(user, Invoice.objects.all(), "X" * 150 + "\n" + "x" * 151)
    assert made.rows.count() == 1
    assert made.unmatched == ["x" * 150]
