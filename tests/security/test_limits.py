"""To whoever is limited to one account, all that is of another one is as if it did not exist."""

import re
from collections.abc import Iterator
from http.cookies import SimpleCookie

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME

from invoices.models import (
    ApprovalRule,
    CancellationAttempt,
    HistoryEvent,
    Invoice,
    ProviderRequest,
    SyncRun,
)
from tests.security.limited import LIMITED, Limits, limited
from tests.security.pages import ALLOWED_ACTIONS, PAGES, Action, Page
from tests.security.test_matrix import REFUSED, TAKEN, leads_to_log_in
from tests.security.walking import ask, changed, held, quiet, undone

pytestmark = pytest.mark.django_db

CHANGING = re.compile(r'(csrfmiddlewaretoken" value="|name="seed"[^>]*?value=")[^"]+')
"""Another one on each page."""

ACTED_ON = {
    "invoices.Invoice": "invoice",
    "invoices.AwaitingBatch": "awaiting",
    "providers.ProviderAccount": "account",
}


@pytest.fixture
def limits() -> Limits:
    return limited()


def named_by(page: Page, limits: Limits) -> list[str]:
    """The keys of the other account's that it names, in its address or in what is posted."""
    words = " ".join([page.address, *page.posted.values()])
    return [name for name in limits.foreign if f"{{{name}}}" in words]


def answers(
    page: Page, limits: Limits, cookies: SimpleCookie, ids: dict[str, object]
) -> Iterator[tuple[object, ...]]:
    """What a look and a form are answered with, but for the keys that were asked for."""
    asked = {
        str(one[name])
        for name in named_by(page, limits)
        for one in (limits.foreign, limits.missing)
    }
    for method in ("GET", "POST"):
        data = {name: value.format(**ids) for name, value in page.posted.items()}
        answer = ask(method, page.at(ids), cookies, **data)
        to, words = answer.headers.get("Location", ""), getattr(answer, "content", b"").decode()
        yield method, answer.status_code, *(alike(one, asked) for one in (to, words))


def alike(text: str, keys: set[str]) -> str:
    """Without what is another on each page, and without the keys."""
    return re.sub(rf"\b({'|'.join(keys)})\b", "KEY", CHANGING.sub(r"\1", text))


@pytest.mark.parametrize("letter", list(LIMITED))
def test_what_is_of_another_account_answers_like_what_does_not_exist(
    limits: Limits, letter: str
) -> None:
    pages = [page for page in PAGES if named_by(page, limits)]
    assert len(pages) > 70
    missing = {**limits.world.ids, **limits.missing}
    cookies = limits.cookies(letter)
    events = HistoryEvent.objects.count()
    with quiet():
        before = held()
        there = {page: list(answers(page, limits, cookies, limits.world.ids)) for page in pages}
        after = changed(before)
        nowhere = {page: list(answers(page, limits, cookies, missing)) for page in pages}
    assert [page.address for page in pages if there[page] != nowhere[page]] == []
    assert after == []
    assert HistoryEvent.objects.count() == events


@pytest.mark.parametrize("letter", list(LIMITED))
def test_all_else_opens_as_for_others_of_the_role(limits: Limits, letter: str) -> None:
    role = LIMITED[letter]
    cookies = limits.cookies(letter)
    wrong = []
    with quiet():
        for page in PAGES:
            if named_by(page, limits):
                continue
            for method, allowed in (("GET", page.opens_for), ("POST", page.takes_from)):
                with undone():
                    answer = ask(method, page.at(limits.world.ids), cookies, **page.posted)
                fits = answer.status_code in (TAKEN if role in allowed else REFUSED)
                if not fits or leads_to_log_in(answer):
                    wrong.append((method, page.address, answer.status_code))
    assert wrong == []


@pytest.mark.parametrize("letter", list(LIMITED))
def test_what_is_theirs_opens(limits: Limits, letter: str) -> None:
    cookies, own = limits.cookies(letter), limits.own
    pages = {
        "invoice/{invoice}/change/": "lm",
        "cancellationbatch/{batch}/change/": "lm",
        "cancellationbatch/{batch}/rows/": "lm",
        "cancellationbatch/{draft}/preview/": "l",
        "cancellationattempt/{parked}/change/": "lm",
        "awaitingbatch/{awaiting}/change/": "m",
        "approvalrule/{rule}/change/": "m",
        "providerrequest/{call}/change/": "m",
        "providerrequest/{call}/answer.txt": "m",
        "syncrun/{run}/change/": "lm",
    }
    for page, opens_for in pages.items():
        status = ask("GET", f"/admin/invoices/{page.format(**own)}", cookies).status_code
        assert status == (200 if letter in opens_for else 403), page


@pytest.mark.parametrize("across", ["0", "1"])
@pytest.mark.parametrize("letter", list(LIMITED))
def test_an_action_touches_nothing_of_another_account(
    limits: Limits, letter: str, across: str
) -> None:
    mine, cookies = limits.world.ids["resting"], limits.cookies(letter)
    before = elsewhere(limits)
    with quiet():
        for action in ALLOWED_ACTIONS:
            status = take(action, limits, cookies, across)
            assert (status not in REFUSED) is (LIMITED[letter] in action.allowed), action
    assert elsewhere(limits) == before
    fresh = CancellationAttempt.objects.filter(batch__requested_by=limits.world.people["l"])
    assert set(fresh.values_list("account", flat=True)) == {mine}


def elsewhere(limits: Limits) -> list[str]:
    """All rows of the other account."""
    models = (Invoice, CancellationAttempt, ApprovalRule, HistoryEvent, ProviderRequest, SyncRun)
    account = limits.foreign["account"]
    rows = (row for model in models for row in model._base_manager.order_by("pk").values())
    return [repr(row) for row in rows if row["account_id"] == account]


def take(action: Action, limits: Limits, cookies: SimpleCookie, across: str) -> int:
    app, model = action.model.lower().split(".")
    posted = {
        "action": action.name,
        ACTION_CHECKBOX_NAME: str(limits.world.ids[ACTED_ON[action.model]]),
        "select_across": across,
        "index": "0",
    }
    return ask("POST", f"/admin/{app}/{model}/", cookies, **posted).status_code
