"""Following every link changes nothing, whoever follows it."""

import pytest

from tests.security.crawling import crawl
from tests.security.walking import changed, held, quiet
from tests.security.world import ROLES, build

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("letter", list(ROLES))
def test_every_link_can_be_followed_and_changes_nothing(letter: str) -> None:
    world = build()
    cookies = world.cookies(letter)
    with quiet():
        before = held()
        seen = {address: answer.status_code for address, answer in crawl(cookies)}
        after = changed(before)
    assert after == []
    assert len(seen) > (2 if letter == "n" else 15)
    # Nothing is offered that the same person is then refused.
    assert {one: status for one, status in seen.items() if status not in (200, 286, 302)} == {}
