"""The search box: whole ids first, then words, amounts among them; bad input finds nothing."""

import pytest
from django.db.models import QuerySet
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from invoices import search
from invoices.models import Invoice
from invoices.search import find, searchable
from tests.factories import AccountFactory, InvoiceFactory, UserFactory
from tests.pages.scenes import attempt, call, running

pytestmark = pytest.mark.django_db


def invoice(number: str, name: str = "", email: str = "", **facts: object) -> Invoice:
    account = Invoice.objects.first()
    made: Invoice = InvoiceFactory.create(
        account=account.account if account else AccountFactory.create(),
        number=number,
        customer_name=name,
        customer_email=email,
        search_text=searchable(number, f"ID-{number}", name, email),
        external_id=f"ID-{number}",
        **facts,
    )
    return made


def numbers(typed: str, *, partly: bool = False) -> list[str]:
    found: QuerySet[Invoice] = find(Invoice.objects.all(), typed, partly=partly).invoices
    return sorted(one.number for one in found)


def test_nothing_typed_finds_everything() -> None:
    invoice("A1")
    assert numbers("  ") == ["A1"]


@pytest.mark.parametrize("typed", ["muller", "MÜLLER", "üller", "düsseld", "Müller gmbh", "öhne"])
def test_a_word_is_found_whatever_its_case_and_accents(typed: str) -> None:
    invoice("A1", "Müller & Söhne GmbH, Düsseldorf")
    invoice("B1", "Birch")
    assert numbers(typed) == ["A1"]


def test_words_are_anded_in_any_order() -> None:
    invoice("A1", "Birch Trading")
    invoice("B1", "Birch Labs")
    assert numbers("labs birch") == ["B1"]


def test_a_short_word_is_found_only_at_a_words_start() -> None:
    invoice("A1", "Xylo Ag")
    invoice("B1", "Magazine")
    assert numbers("ag") == ["A1"]


def test_a_sign_between_words_is_a_word_of_its_own() -> None:
    invoice("A1", "Birch & Sons")
    invoice("B1", "Birch and Sons")
    assert numbers("birch & sons") == ["A1"]


@pytest.mark.parametrize("typed", ["shop.example", "pay@shop", "@shop.example"])
def test_a_part_of_an_address_is_found(typed: str) -> None:
    invoice("A1", "Birch", "pay@shop.example")
    invoice("B1", "Birch", "pay@other.example")
    assert numbers(typed) == ["A1"]


def test_a_whole_number_hides_what_only_contains_it() -> None:
    invoice("INV-1")
    invoice("INV-10")
    assert numbers("INV-1") == ["INV-1"]
    assert numbers("inv-1") == ["INV-1"]
    assert find(Invoice.objects.all(), "INV-1").whole
    assert numbers("INV-1", partly=True) == ["INV-1", "INV-10"]


def test_a_whole_provider_id_is_found() -> None:
    invoice("A1")
    invoice("A11")
    assert numbers("ID-A1") == ["A1"]


def test_a_whole_number_is_found_in_capitals_or_not() -> None:
    invoice("Re-ä1")
    invoice("Re-ä12")
    for typed in ("re-ä1", "RE-ä1", "Re-ä1", "id-re-ä1"):
        found = find(Invoice.objects.all(), typed)
        assert (found.whole, found.invoices.count()) == ("named", 1), typed


def test_a_batch_is_found_alone_or_among_words() -> None:
    user = UserFactory.create(role="operator")
    batch, other = running(user), running(user)
    attempt(batch, invoice("A1", "Birch"), "refused", code="paid")
    attempt(batch, invoice("B1", "Corvid"), "refused", code="paid")
    attempt(other, invoice("C1", "Birch"), "refused", code="paid")
    for typed in (f"batch {batch.pk}", f"BATCH #{batch.pk}", f"#{batch.pk}"):
        assert numbers(typed) == ["A1", "B1"], typed
        assert find(Invoice.objects.all(), typed).whole == "batch"
    assert numbers(f"birch #{batch.pk}") == ["A1"]
    assert numbers(f"#{batch.pk} #{other.pk}") == []
    assert numbers("#999999") == []


def test_what_is_called_like_a_batch_is_found_first() -> None:
    user = UserFactory.create(role="operator")
    batch = running(user)
    attempt(batch, invoice("A1"), "refused", code="paid")
    invoice(f"Batch {batch.pk}")
    assert numbers(f"batch {batch.pk}") == [f"Batch {batch.pk}"]
    assert numbers(f"batch {batch.pk}", partly=True) == [f"Batch {batch.pk}"]


def test_a_correlation_id_finds_the_invoices_of_that_call() -> None:
    invoice("B1")
    request = call(invoice("A1"), correlation_id="f00-ba4")
    assert numbers("f00-ba4") == ["A1"]
    assert numbers(str(request.pk)) == ["A1"]


@pytest.mark.parametrize("typed", ["1,234.56", "1234.56", "1.234,56", "1234,56", "1,234.56 eur"])
def test_an_amount_is_found_as_people_write_it(typed: str) -> None:
    invoice("A1", amount_minor=123_456)
    invoice("B1", amount_minor=123_400)
    assert numbers(typed) == ["A1"]


@pytest.mark.parametrize(
    ("typed", "minor", "exponent"),
    [("1234", 1234, 0), ("1,234", 1234, 0), ("1.234", 1234, 3), ("1234", 1_234_000, 3)],
)
def test_an_amount_knows_the_decimal_places_of_its_currency(
    typed: str, minor: int, exponent: int
) -> None:
    invoice("A1", amount_minor=minor, exponent=exponent, currency="XXX")
    invoice("B1", amount_minor=minor, exponent=5, currency="XXX")
    assert numbers(typed) == ["A1"]


def test_an_amount_with_a_currency_is_that_currency_only() -> None:
    invoice("A1", amount_minor=1200, currency="EUR")
    invoice("B1", amount_minor=1200, currency="USD")
    assert numbers("12.00 usd") == ["B1"]


def test_wildcards_are_plain_characters() -> None:
    invoice("A1", "100% Pure_Wool")
    invoice("B1", "1000 Pure Wool")
    assert numbers("100%") == ["A1"]
    assert numbers("pure_w") == ["A1"]
    assert numbers("pure %  _") == ["A1", "B1"]


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("% _", "nothing_to_look_for"),
        ("one two three four five six", "too_many_words"),
        ("x" * 101, "too_long"),
    ],
)
def test_a_search_that_is_not_understood_finds_nothing_and_says_why(
    typed: str, problem: str
) -> None:
    invoice("A1")
    found = find(Invoice.objects.all(), typed)
    assert (found.problem, found.invoices.count()) == (problem, 0)


def test_what_many_invoices_hold_is_found_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MANY_HITS", 1)
    for number in ("A1", "A2", "A3"):
        invoice(number, "Birch")
    invoice("B1", "Corvid")
    assert numbers("birch") == ["A1", "A2", "A3"]


@pytest.mark.parametrize(
    "typed", ['"', '""', "zz\0yy", "AND OR", "NEAR(", "a*", "'; DROP", "\\", "^x"]
)
def test_signs_that_mean_something_to_a_database_mean_nothing_here(typed: str) -> None:
    invoice("A1", "Birch")
    assert numbers(typed) == []


class AnySearch(TestCase):
    """Whatever is typed, the search answers."""

    @settings(max_examples=60)
    @given(st.text(max_size=40))
    def test_never_an_error(self, typed: str) -> None:
        list(find(Invoice.objects.all(), typed).invoices[:5])
