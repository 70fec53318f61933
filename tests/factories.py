"""Made-up people, accounts and invoices for tests."""
# factory-boy's declarations carry no types.
# mypy: disable-error-code="attr-defined, no-untyped-call, untyped-decorator"

from datetime import timedelta
from typing import Any

import factory
from django.contrib.auth.models import Group, User
from django.utils import timezone
from factory.django import DjangoModelFactory

from invoices import access
from invoices.models import AccountAccess, Invoice, remote_values
from providers.adapters import ADAPTERS
from providers.adapters.base import RemoteInvoice
from providers.models import ProviderAccount
from providers.sandbox.credentials import BASE_PATHS, CREDENTIALS, PROVIDERS


class UserFactory(DjangoModelFactory[User]):
    """A person; `role` puts them into that group. Password: "secret"."""

    class Meta:
        model = User
        skip_postgeneration_save = True

    username = factory.Sequence(lambda n: f"person{n}")
    is_staff = True

    @factory.post_generation
    def role(self: User, create: bool, extracted: str | None, **kwargs: Any) -> None:
        self.set_password("secret")
        self.save()
        if extracted:
            self.groups.add(Group.objects.get(name=extracted))


class AccountFactory(DjangoModelFactory[ProviderAccount]):
    """An account that speaks to a sandbox: `AccountFactory(name="monite-nord", origin=...)`."""

    class Meta:
        model = ProviderAccount
        skip_postgeneration_save = True

    class Params:
        origin = "http://127.0.0.1:9"

    name = "paypal-europe"
    provider = factory.LazyAttribute(lambda account: PROVIDERS[account.name])
    environment = factory.LazyAttribute(
        lambda account: next(iter(ADAPTERS[account.provider].environments))
    )
    base_url = factory.LazyAttribute(lambda account: account.origin + BASE_PATHS[account.provider])
    rate_per_second = 10_000.0
    concurrency = 8

    @factory.post_generation
    def credentials(
        self: ProviderAccount, create: bool, extracted: dict[str, str] | None, **kwargs: Any
    ) -> None:
        held = CREDENTIALS.get(self.name, {}) if extracted is None else extracted
        self.set_credentials(held)
        self.save()


def limit(user: User, *accounts: ProviderAccount) -> User:
    """Limit a person to these accounts; returns them as the next request would know them."""
    AccountAccess.objects.filter(user=user).delete()
    AccountAccess.objects.bulk_create(AccountAccess(user=user, account=one) for one in accounts)
    return access.people().get(pk=user.pk)


class InvoiceFactory(DjangoModelFactory[Invoice]):
    """An open invoice, not known to any sandbox."""

    class Meta:
        model = Invoice

    account = factory.SubFactory(AccountFactory)
    external_id = factory.Sequence(lambda n: f"INV2-TEST-0000-0000-{n:04d}")
    number = factory.Sequence(lambda n: f"T-{n:05d}")
    customer_name = "Sample customer"
    customer_email = "customer@example.com"
    currency = "EUR"
    exponent = 2
    amount_minor = 12_345
    balance_minor = 12_345
    status = Invoice.Status.OPEN
    provider_status = "SENT"
    search_text = factory.LazyAttribute(
        lambda invoice: f" {invoice.number} {invoice.external_id} {invoice.customer_name}".lower()
    )


def store(account: ProviderAccount, remote: RemoteInvoice) -> Invoice:
    """The invoice as an import would store it."""
    read_at = timezone.now() - timedelta(seconds=account.adapter_class.read_lag)
    return Invoice.objects.create(
        account=account,
        external_id=remote.reference,
        synced_at=read_at,
        **remote_values(remote),
    )
