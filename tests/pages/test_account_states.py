"""What is said of an account for which nothing is sent, wherever the account is shown."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from providers.models import ProviderAccount
from tests.factories import AccountFactory, UserFactory
from tests.pages.scenes import login, text

pytestmark = pytest.mark.django_db

ACCOUNTS = "/admin/providers/provideraccount/"


def said_everywhere(client: Client, *words: str, **facts: Any) -> None:
    """Each page that shows the account says these words."""
    account = AccountFactory.create()
    ProviderAccount.objects.update(**facts)
    login(client, "administrator")
    for address in ("/admin/", ACCOUNTS, f"{ACCOUNTS}{account.pk}/change/"):
        page = text(client, address)
        for word in words:
            assert word in page, (address, word)


def test_a_pause_says_by_whom_since_when_and_why(client: Client) -> None:
    user = UserFactory.create(username="mara")
    facts = {"paused_at": timezone.now(), "paused_by": user, "pause_reason": "New secret"}
    said_everywhere(client, "Paused since <time", "by mara: New secret", **facts)


def test_a_pause_that_no_person_made_is_annuls(client: Client) -> None:
    facts = {"paused_at": timezone.now(), "pause_reason": "The secret is refused."}
    said_everywhere(client, "by Annul: The secret is refused.", **facts)


@pytest.mark.parametrize(
    ("reason", "trips", "words"),
    [
        ("rate_limited", 0, "because the provider asked for fewer calls"),
        ("breaker", 1, "because too many calls to the provider failed"),
        ("breaker", 4, "failed, 4 times in a row by now"),
        ("", 0, "because of errors"),
    ],
)
def test_a_rest_says_until_when_and_why(
    client: Client, reason: str, trips: int, words: str
) -> None:
    until = timezone.now() + timedelta(minutes=5)
    facts = {"resting_until": until, "resting_reason": reason, "breaker_trips": trips}
    said_everywhere(client, "Rests until <time", words, "it goes on by itself", **facts)


def test_a_rest_that_is_over_is_not_mentioned(client: Client) -> None:
    AccountFactory.create(resting_until=timezone.now() - timedelta(seconds=1))
    login(client, "administrator")
    for address in ("/admin/", ACCOUNTS):
        page = text(client, address)
        assert "Rests until" not in page
        assert ">Active<" in page
