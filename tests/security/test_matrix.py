"""Every address x role x method, and every action x role, against the table in pages.py."""

from collections.abc import Iterator
from http.cookies import SimpleCookie

import pytest
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.models import User
from django.http.response import HttpResponseBase
from django.test import RequestFactory
from django.urls import resolve
from django_otp.plugins.otp_totp.models import TOTPDevice

from tests.security.pages import (
    ALLOWED_ACTIONS,
    ASK_FIRST,
    OPEN_TO_ANYBODY,
    PAGES,
    Action,
    Page,
)
from tests.security.walking import LOGIN, ask, changed, held, quiet, routes, undone
from tests.security.world import ROLES, World, build

pytestmark = pytest.mark.django_db

REFUSED = (403, 404, 405)
TAKEN = (200, 302, 303, 400, 409)
OTHER_METHODS = ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")
NOBODY = SimpleCookie()
CODE = "/admin/second-factor/code/"


@pytest.fixture
def world() -> World:
    return build()


def leads_to_log_in(answer: HttpResponseBase) -> bool:
    return answer.status_code == 302 and answer.headers["Location"].startswith(LOGIN)


def test_the_table_names_every_address_of_the_site(world: World) -> None:
    named = {resolve(page.at(world.ids).partition("?")[0]).route for page in PAGES}
    assert routes() - named == set()


def test_the_table_names_every_action_of_the_site(rf: RequestFactory, world: World) -> None:
    request = rf.get("/")
    request.user = world.people["r"]
    there = {
        (model._meta.label, name)
        for model, page in admin.site._registry.items()
        for name in page.get_actions(request)
    }
    assert there == {(one.model, one.name) for one in ALLOWED_ACTIONS}


@pytest.mark.parametrize("letter", list(ROLES))
def test_each_role_opens_what_is_meant_for_it_and_nothing_else(world: World, letter: str) -> None:
    cookies = world.cookies(letter)
    with quiet():
        before = held()
        found = {page: ask("GET", page.at(world.ids), cookies) for page in PAGES}
        after = changed(before)
    assert wrong(found, {page: letter in page.opens_for for page in PAGES}) == []
    assert after == []


@pytest.mark.parametrize("letter", list(ROLES))
def test_each_role_posts_where_it_may_and_nowhere_else(world: World, letter: str) -> None:
    cookies = world.cookies(letter)
    refused = [page for page in PAGES if letter not in page.takes_from]
    with quiet():
        before = held()
        found = {page: post(page, world, cookies) for page in refused}
        after = changed(before)
        for page in PAGES:
            if page not in found:
                with undone():
                    found[page] = post(page, world, cookies)
    assert wrong(found, {page: letter in page.takes_from for page in PAGES}) == []
    assert after == []


def post(page: Page, world: World, cookies: SimpleCookie) -> HttpResponseBase:
    data = {name: value.format(**world.ids) for name, value in page.posted.items()}
    return ask("POST", page.at(world.ids), cookies, **data)


def wrong(found: dict[Page, HttpResponseBase], may: dict[Page, bool]) -> list[tuple[str, int]]:
    """The pages that answered otherwise than the table says."""
    return [
        (page.address, answer.status_code)
        for page, answer in found.items()
        if answer.status_code not in (TAKEN if may[page] else REFUSED) or leads_to_log_in(answer)
    ]


@pytest.mark.parametrize(
    ("letter", "methods"),
    [("o", ("PUT", "DELETE")), ("s", ("PUT", "DELETE")), ("r", OTHER_METHODS)],
)
def test_no_other_method_does_anything(world: World, letter: str, methods: tuple[str, ...]) -> None:
    cookies = world.cookies(letter)
    with quiet():
        before = held()
        found = {
            (method, page): ask(method, page.at(world.ids), cookies).status_code
            for page in PAGES
            for method in methods
        }
        after = changed(before)
    assert [one for one, status in found.items() if status >= 500 and status != 503] == []
    let_in = [
        (method, page.address, status)
        for (method, page), status in found.items()
        if letter not in page.opens_for | page.takes_from
        # What it could be asked for is no secret.
        if status not in REFUSED and method != "OPTIONS"
    ]
    assert let_in == []
    assert after == []


def test_head_is_answered_like_get(world: World) -> None:
    cookies = world.cookies("r")
    with quiet():
        for page in PAGES:
            got, head = (ask(one, page.at(world.ids), cookies) for one in ("GET", "HEAD"))
            assert head.status_code == got.status_code or page.address == LOGIN, page


# --- Who is not, or not wholly, logged in ---------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", *OTHER_METHODS])
def test_without_logging_in_every_address_leads_to_the_log_in_page(
    world: World, method: str
) -> None:
    with quiet():
        before = held()
        found = {page: ask(method, page.at(world.ids), NOBODY) for page in PAGES}
        after = changed(before)
    let_in = [
        (page.address, answer.status_code)
        for page, answer in found.items()
        if not leads_to_log_in(answer) and page.address not in OPEN_TO_ANYBODY
    ]
    assert let_in == []
    assert after == []
    if method == "GET":
        opened = {page.address: found[page].status_code for page in PAGES}
        assert {one: opened[one] for one in OPEN_TO_ANYBODY} == OPEN_TO_ANYBODY


def test_whoever_is_deactivated_gets_nowhere(world: World) -> None:
    with quiet():
        for letter in ("o", "r"):
            cookies = world.cookies(letter)
            User.objects.filter(pk=world.people[letter].pk).update(is_active=False)
            for page in PAGES:
                with undone():
                    for answer in (
                        ask("GET", page.at(world.ids), cookies),
                        post(page, world, cookies),
                    ):
                        assert leads_to_log_in(answer) or page.address in OPEN_TO_ANYBODY, page


def test_whoever_owes_a_code_gets_nowhere_but_to_the_page_that_asks(world: World) -> None:
    with quiet():
        for letter in ("o", "r"):
            user = world.people[letter]
            TOTPDevice.objects.create(user=user, name="app")
            cookies = world.cookies(letter)
            for page in PAGES:
                for answer in both(page, world, cookies):
                    asked = answer.headers.get("Location", "").startswith(f"{CODE}?")
                    assert asked or page.address in (*OPEN_TO_ANYBODY, CODE), (letter, page)


def both(page: Page, world: World, cookies: SimpleCookie) -> Iterator[HttpResponseBase]:
    """To look at it and to post to it."""
    with undone():
        yield ask("GET", page.at(world.ids), cookies)
    with undone():
        yield post(page, world, cookies)


# --- Actions --------------------------------------------------------------------------------


@pytest.mark.parametrize("across", ["0", "1"])
@pytest.mark.parametrize("letter", list(ROLES))
def test_each_role_takes_the_actions_that_it_may(world: World, letter: str, across: str) -> None:
    cookies = world.cookies(letter)
    with quiet():
        for action in ALLOWED_ACTIONS:
            before = held()
            with undone():
                status = take(action, world, cookies, across)
                touched = changed(before)
            may = letter in action.allowed
            assert (status not in REFUSED) is may, (action, status)
            assert bool(touched) is (may and action.name not in ASK_FIRST), (action, touched)


def take(action: Action, world: World, cookies: SimpleCookie, across: str) -> int:
    app, model = action.model.lower().split(".")
    key = world.ids[{"provideraccount": "account", "awaitingbatch": "awaiting"}.get(model, model)]
    posted = {
        "action": action.name,
        ACTION_CHECKBOX_NAME: str(key),
        "select_across": across,
        "index": "0",
    }
    return ask("POST", f"/admin/{app}/{model}/", cookies, **posted).status_code
