"""The form for the rules of approval. Nobody deletes one: it is switched off."""

from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin
from django.contrib.admin.options import ShowFacets
from django.contrib.auth.models import User
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from invoices import access, approval_rules
from invoices.admin.readonly import cell, person, with_facts
from invoices.models import ApprovalRule
from invoices.models.approval import LONGEST_DELAY
from providers.models import ProviderAccount
from providers.money import LARGEST, exponent_of, format_minor, to_minor


class RuleForm(forms.ModelForm[ApprovalRule]):
    """A limit as people write it: 100, or 10000.00 with its currency.

    `asker` is set on the class that is made for a request.
    """

    asker: ClassVar[User]

    account = forms.ModelChoiceField(
        queryset=ProviderAccount.objects.all(),
        required=False,
        empty_label="All accounts",
        help_text="At one account only what lies in it counts.",
    )
    limit = forms.CharField(
        label="From",
        max_length=40,
        help_text="A number of invoices, or an amount such as 10000.00. From there on, the limit"
        " itself included, a batch needs an approver.",
    )
    currency = forms.CharField(
        required=False,
        max_length=12,
        help_text="For amounts, as invoices state it, e.g. EUR. Nothing is ever converted: where"
        " there are limits for amounts, a batch with amounts in a currency that has none needs an"
        " approver.",
    )
    delay_minutes = forms.IntegerField(
        label="Minutes to recall",
        min_value=0,
        max_value=LONGEST_DELAY,
        initial=0,
        help_text="So long after the approval nothing is sent, and the batch can be recalled.",
    )
    is_active = forms.BooleanField(label="In force", required=False, initial=True)

    class Meta:
        model = ApprovalRule
        fields = ("measure", "account", "delay_minutes", "is_active", "currency")
        labels = {"measure": "What counts"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        account = cast("forms.ModelChoiceField[ProviderAccount]", self.fields["account"])
        account.queryset = access.narrow(self.asker, ProviderAccount.objects.all())
        if access.is_limited(self.asker):
            account.required, account.empty_label = True, None
        if self.instance.pk:
            shown = format_minor(self.instance.threshold, self.instance.exponent)
            self.initial["limit"] = shown.replace(",", "")

    def clean(self) -> dict[str, Any]:
        """The limit in minor units, by what it measures."""
        cleaned = super().clean() or {}
        currency = (cleaned.get("currency") or "").strip().upper()
        text, measure = str(cleaned.get("limit", "")).replace(",", ""), cleaned.get("measure")
        if not text or not measure:
            return cleaned
        is_amount = measure in ApprovalRule.AMOUNTS
        exponent = exponent_of(currency) if is_amount else 0
        self._check_currency(is_amount, currency)
        threshold = to_minor(text, exponent)
        if threshold is None or not 0 <= threshold <= LARGEST or (not is_amount and not threshold):
            self.add_error("limit", _NO_AMOUNT if is_amount else _NO_NUMBER)
            return cleaned
        self.instance.threshold, self.instance.exponent = threshold, exponent
        return {**cleaned, "currency": currency if is_amount else ""}

    def _check_currency(self, is_amount: bool, currency: str) -> None:
        if is_amount and not currency:
            self.add_error("currency", "An amount needs its currency.")
        if not is_amount and currency:
            self.add_error("currency", "A number of invoices has no currency.")


_NO_AMOUNT = "This is no amount of this currency. Write it like 10000.00."
_NO_NUMBER = "Write a whole number of at least 1."


@admin.register(ApprovalRule)
class RuleAdmin(admin.ModelAdmin[ApprovalRule]):
    """What administrators enter, and auditors and approvers read."""

    form = RuleForm
    fields = ("measure", "account", "limit", "currency", "delay_minutes", "is_active")
    readonly_fields = ("name", "where")
    list_display = ("name", "state", "where", "delay")
    list_select_related = ("account",)
    list_display_links = ("name",)
    change_list_template = "invoices/rule_list.html"
    actions = None
    filter_parameters: ClassVar[tuple[str, ...]] = ()
    sortable_by: ClassVar[tuple[str, ...]] = ()
    show_facets = ShowFacets.NEVER
    show_full_result_count = False
    view_on_site = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApprovalRule]:
        """Those that hold for what this person sees."""
        return access.narrow(person(request), super().get_queryset(request))

    def has_change_permission(self, request: HttpRequest, obj: ApprovalRule | None = None) -> bool:
        """A rule for all accounts is not for those to change who have some."""
        allowed = super().has_change_permission(request, obj)
        holds_for_all = obj is not None and obj.account_id is None
        return allowed and not (holds_for_all and access.is_limited(person(request)))

    def get_form(
        self,
        request: HttpRequest,
        obj: ApprovalRule | None = None,
        change: bool = False,
        **kwargs: Any,
    ) -> type[forms.ModelForm[ApprovalRule]]:
        """With this person's accounts."""
        form = cast("type[RuleForm]", super().get_form(request, obj, change, **kwargs))
        form.asker = person(request)
        return form

    def has_delete_permission(self, request: HttpRequest, obj: ApprovalRule | None = None) -> bool:
        """Nobody: it is switched off instead."""
        return False

    def get_fields(self, request: HttpRequest, obj: ApprovalRule | None = None) -> tuple[str, ...]:
        """For those who only read: in words, without a link to an account not open to them."""
        if obj is not None and not self.has_change_permission(request, obj):
            return ("name", "where", "delay_minutes", "is_active")
        return self.fields

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """None: the list has no filters."""
        return lookup in self.filter_parameters

    @admin.display(description="Needs an approver")
    def name(self, rule: ApprovalRule) -> SafeString:
        """From what on."""
        return cell("name", name=str(rule))

    @admin.display(description="In force")
    def state(self, rule: ApprovalRule) -> SafeString:
        """Whether it applies."""
        return cell("in_force", rule=rule)

    @admin.display(description="Account")
    def where(self, rule: ApprovalRule) -> str:
        """Where it applies."""
        return str(rule.account or "All accounts")

    @admin.display(description="Time to recall")
    def delay(self, rule: ApprovalRule) -> str:
        """After the approval."""
        return f"{rule.delay_minutes} min" if rule.delay_minutes else "None"

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list, and whether any rule is in force."""
        response = super().changelist_view(request, extra_context)
        with_facts(response, lambda shown: self._facts(request))
        return response

    def save_model(
        self, request: HttpRequest, obj: Model, form: forms.BaseModelForm[Any], change: bool
    ) -> None:
        """With before and after in the history."""
        approval_rules.store(cast(ApprovalRule, obj), person(request))

    def _facts(self, request: HttpRequest) -> dict[str, Any]:
        rules = access.narrow(person(request), ApprovalRule.objects.filter(is_active=True))
        return {"none_in_force": not rules.exists()}
