"""To which provider accounts a person is limited."""

from typing import ClassVar

from django.conf import settings
from django.db import models

from providers.models import ProviderAccount


class AccountAccess(models.Model):
    """One account of those that a person is limited to; a person without any has all.

    `access.py` says what follows from it. An account that somebody is limited to cannot be deleted:
    they would have all accounts then.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="account_limits",
        db_index=False,
    )
    account = models.ForeignKey(ProviderAccount, on_delete=models.PROTECT, related_name="+")

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "account"], name="access_once_per_account"),
        ]

    def __str__(self) -> str:
        return f"{self.user} at {self.account}"
