"""No answer to whoever is limited to one account has a word of another one, wherever they look."""

import re
from collections.abc import Iterator
from http.cookies import SimpleCookie
from io import BytesIO
from urllib.parse import urlencode
from zipfile import ZipFile

import pytest
from django.contrib import admin
from django.core.cache import cache
from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase

from tests.security.crawling import crawl
from tests.security.limited import LIMITED, Limits, limited
from tests.security.pages import PAGES
from tests.security.walking import ask, quiet, undone

pytestmark = pytest.mark.django_db

WORD, TAIL = "quixotic", "zephyrine"
ELSEWHERE = f"{WORD} {TAIL}"
"""Every text of the other account: its name, its invoices' numbers and customers, notes, ..."""

LIKE_IT = f"{WORD} nothingness"
"""What nothing is called."""

EVIDENCE = "/admin/invoices/evidenceexport/export/"
PASTE = "/admin/invoices/invoice/paste/"
LINKS = {
    "invoice": "invoice/{}/",
    "own": "cancellationbatch/{}/",
    "foreign": "cancellationbatch/{}/",
    "mixed": "cancellationbatch/{}/",
    "awaiting": "awaitingbatch/{}/",
    "parked": "cancellationattempt/{}/",
    "call": "providerrequest/{}/",
    "run": "syncrun/{}/",
    "account": "provideraccount/{}/",
    "rule": "approvalrule/{}/",
}


@pytest.fixture(scope="module", autouse=True)
def nothing_counted() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def limits() -> Limits:
    return limited(ELSEWHERE)


def text_of(answer: HttpResponseBase) -> str:
    """All of it: of a pack, what is in its files."""
    if isinstance(answer, StreamingHttpResponse):
        pack = ZipFile(BytesIO(answer.getvalue()))
        return "\n".join(pack.read(name).decode("utf-8", "replace") for name in pack.namelist())
    content: bytes = getattr(answer, "content", b"")
    return content.decode("utf-8", "replace") + str(answer.headers) + str(answer.cookies)


def told_of(limits: Limits, answer: HttpResponseBase) -> list[str]:
    """What of the other account's an answer has: words, and ways to its rows."""
    text = text_of(answer).lower()
    links = [part.format(limits.foreign[name]) for name, part in LINKS.items()]
    return [one for one in (WORD, TAIL, *links) if one in text]


def everywhere(limits: Limits, cookies: SimpleCookie) -> Iterator[tuple[str, HttpResponseBase]]:
    """The pages that links lead to, and all others that the site has."""
    yield from crawl(cookies)
    for page in PAGES:
        # What the address itself names, an answer may name, too.
        ids = {**limits.world.ids, **limits.missing}
        yield page.address, ask("GET", page.at(ids), cookies)
        with undone():
            data = {name: value.format(**ids) for name, value in page.posted.items()}
            yield f"POST {page.address}", ask("POST", page.at(ids), cookies, **data)


@pytest.mark.parametrize("letter", list(LIMITED))
def test_no_page_has_a_word_of_another_account(limits: Limits, letter: str) -> None:
    with quiet():
        found = {
            address: told
            for address, answer in everywhere(limits, limits.cookies(letter))
            if (told := told_of(limits, answer))
        }
    assert found == {}


@pytest.mark.parametrize("letter", list(LIMITED.values()))
def test_others_of_the_role_do_see_it(limits: Limits, letter: str) -> None:
    """Or else the test above could not fail."""
    missed = {WORD, TAIL, f"invoice/{limits.foreign['invoice']}/"}
    with quiet():
        for _, answer in crawl(limits.cookies(letter)):
            missed -= set(told_of(limits, answer))
            if not missed:
                return
    assert missed == set()


def searches(limits: Limits) -> Iterator[tuple[str, str, str]]:
    """List, what is looked for, and something like it that nothing is called."""
    batch, missing = (str(one["foreign"]) for one in (limits.foreign, limits.missing))
    for model in admin.site._registry:
        page = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        for typed, like in (
            (ELSEWHERE, LIKE_IT),
            (WORD, "quixotism"),
            (f"1 {ELSEWHERE}", f"1 {LIKE_IT}"),
            (f"batch {batch}", f"batch {missing}"),
            (str(limits.foreign["call"]), str(limits.missing["call"])),
        ):
            yield page, urlencode({"q": typed}), urlencode({"q": like})
        for name in ("account", "batch", "invoice"):
            one, other = (
                ids[name if name != "batch" else "foreign"]
                for ids in (limits.foreign, limits.missing)
            )
            yield page, f"{name}={one}", f"{name}={other}"


@pytest.mark.parametrize("letter", list(LIMITED))
def test_looking_for_it_finds_what_looking_for_nothing_finds(limits: Limits, letter: str) -> None:
    cookies = limits.cookies(letter)
    with quiet():
        for page, there, nowhere in searches(limits):
            found, like = (rows(ask("GET", f"{page}?{one}", cookies)) for one in (there, nowhere))
            assert found == like, (page, there)


def rows(answer: HttpResponseBase) -> tuple[int, list[str]]:
    """What a list shows, by the keys that its links and boxes have."""
    content: bytes = getattr(answer, "content", b"")
    shown = re.findall(r"/([\w-]+)/change/|_selected_action\" value=\"(\w+)", content.decode())
    return answer.status_code, sorted({*map("".join, shown)})


def test_a_pasted_list_matches_nothing_of_another_account(limits: Limits) -> None:
    cookies = limits.cookies("l")
    with quiet():
        pages = [
            text_of(
                ask("GET", ask("POST", PASTE, cookies, list=typed).headers["Location"], cookies)
            )
            for typed in (f"1 {ELSEWHERE}", f"1 {LIKE_IT}")
        ]
    counts = [re.findall(r"<dt>([^<]+)</dt><dd>(\d+)", page) for page in pages]
    assert ("Not found", "1") in counts[0]
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    "asked",
    [
        {"what": "span", "from": "2020-01-01", "to": "2999-12-31"},
        {"what": "sample", "size": "50", "seed": "x"},
    ],
)
def test_an_evidence_pack_has_nothing_of_another_account(
    limits: Limits, asked: dict[str, str]
) -> None:
    texts = {}
    for letter in ("m", "a"):
        answer = ask("POST", EVIDENCE, limits.cookies(letter), **asked)
        assert isinstance(answer, StreamingHttpResponse)
        texts[letter] = text_of(answer)
    assert "Plain words" in texts["m"]
    assert "account 2 Plain words" in texts["m"]
    assert (WORD in texts["m"], TAIL in texts["m"]) == (False, False)
    assert WORD in texts["a"]
