"""A new key for the credentials: in front, reseal, and the old one can go."""

import io

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from pytest_django import Settings

from providers.credentials import UnreadableCredentials
from tests.factories import AccountFactory

pytestmark = pytest.mark.django_db


def test_after_resealing_the_old_key_is_not_needed(settings: Settings) -> None:
    account = AccountFactory.create()
    held = dict(account.credentials)
    new = Fernet.generate_key().decode()
    settings.CREDENTIAL_KEYS = [new, *settings.CREDENTIAL_KEYS]
    said = io.StringIO()
    call_command("reseal_credentials", stdout=said)
    settings.CREDENTIAL_KEYS = [new]
    account.refresh_from_db()
    assert dict(account.credentials) == held
    assert said.getvalue() == "paypal-europe: encrypted with the first key\n"


def test_credentials_that_no_key_opens_are_named_and_kept(settings: Settings) -> None:
    account = AccountFactory.create()
    before = bytes(account.sealed_credentials)
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(CommandError, match="of: paypal-europe"):
        call_command("reseal_credentials")
    account.refresh_from_db()
    assert bytes(account.sealed_credentials) == before
    with pytest.raises(UnreadableCredentials):
        assert account.credentials
