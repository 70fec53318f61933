"""Whatever a provider, a payer or a colleague wrote is shown as text, on every page."""

from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from django.apps import apps
from django.db import models
from django.http import HttpResponse

from tests.security.pages import PAGES
from tests.security.walking import ask, quiet, undone
from tests.security.world import PLAIN, World, build

pytestmark = pytest.mark.django_db

PAYLOADS = (
    "<script>alert(1)</script>",
    '"><script>alert(1)</script>',
    "'><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "' onfocus='alert(1)' autofocus='",
    "<svg/onload=alert(1)>",
    "</title><script>alert(1)</script>",
    "</textarea><blink>",
    "</pre><iframe src=//evil.example>",
    "--><blink><!--",
    "]]><blink>",
    "<a href=javascript:alert(1)>x</a>",
    "javascript:alert(1)//",
    "{{ 7|add:7 }}{% now 'Y' %}",
    "<math><mi//xlink:href=x>",
    "<style>*{display:none}</style>",
    "<base href=//evil.example/>",
    '<meta http-equiv="refresh" content="0">',
    "&lt;b&gt;&#60;b&#62;<blink>",
    "`-alert(1)-`<blink>`",
    "<blink\u2028>\u202e<marquee>",
)
"""None of what they would make is used by our pages."""

LONG = " ".join([PLAIN] * 40)
WORLDS = 7
"""Several payloads share a world; the first of them stands in the short fields, too."""

MADE_BY_US = {
    "invoices.Checkpoint",
    "invoices.Seal",
    "invoices.SealTile",
    "invoices.SealerNote",
    "invoices.BodyPurge",
    "invoices.HistoryEvent.seal",
}
"""Tables that hold digests of ours and nothing that anybody wrote."""


class Shape(HTMLParser):
    """The kinds of elements of a page, each with the names of its attributes."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.seen: set[tuple[str, ...]] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element; where a link leads to by its scheme."""
        schemes = [(value or "").split(":")[0] for name, value in attrs if name in ("href", "src")]
        foreign = [one for one in schemes if one in ("javascript", "data", "vbscript")]
        self.seen.add((tag, *(name for name, _ in attrs), *foreign))

    def handle_comment(self, data: str) -> None:
        """A comment, too, could be broken out of."""
        self.seen.add(("comment",))


def shapes(world: World) -> Iterator[tuple[str, set[tuple[str, ...]]]]:
    """Each page of the table, as the first who may open it sees it."""
    jars = {letter: world.cookies(letter) for letter in ("o", "r")}
    for page in PAGES:
        letter = "r" if "r" in page.opens_for else "o"
        answer = ask("GET", page.at(world.ids), jars[letter])
        if isinstance(answer, HttpResponse) and "html" in answer.headers.get("Content-Type", ""):
            parser = Shape()
            parser.feed(answer.content.decode())
            yield page.address, parser.seen


@pytest.fixture(scope="module")
def plain() -> dict[str, set[tuple[str, ...]]]:
    """Filled by the first test that needs it."""
    return {}


@pytest.mark.parametrize("first", range(WORLDS))
def test_no_page_gets_an_element_or_attribute_from_what_is_stored(
    first: int, plain: dict[str, set[tuple[str, ...]]]
) -> None:
    with quiet():
        if not plain:
            # What is long is cut by the style sheet, and whole in a title.
            for text in (PLAIN, LONG):
                with undone():
                    for address, seen in shapes(build(text)):
                        plain.setdefault(address, set()).update(seen)
        found = dict(shapes(build(" ".join(PAYLOADS[first::WORLDS]))))
    assert found.keys() == plain.keys()
    assert len(found) > 40
    assert {one: new for one in found if (new := found[one] - plain[one])} == {}


def test_every_stored_text_is_part_of_it() -> None:
    build(PAYLOADS[0])
    without = [
        f"{model._meta.label}.{field.name}"
        for model in apps.get_models()
        if model._meta.app_label in ("invoices", "providers", "auth")
        if model._meta.label not in MADE_BY_US and not model._meta.proxy
        for field in model._meta.concrete_fields
        if isinstance(field, models.CharField | models.TextField) and not field.choices
        if not any(PAYLOADS[0][:8] in str(one) for one in values(model, field.name))
    ]
    assert set(without) - set(NOT_WRITTEN) == set()


def values(model: type[models.Model], field: str) -> list[object]:
    return list(model._base_manager.values_list(field, flat=True))


NOT_WRITTEN = {
    "auth.Permission.name": "by migrations",
    "auth.Permission.codename": "by migrations",
    "auth.Group.name": "by migrations",
    "auth.User.password": "a hash",
    "invoices.ProviderRequest.body_sha256": "a digest",
    "invoices.ProviderResponse.body_sha256": "a digest",
    "invoices.SavedView.query": "encoded as an address",
    "invoices.CancellationAttempt.frozen_status": "one of our words",
}
