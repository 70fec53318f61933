"""The filter pills: fixed choices, none of which costs a scan of the table."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from invoices import access
from invoices.admin.readonly import person
from invoices.models import CancellationBatch
from providers.models import ProviderAccount

Choices = list[tuple[str, str]]


class ChoiceFilter(admin.SimpleListFilter):
    """A pill whose choices are `options`; a value that is none of them filters nothing out."""

    options: ClassVar[Choices] = []

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        """The choices."""
        return self.options

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of the chosen value; none for a value that cannot be chosen."""
        value = self.value()
        if value is None:
            return queryset
        if value not in {str(one) for one, _ in self.lookup_choices}:
            return queryset.none()
        return self.chosen(queryset, value)

    def chosen(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """The rows of one of the choices."""
        return rows.filter(**{str(self.parameter_name): value})

    @property
    def in_words(self) -> str:
        """The chosen value as it reads on the pill, "" for none."""
        return str(dict(self.lookup_choices).get(self.value() or "", ""))


class Hidden(admin.ListFilter):
    """A parameter that belongs to the list but has no pill."""

    title = "hidden"
    parameter_name: ClassVar[str] = ""

    def __init__(
        self,
        request: HttpRequest,
        params: dict[str, list[str]],
        model: type[Any],
        model_admin: admin.ModelAdmin[Any],
    ) -> None:
        super().__init__(request, params, model, model_admin)
        params.pop(self.parameter_name, None)

    def has_output(self) -> bool:
        """No pill."""
        return False


class AccountFilter(ChoiceFilter):
    """By provider account."""

    title = "account"
    parameter_name = "account"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        """All that this person has: there are few."""
        accounts = access.narrow(person(request), ProviderAccount.objects.all())
        return [(str(pk), name) for pk, name in accounts.values_list("pk", "name")]


class BatchStateFilter(ChoiceFilter):
    """By state; without a choice, previews that were not confirmed are left out."""

    title = "state"
    parameter_name = "state"
    options = [(str(value), str(label)) for value, label in CancellationBatch.State.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The default leaves out what was never confirmed."""
        if self.value() is None:
            return queryset.exclude(state__in=("draft", "discarded"))
        return super().queryset(request, queryset)
