"""One set of credentials at one provider, with its environment, rate and pause switch."""

from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import urlsplit
from uuid import uuid4

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from providers.adapters import ADAPTERS
from providers.adapters.base import Adapter
from providers.credentials import Credentials, seal, unseal
from providers.exchange import Recorder
from providers.http import Client
from providers.redaction import Redactor


def provider_choices() -> list[tuple[str, str]]:
    """Code and label of every provider in the registry."""
    return [(code, adapter.label) for code, adapter in ADAPTERS.items()]


class ProviderAccount(models.Model):
    """Also the unit of work: one drainer at a time holds an account's lease."""

    name = models.CharField(max_length=80, unique=True)
    provider = models.CharField(max_length=32, choices=provider_choices)
    environment = models.CharField(max_length=32)
    base_url = models.CharField(
        "base URL",
        max_length=300,
        blank=True,
        help_text="Left empty, it is the provider's own address for the environment.",
    )
    sealed_credentials = models.BinaryField(default=b"", editable=False)
    seal_owner = models.UUIDField(default=uuid4, editable=False, unique=True)
    api_settings = models.JSONField(default=dict, blank=True)
    facts = models.JSONField(
        default=dict, editable=False, help_text="What the provider last said about the account."
    )
    rate_per_second = models.FloatField(
        "requests per second", validators=[MinValueValidator(0.01), MaxValueValidator(100_000)]
    )
    concurrency = models.PositiveSmallIntegerField(
        "requests at once", default=8, validators=[MinValueValidator(1), MaxValueValidator(64)]
    )
    paused_at = models.DateTimeField(null=True, editable=False)
    paused_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        editable=False,
        related_name="+",
    )
    pause_code = models.CharField(max_length=32, blank=True, editable=False)
    pause_reason = models.CharField(max_length=300, blank=True, editable=False)
    resting_until = models.DateTimeField(
        null=True, editable=False, help_text="Set by a rate limit or by the breaker."
    )
    resting_reason = models.CharField(max_length=32, blank=True, editable=False)
    breaker_trips = models.PositiveSmallIntegerField(default=0, editable=False)
    last_error = models.CharField(max_length=300, blank=True, editable=False)
    last_error_at = models.DateTimeField(null=True, editable=False)
    lease_token = models.UUIDField(null=True, editable=False)
    lease_expires_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering: ClassVar = ["name"]
        verbose_name = "provider account"
        permissions: ClassVar = [
            ("pause_provideraccount", "Can pause and resume a provider account"),
            ("check_provideraccount", "Can test a provider account's connection"),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse an unknown environment, and an address that is nobody's known host."""
        adapter = ADAPTERS.get(self.provider)
        if adapter is None:
            raise ValidationError({"provider": "This provider is not known."})
        if self.environment not in adapter.environments:
            known = ", ".join(adapter.environments)
            raise ValidationError({"environment": f"{adapter.label} has: {known}."})
        self.base_url = (self.base_url or adapter.environments[self.environment]).rstrip("/")
        problem = origin_problem(self.base_url, adapter, self.environment)
        if problem:
            raise ValidationError({"base_url": problem})

    @property
    def adapter_class(self) -> type[Adapter]:
        """The adapter by which we speak to this account's provider."""
        return ADAPTERS[self.provider]

    @property
    def is_paused(self) -> bool:
        """Whether somebody, or a refusal of the credentials, switched this account off."""
        return self.paused_at is not None

    @property
    def is_resting(self) -> bool:
        """Whether it waits until a time that lies ahead, and then goes on by itself."""
        return self.resting_until is not None and self.resting_until > timezone.now()

    @property
    def credentials(self) -> Credentials:
        """The decrypted credentials. Raises `UnreadableCredentials`."""
        return unseal(bytes(self.sealed_credentials), self.seal_owner)

    def set_credentials(self, values: Mapping[str, str]) -> None:
        """Encrypt and keep; the caller saves."""
        self.sealed_credentials = seal(values, self.seal_owner)

    def missing_credentials(self) -> list[str]:
        """Names of credentials that the provider needs and the account lacks."""
        held = self.credentials
        return [one.name for one in self.adapter_class.credential_fields if not held.get(one.name)]

    def connect(self, recorder: Recorder) -> Adapter:
        """An adapter that speaks for this account; its client is to be closed by the caller.

        Raises `ValidationError` when the address is not allowed (any more).
        """
        problem = origin_problem(self.base_url, self.adapter_class, self.environment)
        if problem:
            raise ValidationError(problem)
        held = self.credentials
        fields = self.adapter_class.credential_fields
        client = Client(
            self.base_url,
            redactor=Redactor(held[one.name] for one in fields if one.secret and one.name in held),
            recorder=recorder,
            total_seconds=self.adapter_class.total_seconds,
            ca_bundle=settings.PROVIDER_CA_BUNDLE,
        )
        return self.adapter_class(client, held, self.api_settings)


def origin_problem(base_url: str, adapter: type[Adapter], environment: str) -> str:
    """Why this address may not be called; "" when it may.

    It must be the provider's known host for the environment, or begin with an origin that
    PROVIDER_EXTRA_ORIGINS lists; plain http only to this machine, in DEBUG or DEMO.
    """
    url = base_url.rstrip("/")
    if url == adapter.environments.get(environment, "").rstrip("/"):
        return ""
    allowed = any(_within(url, origin) for origin in settings.PROVIDER_EXTRA_ORIGINS)
    if not allowed:
        return (
            f"{url} is neither {adapter.label}'s address for {environment} nor listed in "
            "PROVIDER_EXTRA_ORIGINS."
        )
    split = urlsplit(url)
    local = split.hostname in ("127.0.0.1", "localhost", "::1")
    if split.scheme != "https" and not (local and (settings.DEBUG or settings.DEMO)):
        return "Only https addresses may be called."
    return ""


def _within(url: str, origin: str) -> bool:
    """Whether a URL is an allowed origin or lies below it, with nothing slipped in between."""
    origin = origin.rstrip("/")
    # Before it is taken apart, which fails for what is no address at all.
    if url != origin and not url.startswith(origin + "/"):
        return False
    split = urlsplit(url)
    if split.username or split.password or split.query or split.fragment or "\\" in url:
        return False
    return not any(part in (".", "..") or "%" in part for part in split.path.split("/"))
