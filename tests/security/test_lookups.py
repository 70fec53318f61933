"""A query string learns nothing of a field that a list does not show, and breaks no list."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.contrib.admin import ModelAdmin
from django.db.models import Model
from django.http import HttpRequest

from tests.security.walking import ask, quiet
from tests.security.world import ROLES, World, build

pytestmark = pytest.mark.django_db

LOOKUPS = (
    "exact",
    "iexact",
    "contains",
    "icontains",
    "startswith",
    "endswith",
    "regex",
    "iregex",
    "isnull",
    "in",
    "gt",
    "range",
)
REFUSED = 400
HOSTILE = (
    "",
    "x",
    "'",
    "-1",
    "0",
    "1.5",
    "9" * 40,
    "1e999",
    "null",
    "None",
    "١",
    "²",
    "\ud7ff\U0001f4a9",
    "%",
    "(",
    "[",
    "\\",
    "1,2",
    "2030-13-45",
    "00000000-0000-0000-0000-00000000000g",
    "a " * 2_000,
    "../../etc/passwd",
    "{{7*7}}",
)
STOCK = ("p", "o", "e", "all", "_facets", "_popup", "_to_field", "partly", "rows", "before")


def pages() -> list[ModelAdmin[Any]]:
    return list(admin.site._registry.values())


def fields(page: ModelAdmin[Any]) -> Iterator[str]:
    """The model's own fields, and one step further those of what it points to or is pointed at."""
    for field in page.model._meta.get_fields():
        yield field.name
        further = field.related_model
        if isinstance(further, type) and issubclass(further, Model):
            yield from (f"{field.name}__{one.name}" for one in further._meta.get_fields())


def asked(page: ModelAdmin[Any]) -> Iterator[str]:
    """Every field with every lookup, but for the parameters that the list has for its filters."""
    allowed = getattr(page, "filter_parameters", ())
    for field in fields(page):
        if field not in allowed:
            yield field
        yield from (f"{field}__{lookup}" for lookup in LOOKUPS)


def address(page: ModelAdmin[Any]) -> str:
    return f"/admin/{page.opts.app_label}/{page.opts.model_name}/"


def test_no_lookup_is_allowed_by_any_page() -> None:
    request = HttpRequest()
    allowed = [
        (page.opts.label, one)
        for page in pages()
        for one in asked(page)
        if page.lookup_allowed(one, "a", request)
    ]
    assert allowed == []
    assert sum(1 for page in pages() for _ in asked(page)) > 2_000


@pytest.mark.parametrize("letter", list(ROLES))
def test_every_field_answers_the_same_whether_the_guess_is_right_or_wrong(letter: str) -> None:
    world = build()
    cookies = world.cookies(letter)
    with quiet():
        for page in pages():
            there = ask("GET", address(page), cookies).status_code
            for query in guesses(page) if there == 200 else []:
                answer = ask("GET", f"{address(page)}?{query}", cookies)
                assert answer.status_code == REFUSED, (page, query)


def guesses(page: ModelAdmin[Any]) -> Iterator[str]:
    """For each of the model's own fields two guesses, by one lookup after the other."""
    for number, field in enumerate(page.model._meta.get_fields()):
        lookup = LOOKUPS[number % len(LOOKUPS)]
        yield from (urlencode({f"{field.name}__{lookup}": guess}) for guess in ("P", "Q"))


def test_passwords_and_credentials_are_not_to_be_guessed_at(world: World) -> None:
    cookies = world.cookies("r")
    with quiet():
        for path in ("auth/user/?password", "providers/provideraccount/?sealed_credentials"):
            for lookup in ("", *(f"__{one}" for one in LOOKUPS)):
                answer = ask("GET", f"/admin/{path}{lookup}=a", cookies)
                assert answer.status_code == REFUSED, (path, lookup)


@pytest.fixture
def world() -> World:
    return build()


def test_no_value_of_a_parameter_breaks_a_list(world: World) -> None:
    cookies = world.cookies("r")
    with quiet():
        for page in pages():
            for name, value in hostile(page):
                query = urlencode({name: value})
                status = ask("GET", f"{address(page)}?{query}", cookies).status_code
                assert status in (200, 302, 400), (page, query, status)


def hostile(page: ModelAdmin[Any]) -> Iterator[tuple[str, str]]:
    """All values in the search box; in turn, some of them as every other parameter."""
    yield from (("q", value) for value in HOSTILE)
    names = sorted({*getattr(page, "filter_parameters", ()), *STOCK})
    for number, name in enumerate(names):
        yield from ((name, value) for value in HOSTILE[number % 5 :: 5])


@pytest.mark.parametrize("name", ["q", "state", "account", "p", "o"])
def test_a_nul_is_refused_and_a_parameter_twice_breaks_nothing(world: World, name: str) -> None:
    cookies = world.cookies("r")
    with quiet():
        for page in pages():
            assert ask("GET", f"{address(page)}?{name}=%00", cookies).status_code == REFUSED
            twice = ask("GET", f"{address(page)}?{name}=1&{name}=2", cookies).status_code
            assert twice in (200, 302, 400), page


def test_a_hidden_column_is_not_to_be_sorted_by(world: World) -> None:
    cookies = world.cookies("r")
    with quiet():
        for page in pages():
            for column in ("password", "-password", "99", "-99", "1.2.3", "sealed_credentials"):
                status = ask("GET", f"{address(page)}?o={column}", cookies).status_code
                assert status in (200, 302), (page, column)


def test_a_popup_for_a_hidden_field_is_refused(world: World) -> None:
    cookies = world.cookies("r")
    with quiet():
        for field in ("password", "email", "groups"):
            path = f"/admin/auth/user/?_popup=1&_to_field={field}"
            assert ask("GET", path, cookies).status_code == REFUSED
