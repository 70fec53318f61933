"""The pages about users: who they are, their role, whether they may sign in, a new password.

What is stored and put on record is decided in people.py. Nobody is deleted, as their name stands
in the record: they are deactivated.
"""

from typing import TYPE_CHECKING, Any, ClassVar, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import ShowFacets
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import password_validation
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import SetPasswordForm, UserCreationForm, UsernameField
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters

from backoffice import people
from invoices import access, cells
from invoices.admin.filters import ChoiceFilter, Choices
from invoices.admin.readonly import CappedPaginator, RecordList, cell, person
from invoices.history import about_person
from providers.admin import first_words
from providers.models import ProviderAccount

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldsetSpec

WHO = ("username", "first_name", "last_name", "email")
ACCESS = ("is_active", "is_superuser")
DATES = ("last_login", "date_joined")
ALL = "None ticked means all. Of all others nothing is shown, and nothing can be done with them."
ALL_OF_YOURS = ALL.replace("all.", "all of yours.")


class Roles(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    """A box to tick for each of the five roles."""

    widget = forms.CheckboxSelectMultiple

    def __init__(self) -> None:
        five = Group.objects.filter(name__in=people.ROLES).order_by("name")
        super().__init__(five, required=False, label="Roles")

    def label_from_instance(self, obj: Model) -> str:
        """The role and what it is for."""
        name = cast(Group, obj).name
        return f"{name.capitalize()}: {people.ROLES[name]}"


class Accounts(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    """A box to tick for each provider account; `asker` says which there are."""

    widget = forms.CheckboxSelectMultiple

    def __init__(self) -> None:
        none = ProviderAccount.objects.none()
        super().__init__(none, required=False, label="Provider accounts", help_text=ALL)

    def offer(self, asker: User) -> None:
        """Those of whoever asks."""
        self.queryset = access.narrow(asker, ProviderAccount.objects.order_by("name"))
        if access.is_limited(asker):
            self.help_text = ALL_OF_YOURS


class OwnForm(forms.ModelForm[User]):
    """Name and address of somebody, without what decides on access."""

    class Meta:
        model = User
        fields: tuple[str, ...] = WHO
        field_classes = {"username": UsernameField}

    def clean_username(self) -> str:
        """A name that differs from another's only in case would be taken for it."""
        name: str = self.cleaned_data["username"]
        others = User.objects.exclude(pk=self.instance.pk)
        if others.filter(username__iexact=name).exists():
            raise ValidationError("A user with that username already exists.")
        return name


class PersonForm(OwnForm):
    """The same with access, roles and limits. `asker` is set on the class made for a request."""

    asker: ClassVar[User]

    roles = Roles()
    accounts = Accounts()

    class Meta(OwnForm.Meta):
        fields = (*WHO, *ACCESS)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["roles"].initial = self.instance.groups.all()
        if getattr(self.instance, "is_limited", False):
            held = self.instance.account_limits.values_list("account", flat=True)
            self.fields["accounts"].initial = list(held)
        cast(Accounts, self.fields["accounts"]).offer(self.asker)


class NewPersonForm(UserCreationForm[User]):
    """Somebody new, with a first password."""

    asker: ClassVar[User]

    roles = Roles()
    accounts = Accounts()

    class Meta(OwnForm.Meta):
        pass

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The admin's own script goes to the first field; two that do get in each other's way.
        self.fields["username"].widget.attrs.pop("autofocus", None)
        cast(Accounts, self.fields["accounts"]).offer(self.asker)


class RoleFilter(ChoiceFilter):
    """By role."""

    title = "role"
    parameter_name = "role"
    options: ClassVar[Choices] = [(name, name.capitalize()) for name in people.ROLES]

    def chosen(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """Those who hold it, perhaps among others."""
        return rows.filter(groups__name=value)


class ActiveFilter(ChoiceFilter):
    """By whether they may sign in."""

    title = "access"
    parameter_name = "access"
    options: ClassVar[Choices] = [("active", "Active"), ("deactivated", "Deactivated")]

    def chosen(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """Deactivated people stay in the list."""
        return rows.filter(is_active=value == "active")


class PersonList(RecordList):
    """The list; if any on it are limited, one query more tells to what."""

    def get_results(self, request: HttpRequest) -> None:
        """One page of people."""
        super().get_results(request)
        self.result_list = list(self.result_list)
        _name_limits(request, self.result_list)


def _name_limits(request: HttpRequest, shown: list[User]) -> None:
    limited = [one for one in shown if getattr(one, "is_limited", False) and not one.is_superuser]
    words = people.limits_in_words(person(request), limited) if limited else {}
    for one in limited:
        one.limits = words.get(one.pk, "")  # type: ignore[attr-defined]


admin.site.unregister(User)
# The five groups are made by a migration, with exactly what each may do.
admin.site.unregister(Group)


@admin.register(User)
class PersonAdmin(UserAdmin[User]):
    """Everybody who may sign in, or could once."""

    actions = None
    list_display = ("username", "full_name", "email", "roles", "accounts", "access", "seen")
    list_filter = (RoleFilter, ActiveFilter)
    filter_horizontal = ()
    search_help_text = "User name, name or e-mail address"
    sortable_by = ("username",)
    indexed_columns = ("username",)
    empty_value_display = ""
    paginator = CappedPaginator
    show_facets = ShowFacets.NEVER
    show_full_result_count = False
    view_on_site = False
    add_form = NewPersonForm
    add_form_template = "admin/auth/user/change_form.html"
    filter_parameters = ("role", "access")

    # --- Who may what -----------------------------------------------------------------------

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Superusers are for superusers."""
        allowed = super().has_change_permission(request, obj)
        return allowed and (obj is None or people.may_edit(person(request), obj))

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Nobody: the record names them."""
        return False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Only the list's own filters, so that no field can be guessed at."""
        return lookup in self.filter_parameters

    def _may_decide(self, request: HttpRequest, shown: User | None) -> bool:
        return shown is not None and people.may_decide(person(request), shown)

    # --- The list ---------------------------------------------------------------------------

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Our list."""
        return PersonList

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """With roles, in one query more, and whether they are limited."""
        rows = super().get_queryset(request).annotate(is_limited=access.has_limits())
        return rows.prefetch_related("groups")

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> User | None:
        """With the accounts that they are limited to, in words."""
        found = super().get_object(request, object_id, from_field)
        if found is not None:
            _name_limits(request, [found])
        return found

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By the first words; thousands of them would be more than a database takes."""
        return super().get_search_results(request, queryset, first_words(search_term))

    @admin.display(description="Name")
    def full_name(self, shown: User) -> str:
        """First and last."""
        return shown.get_full_name()

    @admin.display(description="Roles")
    def roles(self, shown: User) -> str:
        """All groups, ours or not."""
        held = [group.name.capitalize() for group in shown.groups.all()]
        return ", ".join([*(["Superuser"] if shown.is_superuser else []), *held])

    @admin.display(description="Limited to")
    def accounts(self, shown: User) -> str:
        """The provider accounts that they have; nothing stands for all."""
        return str(getattr(shown, "limits", ""))

    @admin.display(description="Access")
    def access(self, shown: User) -> SafeString:
        """Whether they may sign in."""
        return cell("access", person=shown)

    @admin.display(description="Last sign-in")
    def seen(self, shown: User) -> SafeString | None:
        """None: never."""
        return cells.moment(shown.last_login) if shown.last_login else None

    # --- The form ---------------------------------------------------------------------------

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> "_FieldsetSpec":
        """Roles to tick where they are this visitor's to give, else as text."""
        if obj is None:
            return (
                (None, {"fields": WHO}),
                ("Password", {"fields": ("password1", "password2")}),
                ("Access", {"fields": ("roles", "accounts")}),
            )
        return (
            (None, {"fields": WHO}),
            ("Access", {"fields": self._access_fields(request, obj)}),
            ("Dates", {"fields": DATES}),
        )

    def _access_fields(self, request: HttpRequest, shown: User) -> tuple[str, ...]:
        raised = ("is_superuser",) if person(request).is_superuser or shown.is_superuser else ()
        if self._may_decide(request, shown):
            return ("is_active", "roles", "accounts", *raised)
        return ("is_active", "held_roles", "held_accounts", *raised)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        """Dates always; access where it is not this visitor's to decide."""
        if obj is None:
            return ()
        if self._may_decide(request, obj):
            return DATES
        return (*DATES, *ACCESS, "held_roles", "held_accounts")

    @admin.display(description="Roles")
    def held_roles(self, shown: User) -> str:
        """As text."""
        return self.roles(shown)

    @admin.display(description="Provider accounts")
    def held_accounts(self, shown: User) -> str:
        """As text."""
        return self.accounts(shown) or "All"

    def get_form(
        self, request: HttpRequest, obj: User | None = None, change: bool = False, **kwargs: Any
    ) -> type[forms.ModelForm[User]]:
        """Without the roles where they are not to be given: an unsent box would take them."""
        if obj is not None:
            kwargs["form"] = PersonForm if self._may_decide(request, obj) else OwnForm
        form = super().get_form(request, obj, change=change, **kwargs)
        cast("type[PersonForm]", form).asker = person(request)
        return form

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The form, with the way to a new password."""
        shown = self.get_object(request, unquote(object_id))
        facts = {
            "may_set_password": self._may_decide(request, shown),
            "is_own": shown is not None and shown.pk == person(request).pk,
        }
        return super().change_view(request, object_id, form_url, {**facts, **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Only what was changed; put on record."""
        roles, accounts = (form.cleaned_data.get(name) for name in ("roles", "accounts"))
        if change:
            fields = [name for name in form.changed_data if name in (*WHO, *ACCESS)]
            people.change(person(request), obj, fields, roles, accounts)
        else:
            people.add(person(request), obj, roles, accounts)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """What this person did, and what was done with them, in our own record."""
        page = reverse("admin:invoices_historyevent_changelist", current_app=self.admin_site.name)
        code = about_person(object_id) if object_id.isdecimal() else "nobody"
        return HttpResponseRedirect(f"{page}?person={code.rpartition(':')[2]}")

    # --- A new password -----------------------------------------------------------------------

    @method_decorator(sensitive_post_parameters())
    def user_change_password(
        self, request: HttpRequest, id: str, form_url: str = ""
    ) -> HttpResponse:
        """For somebody else; one's own is changed where the old one is asked for."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        shown = self.get_object(request, unquote(id))
        if shown is None:
            raise Http404("There is no such user.")
        if shown.pk == person(request).pk:
            return HttpResponseRedirect(reverse("admin:password_change"))
        if not self._may_decide(request, shown):
            raise PermissionDenied
        form = SetPasswordForm(shown, request.POST or None)
        if request.method == "POST" and form.is_valid():
            people.set_password(person(request), shown, form.cleaned_data["new_password1"])
            messages.success(request, f"{shown} has a new password.")
            return HttpResponseRedirect(reverse("admin:auth_user_change", args=[shown.pk]))
        return self._password_page(request, shown, form)

    def _password_page(
        self, request: HttpRequest, shown: User, form: "SetPasswordForm[User]"
    ) -> HttpResponse:
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "title": f"Set the password of {shown}",
            "opts": self.opts,
            "original": shown,
            "form": form,
            "rules": password_validation.password_validators_help_texts(),
        }
        status = 400 if form.errors else 200
        page = "admin/auth/user/set_password.html"
        return TemplateResponse(request, page, context, status=status)
