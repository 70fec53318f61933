"""From where a person acted: the address behind our own proxies, kept with every event."""

from collections.abc import Sequence

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from backoffice.environment import networks
from invoices import presence
from invoices.models import CancellationAttempt, HistoryEvent
from invoices.models.attempt import State, Step
from providers.models import ProviderAccount
from tests.factories import AccountFactory, InvoiceFactory, UserFactory
from tests.pages.scenes import attempt, login, running

PROXY = ("10.0.0.7",)
TWO = ("10.0.0.0/8", "fd00::/8")


@pytest.mark.parametrize(
    ("remote", "forwarded", "proxies", "expected"),
    [
        ("203.0.113.9", "", (), "203.0.113.9"),
        # Without a named proxy the header is whatever the visitor likes.
        ("203.0.113.9", "198.51.100.1", (), "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", PROXY, "203.0.113.9"),
        ("10.0.0.7", "198.51.100.1", PROXY, "198.51.100.1"),
        # What the visitor claims stands on the left; the proxy adds on the right.
        ("10.0.0.7", "1.1.1.1, 198.51.100.1", PROXY, "198.51.100.1"),
        ("10.0.0.7", "1.1.1.1, 198.51.100.1, 10.9.9.9", TWO, "198.51.100.1"),
        ("fd00::7", "1.1.1.1,2001:db8::5", TWO, "2001:db8::5"),
        ("10.0.0.7", "198.51.100.1:52111", PROXY, "198.51.100.1"),
        ("10.0.0.7", "[2001:db8::5]:443", PROXY, "2001:db8::5"),
        ("::ffff:10.0.0.7", "::ffff:198.51.100.1", PROXY, "198.51.100.1"),
        ("10.0.0.7", "", PROXY, "10.0.0.7"),
        ("10.0.0.7", "198.51.100.1, unknown", PROXY, "10.0.0.7"),
        ("10.0.0.7", "10.0.0.7, 10.0.0.7", PROXY, "10.0.0.7"),
        ("fe80::1%eth0", "", (), "fe80::1"),
        # gunicorn behind a Unix socket.
        ("", "198.51.100.1", ("127.0.0.1",), "198.51.100.1"),
        ("", "198.51.100.1", (), "127.0.0.1"),
    ],
)
def test_only_what_our_own_proxies_add_is_believed(
    remote: str, forwarded: str, proxies: Sequence[str], expected: str
) -> None:
    named = networks(list(proxies), "TRUSTED_PROXIES")
    assert presence.network_address(remote, forwarded, named) == expected


@given(remote=st.text(max_size=60), forwarded=st.text(max_size=200))
def test_whatever_stands_in_the_headers_an_address_comes_out(remote: str, forwarded: str) -> None:
    everybody = networks(["0.0.0.0/0", "::/0"], "TRUSTED_PROXIES")
    found = presence.network_address(remote, forwarded, everybody)
    assert len(found) <= 45
    assert set(found) <= set("0123456789abcdef.:")


@pytest.mark.parametrize("given_text", ["proxy.example.com", "10.0.0.0/33", "10.0.0.1/8"])
def test_a_proxy_that_is_no_network_is_refused_by_name(given_text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="TRUSTED_PROXIES"):
        networks([given_text], "TRUSTED_PROXIES")


@pytest.mark.django_db
def test_what_a_person_does_on_a_page_is_kept_with_the_address(
    client: Client, settings: Settings
) -> None:
    settings.TRUSTED_PROXIES = networks(["127.0.0.1"], "TRUSTED_PROXIES")
    account: ProviderAccount = AccountFactory.create()
    login(client, "administrator")
    client.post(
        f"/admin/providers/provideraccount/{account.pk}/pause/",
        {"reason": "Too many refusals"},
        headers={"X-Forwarded-For": "1.1.1.1, 203.0.113.9"},
    )
    assert HistoryEvent.objects.get(kind="account_paused").address == "203.0.113.9"
    assert presence.address() == ""


@pytest.mark.django_db
def test_steps_of_many_attempts_carry_it_too() -> None:
    user = UserFactory.create(role="operator")
    made = attempt(running(user), InvoiceFactory.create(), "queued")
    step = Step(State.QUEUED, State.WITHDRAWN)
    with presence.at("203.0.113.9"):
        CancellationAttempt.objects.filter(pk=made.pk).move_all(step, actor=user)
    assert HistoryEvent.objects.get(attempt=made).address == "203.0.113.9"


@pytest.mark.django_db
def test_annul_itself_has_no_address() -> None:
    assert HistoryEvent.objects.create(kind="batch_state").address == ""
