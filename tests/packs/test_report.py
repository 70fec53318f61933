"""What a person reads of a pack: report.html and summary.csv, whatever was stored."""

import csv
import io
from html.parser import HTMLParser

import pytest
from django.test import Client

from invoices.models import CancellationBatch, HistoryEvent
from invoices.packs.summary import FORMULA, safe
from tests.audit.evidence import a_call, a_record
from tests.factories import UserFactory
from tests.packs.test_verified import content, download
from tests.pages.scenes import XSS, attempt, call, event, invoices, running
from tests.security.world import build

pytestmark = pytest.mark.django_db

SPAN = {"what": "span", "from": "2001-01-01", "to": "2999-12-31"}
PAYLOADS = (
    *(f"{sign}1+1" for sign in "=+-@\t\r\n"),
    *(f"{sign}cmd|' /C calc'!A0" for sign in "＝＋－＠"),
    '=HYPERLINK("https://x","y")',
    "'quoted",
    '"quoted"',
    "plain, with comma",
    "a\r\nb",
)


class Elements(HTMLParser):
    """Tags with the names of their attributes, as a browser would find them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))


def report(client: Client, **typed: object) -> str:
    return content(download(client, **typed))["report.html"].decode()


def table(client: Client, **typed: object) -> list[list[str]]:
    held = content(download(client, **typed))["summary.csv"]
    assert held.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(held.decode("utf-8-sig"), newline="")))


def test_no_text_that_was_stored_becomes_an_element_of_the_report(client: Client) -> None:
    build(XSS)
    hostile = Elements(report(client, **SPAN)).found
    assert {tag for tag, _ in hostile} & {"script", "img", "iframe", "object", "link"} == set()
    assert {name for _, names in hostile for name in names if name.startswith("on")} == set()
    plain = {tag for tag, _ in hostile}
    assert plain <= {
        *("html", "head", "meta", "title", "style", "body", "header", "main", "section"),
        *("h1", "h2", "p", "dl", "div", "dt", "dd", "strong", "span", "ol", "ul", "li"),
        *("details", "summary", "pre", "a", "br"),
    }


def test_hostile_texts_make_the_same_elements_as_harmless_ones(client: Client) -> None:
    made = a_record()
    before = Elements(report(client, what="batch", key=made.batch_id)).found
    type(made.invoice).objects.filter(pk=made.invoice_id).update(customer_name=XSS, number=XSS)
    made.batch.note = made.batch.selection = XSS
    made.batch.requested_by.username = XSS
    made.batch.save()
    made.batch.requested_by.save()
    HistoryEvent.objects.create(kind="batch_state", batch=made.batch, detail=XSS, to_state=XSS[:20])
    after = Elements(report(client, what="batch", key=made.batch_id)).found
    tags = [tag for tag, _ in after]
    assert len(tags) > len(before)
    assert set(tags) == {tag for tag, _ in before} | {"dt"}
    assert {names for _, names in after} <= {names for _, names in before} | {("class",)}


@pytest.mark.parametrize("value", PAYLOADS)
def test_a_cell_that_a_spreadsheet_would_run_is_disarmed_and_can_be_read_back(
    client: Client, value: str
) -> None:
    user = UserFactory.create()
    batch = running(user)
    [invoice] = invoices(a_record().account, 1, customer_name=value, number=value)
    attempt(batch, invoice, "failed", message=value)
    header, row = table(client, what="batch", key=batch.pk)
    assert len(header) == len(row)
    for name in ("Invoice", "Customer"):
        cell = row[header.index(name)]
        assert not cell.startswith(FORMULA[:7] + FORMULA[8:])
        assert cell.removeprefix("'") == value or cell == value
        assert cell == safe(value)


def test_every_cell_is_quoted(client: Client) -> None:
    made = a_record()
    held = content(download(client, what="batch", key=made.batch_id))["summary.csv"]
    lines = held.decode("utf-8-sig").splitlines()
    assert all(line.startswith('"') and line.endswith('"') for line in lines)
    assert '",' in lines[0]
    assert "Batch" in lines[0]


def test_the_outcomes_of_a_batch_add_up_and_if_not_the_report_says_so_in_red(
    client: Client,
) -> None:
    batch = running(UserFactory.create())
    for state, one in zip(
        ("cancelled", "failed", "queued", "ineligible"),
        invoices(a_record().account, 4),
        strict=True,
    ):
        attempt(batch, one, state)
    page = report(client, what="batch", key=batch.pk)
    assert "4 selected = 1 cancelled + 1 queued + 1 failed + 1 not eligible" in " ".join(
        page.split()
    )
    assert "not complete" not in page
    CancellationBatch.objects.filter(pk=batch.pk).update(selected_count=6)
    page = report(client, what="batch", key=batch.pk)
    assert "This pack is not complete." in page
    assert "a difference of 2" in page
    assert '<p class="banner bad"' in page
    assert "6 selected ≠" in page


def test_each_attempt_has_its_sentence_with_days_and_each_call_its_bodies(client: Client) -> None:
    batch = running(UserFactory.create(username="olga"))
    [one, left] = invoices(a_record().account, 2)
    made = attempt(batch, one, "cancelled")
    event(made, "cancelled", from_state="sending")
    call(one, made)
    attempt(batch, left, "ineligible", code="already_paid")
    page = report(client, what="batch", key=batch.pk)
    told = " ".join(page.split())
    year = f"{made.batch.created_at:%Y-%m-%d}"
    assert f"Asked PayPal {year}" in told
    assert f"PayPal confirmed {year}" in told
    assert f"Batch {batch.pk} by olga." in told
    assert "Left alone; nothing was sent." in told
    assert "sending → cancelled" in told.lower()
    assert "-request.txt" in told
    assert "<a href" in told
    assert "/admin/" not in told
    assert "Export-" not in told


def test_all_calls_of_an_invoice_are_in_the_order_in_which_they_were_made(client: Client) -> None:
    made = a_record(calls=0)
    for number in (3, 1, 2):
        a_call(made, number)
    page = report(client, what="invoice", key=made.invoice_id)
    places = [page.index(f"provider.example/invoices/{number}/cancel") for number in (3, 1, 2)]
    assert places == sorted(places)
