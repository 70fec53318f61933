"""The form for provider accounts: fields by provider, credentials that only go in.

Nothing is registered here: who does also keeps the history of what was changed.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from django import forms
from django.contrib import admin
from django.contrib.admin.options import ShowFacets
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from providers.adapters import ADAPTERS
from providers.adapters.base import Adapter, CredentialField, SettingField
from providers.entry import (
    LONGEST_CREDENTIAL,
    credential_problem,
    setting_problem,
    stored_credentials,
    stored_note,
)
from providers.models import ProviderAccount

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldsetSpec

MOST_CHARACTERS = 100
MOST_WORDS = 5
CREDENTIAL = "credential_"
SETTING = "setting_"
OWN = ("name", "environment", "base_url", "rate_per_second", "concurrency")
ADDRESS = ("environment", "base_url")


def first_words(typed: str) -> str:
    """As much of what was typed into a search box as is looked for."""
    return " ".join(typed[:MOST_CHARACTERS].split()[:MOST_WORDS])


class AccountForm(forms.ModelForm[ProviderAccount]):
    """One account. `adapter` says which fields there are; `account_form` makes the class."""

    adapter: ClassVar[type[Adapter]]

    class Meta:
        model = ProviderAccount
        fields = OWN

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.provider = self.adapter.code
        self._stored = stored_credentials(self.instance) if self.instance.pk else {}
        if self.instance.base_url == self.adapter.environments.get(self.instance.environment):
            self.initial["base_url"] = ""
        for one in self.adapter.credential_fields:
            self._prepare_credential(one, self._stored.get(one.name, ""))
        for setting in self.adapter.setting_fields:
            held = self.instance.api_settings.get(setting.name, setting.default)
            self.fields[SETTING + setting.name].initial = held

    def _prepare_credential(self, one: CredentialField, stored: str) -> None:
        field = self.fields[CREDENTIAL + one.name]
        field.required = not stored
        field.help_text = f"{one.help} {stored_note(one, stored)}" if stored else one.help
        if not one.secret:
            field.initial = stored

    @property
    def entered(self) -> dict[str, str]:
        """The credentials that were entered and are other than the stored ones."""
        given = {
            one.name: self.cleaned_data.get(CREDENTIAL + one.name) or ""
            for one in self.adapter.credential_fields
        }
        return {
            name: value
            for name, value in given.items()
            if value and value != self._stored.get(name)
        }

    @property
    def changed_columns(self) -> list[str]:
        """The model's fields that differ from what was shown."""
        columns = [name for name in OWN if name in self.changed_data]
        if "environment" in columns and "base_url" not in columns:
            columns.append("base_url")
        if any(name.startswith(SETTING) for name in self.changed_data):
            columns.append("api_settings")
        return columns

    def clean(self) -> dict[str, Any] | None:
        """Credentials and settings by their own rules."""
        cleaned = super().clean()
        for one in self.adapter.credential_fields:
            self._check_credential(one)
        for setting in self.adapter.setting_fields:
            problem = setting_problem(setting, self.cleaned_data.get(SETTING + setting.name) or "")
            if problem and SETTING + setting.name not in self.errors:
                self.add_error(SETTING + setting.name, problem)
        self.instance.api_settings = {
            setting.name: self.cleaned_data.get(SETTING + setting.name) or setting.default
            for setting in self.adapter.setting_fields
        }
        return cleaned

    def _check_credential(self, one: CredentialField) -> None:
        name = CREDENTIAL + one.name
        value = self.cleaned_data.get(name) or ""
        problem = credential_problem(one, value) if value else ""
        if problem and name not in self.errors:
            self.add_error(name, problem)
        moved = any(part in self.changed_data for part in ADDRESS)
        if one.secret and not value and moved and self._stored.get(one.name):
            self.add_error(
                name,
                "Enter it anew: the stored one is not sent to an address it was not meant for.",
            )


def account_form(adapter: type[Adapter]) -> type[AccountForm]:
    """The form for accounts of one provider."""
    fields: dict[str, Any] = {
        "adapter": adapter,
        "__module__": __name__,
        "environment": forms.ChoiceField(
            choices=[(name, f"{name} ({url})") for name, url in adapter.environments.items()]
        ),
        "rate_per_second": forms.FloatField(
            label="Requests per second",
            initial=adapter.rate_per_second,
            min_value=0.01,
            max_value=100_000,
            help_text=f"For {adapter.label} usually {adapter.rate_per_second:g}.",
        ),
    }
    for one in adapter.credential_fields:
        fields[CREDENTIAL + one.name] = _credential_field(one)
    for setting in adapter.setting_fields:
        fields[SETTING + setting.name] = _setting_field(setting)
    return cast("type[AccountForm]", type(f"{adapter.__name__}AccountForm", (AccountForm,), fields))


