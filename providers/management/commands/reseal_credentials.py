"""`manage.py reseal_credentials`: the second of three steps to a new key for credentials.

Before: the new key in front in CREDENTIAL_KEYS, everything restarted. Afterwards the old key can
be left out.
"""

from typing import Any

from cryptography.fernet import InvalidToken
from django.core.management.base import BaseCommand, CommandError

from providers.credentials import reseal
from providers.models import ProviderAccount


class Command(BaseCommand):
    """Encrypts each account's credentials anew; those that no key opens stay as they are."""

    help = "Encrypts all stored credentials with the first of CREDENTIAL_KEYS."

    def handle(self, *args: Any, **options: Any) -> None:
        """One account after the other, each only if nobody changed it meanwhile."""
        unreadable = []
        for account in ProviderAccount.objects.exclude(sealed_credentials=b""):
            try:
                sealed = reseal(bytes(account.sealed_credentials))
            except InvalidToken:
                unreadable.append(account.name)
                continue
            unchanged = ProviderAccount.objects.filter(
                pk=account.pk, sealed_credentials=account.sealed_credentials
            )
            unchanged.update(sealed_credentials=sealed)
            self.stdout.write(f"{account}: encrypted with the first key")
        if unreadable:
            raise CommandError(f"No key opens the credentials of: {', '.join(unreadable)}.")