def _credential_field(one: CredentialField) -> forms.CharField:
    attributes = {"autocomplete": "off", "spellcheck": "false", "class": "vTextField"}
    if one.secret:
        attributes["autocomplete"] = "new-password"
    widget = forms.PasswordInput if one.secret else forms.TextInput
    return forms.CharField(
        label=one.label,
        max_length=LONGEST_CREDENTIAL,
        widget=widget(attrs=attributes),
    )


def _setting_field(setting: SettingField) -> forms.Field:
    if setting.choices:
        return forms.ChoiceField(
            label=setting.label, choices=list(setting.choices.items()), help_text=setting.help
        )
    return forms.CharField(
        label=setting.label, max_length=100, required=False, help_text=setting.help
    )


class ProviderAccountAdmin(admin.ModelAdmin[ProviderAccount]):
    """Adding asks for the provider first; then, and on change, the form has its fields.

    Subclasses store what was entered, in `store`.
    """

    readonly_fields = ("provider_label", "settings_text")
    search_fields = ("name",)
    show_facets = ShowFacets.NEVER
    show_full_result_count = False
    ordering = ("name",)
    view_on_site = False
    save_as = False
    filter_parameters: tuple[str, ...] = ()
    """The query parameters that the list knows; any other is refused."""

    def has_delete_permission(
        self, request: HttpRequest, obj: ProviderAccount | None = None
    ) -> bool:
        """Nobody: its invoices and their record stand on it. It can be paused."""
        return False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Only the parameters of the list's own filters, so that no field can be guessed at."""
        return lookup in self.filter_parameters

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By the first words; thousands of them would be more than a database takes."""
        return super().get_search_results(request, queryset, first_words(search_term))

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Which provider? Then the form."""
        if request.GET.get("provider") not in ADAPTERS:
            return self._choose(request)
        return super().add_view(request, form_url, extra_context)

    def _choose(self, request: HttpRequest) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": "Add a provider account",
            "opts": self.opts,
            "choices": [
                {"code": code, "label": one.label, "fields": one.credential_fields}
                for code, one in ADAPTERS.items()
            ],
        }
        return TemplateResponse(request, "admin/providers/provideraccount/choose.html", context)

    def get_form(
        self,
        request: HttpRequest,
        obj: ProviderAccount | None = None,
        change: bool = False,
        **kwargs: Any,
    ) -> type[forms.ModelForm[ProviderAccount]]:
        """The form for this account's provider, or for the chosen one."""
        kwargs["form"] = account_form(_adapter(request, obj))
        return super().get_form(request, obj, change, **kwargs)

    def get_fieldsets(
        self, request: HttpRequest, obj: ProviderAccount | None = None
    ) -> "_FieldsetSpec":
        """Whoever may not change an account sees no word about its credentials."""
        adapter = _adapter(request, obj)
        if obj is not None and not self.has_change_permission(request, obj):
            return [(None, {"fields": ("provider_label", *OWN, "settings_text")})]
        settings = [SETTING + one.name for one in adapter.setting_fields]
        credentials = [CREDENTIAL + one.name for one in adapter.credential_fields]
        return [
            (None, {"fields": ("provider_label", "name", "environment", "base_url", *settings)}),
            ("Credentials", {"fields": tuple(credentials), "description": _ONE_WAY}),
            ("Pace", {"fields": ("rate_per_second", "concurrency")}),
        ]

    def save_model(
        self, request: HttpRequest, obj: Model, form: forms.BaseModelForm[Any], change: bool
    ) -> None:
        """Hand over to `store`."""
        self.store(request, cast(ProviderAccount, obj), cast(AccountForm, form), change)

    def store(
        self, request: HttpRequest, account: ProviderAccount, form: AccountForm, change: bool
    ) -> None:
        """Keep what was entered, and a record of it."""
        raise NotImplementedError

    @admin.display(description="Provider")
    def provider_label(self, account: ProviderAccount) -> str:
        """The provider's name."""
        adapter = ADAPTERS.get(account.provider)
        return adapter.label if adapter else account.provider

    @admin.display(description="Settings")
    def settings_text(self, account: ProviderAccount) -> str:
        """The settings that are no secret, in words."""
        fields: Sequence[SettingField] = account.adapter_class.setting_fields
        held: Mapping[str, str] = account.api_settings
        words = [(one, held.get(one.name, one.default)) for one in fields]
        return ", ".join(f"{one.label}: {one.choices.get(word, word)}" for one, word in words)


_ONE_WAY = (
    "Credentials are stored encrypted and a secret is never shown again. An empty field keeps what"
    " is stored."
)


def _adapter(request: HttpRequest, account: ProviderAccount | None) -> type[Adapter]:
    code = account.provider if account is not None else request.GET.get("provider", "")
    adapter = ADAPTERS.get(code)
    if adapter is None:
        raise PermissionDenied("This provider is not known.")
    return adapter
