"""Users: who may change what about whom, and that each change is on record."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.exceptions import PermissionDenied
from django.test import Client

from backoffice import people
from invoices.models import HistoryEvent
from tests.factories import UserFactory
from tests.pages.scenes import login, queries, text

pytestmark = pytest.mark.django_db

USERS = "/admin/auth/user/"
GOOD = "glacier-77-x"


def details() -> list[str]:
    seen = HistoryEvent.objects.filter(kind="user_changed").order_by("pk")
    return list(seen.values_list("detail", flat=True))


def group(name: str) -> str:
    return str(Group.objects.get(name=name).pk)


def form_of(person: User, **changes: Any) -> dict[str, Any]:
    person.refresh_from_db()
    held = {
        "username": person.username,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "email": person.email,
        "roles": [str(pk) for pk in person.groups.values_list("pk", flat=True)],
    }
    return {**held, **({"is_active": "on"} if person.is_active else {}), **changes}


def post(client: Client, person: User, **changes: Any) -> int:
    return client.post(f"{USERS}{person.pk}/change/", form_of(person, **changes)).status_code


def test_an_administrator_adds_somebody_with_a_password_and_a_role(client: Client) -> None:
    administrator = login(client, "administrator")
    posted = {"username": "dora", "email": "dora@example.com", "roles": [group("support")]}
    assert client.post(
        f"{USERS}add/", {**posted, "password1": GOOD, "password2": GOOD}
    ).status_code == (302)
    dora = User.objects.get(username="dora")
    assert (dora.is_staff, dora.is_superuser, dora.check_password(GOOD)) == (True, False, True)
    assert [one.name for one in dora.groups.all()] == ["support"]
    seen = HistoryEvent.objects.get()
    assert (seen.kind, seen.actor, seen.code) == (
        "user_changed",
        administrator,
        f"person:{dora.pk}",
    )
    assert seen.detail == "dora: added, roles: support."
    assert GOOD not in repr(HistoryEvent.objects.values())


def test_a_weak_password_or_a_name_taken_in_other_letters_adds_nobody(client: Client) -> None:
    login(client, "administrator", username="ada")
    for name, password in (("dora", "12345"), ("ADA", GOOD)):
        posted = {"username": name, "password1": password, "password2": password}
        assert client.post(f"{USERS}add/", posted).status_code == 200
    assert User.objects.count() == 1
    assert details() == []


def test_what_was_changed_is_told_in_words_and_without_values(client: Client) -> None:
    login(client, "administrator")
    dora: User = UserFactory.create(username="dora", role="support", email="old@example.com")
    assert post(client, dora, roles=[group("auditor")], email="new@example.com") == 302
    assert post(client, dora, is_active="") == 302
    assert post(client, dora, is_active="on") == 302
    assert post(client, dora, username="dorothea", first_name="Dorothea") == 302
    assert post(client, dora) == 302
    assert details() == [
        "dora: e-mail address changed; role auditor added; role support removed.",
        "dora: deactivated.",
        "dora: activated.",
        "dorothea: renamed, before: dora; first name changed.",
    ]
    assert User.objects.get(pk=dora.pk).is_staff


def test_groups_other_than_the_five_are_left_alone(client: Client) -> None:
    login(client, "administrator")
    dora: User = UserFactory.create(role="support")
    dora.groups.add(Group.objects.create(name="from the directory"))
    assert post(client, dora, roles=[]) == 302
    assert [one.name for one in dora.groups.all()] == ["from the directory"]


def test_a_group_that_is_no_role_cannot_be_given(client: Client) -> None:
    login(client, "administrator")
    dora: User = UserFactory.create()
    other = Group.objects.create(name="root")
    assert post(client, dora, roles=[str(other.pk)]) == 200
    assert not dora.groups.exists()


@pytest.mark.parametrize("superuser", [True, False])
def test_nobody_changes_the_own_roles_or_access(client: Client, superuser: bool) -> None:
    user = login(client, "administrator", username="ada", is_superuser=superuser)
    wanted = {"roles": [group("operator"), group("approver")], "is_superuser": "on"}
    assert post(client, user, **wanted, is_active="", first_name="Ada") == 302
    user.refresh_from_db()
    assert (user.is_active, user.is_superuser, user.first_name) == (True, superuser, "Ada")
    assert [one.name for one in user.groups.all()] == ["administrator"]
    assert details() == ["ada: first name changed."]


def test_an_administrator_makes_no_superuser(client: Client) -> None:
    login(client, "administrator")
    dora: User = UserFactory.create()
    assert "is_superuser" not in text(client, f"{USERS}{dora.pk}/change/")
    post(client, dora, is_superuser="on")
    assert not User.objects.get(pk=dora.pk).is_superuser


def test_an_administrator_neither_edits_a_superuser_nor_sets_their_password(client: Client) -> None:
    login(client, "administrator")
    root: User = UserFactory.create(username="root", is_superuser=True)
    assert post(client, root, email="mine@example.com") == 403
    posted = {"new_password1": GOOD, "new_password2": GOOD}
    assert client.post(f"{USERS}{root.pk}/password/", posted).status_code == 403
    root.refresh_from_db()
    assert (root.email, root.check_password(GOOD)) == ("", False)
    assert details() == []


def test_a_superuser_makes_and_unmakes_superusers(client: Client) -> None:
    client.force_login(UserFactory.create(is_superuser=True))
    dora: User = UserFactory.create(username="dora")
    assert post(client, dora, is_superuser="on") == 302
    assert post(client, dora) == 302
    assert details() == ["dora: made a superuser.", "dora: no superuser any more."]


def test_a_password_set_by_an_administrator_is_on_record(client: Client) -> None:
    administrator = login(client, "administrator")
    dora: User = UserFactory.create(username="dora")
    address = f"{USERS}{dora.pk}/password/"
    posted = {"new_password1": GOOD, "new_password2": "another"}
    assert client.post(address, posted).status_code == 400
    assert client.post(address, {**posted, "new_password2": GOOD}).status_code == 302
    dora.refresh_from_db()
    assert dora.check_password(GOOD)
    seen = HistoryEvent.objects.get()
    assert (seen.actor, seen.detail) == (administrator, "dora: password set.")


def test_the_own_password_is_changed_where_the_old_one_is_asked_for(client: Client) -> None:
    user = login(client, "administrator")
    posted = {"new_password1": GOOD, "new_password2": GOOD}
    answer = client.post(f"{USERS}{user.pk}/password/", posted)
    assert answer["Location"] == "/admin/password_change/"
    user.refresh_from_db()
    assert not user.check_password(GOOD)


@pytest.mark.parametrize("role", ["operator", "approver", "auditor", "support"])
def test_others_change_nobody(client: Client, role: str) -> None:
    user = login(client, role)
    dora: User = UserFactory.create(username="dora")
    posted = {"new_password1": GOOD, "new_password2": GOOD}
    for person in (dora, user):
        assert post(client, person, email="x@example.com") == 403
        assert client.post(f"{USERS}{person.pk}/password/", posted).status_code == 403
    new = {"username": "new", "password1": GOOD, "password2": GOOD}
    assert client.post(f"{USERS}add/", new).status_code == 403
    assert details() == []


def test_an_auditor_reads_who_has_which_role(client: Client) -> None:
    login(client, "auditor")
    dora: User = UserFactory.create(username="dora", role="operator")
    page = text(client, f"{USERS}{dora.pk}/change/")
    assert "Operator" in page
    assert "argon2" not in page
    assert dora.password not in page
    for query, found in (("role=operator", [dora]), ("role=auditor&q=dora", [])):
        assert list(client.get(f"{USERS}?{query}").context["cl"].result_list) == found


def test_nobody_is_deleted_not_even_by_a_superuser(client: Client) -> None:
    client.force_login(UserFactory.create(is_superuser=True))
    dora: User = UserFactory.create()
    assert client.post(f"{USERS}{dora.pk}/delete/", {"post": "yes"}).status_code == 403
    posted = {"action": "delete_selected", "_selected_action": [dora.pk], "post": "yes"}
    client.post(USERS, posted)
    assert User.objects.filter(pk=dora.pk).exists()


def test_roles_themselves_have_no_page(client: Client) -> None:
    client.force_login(UserFactory.create(is_superuser=True))
    assert client.get("/admin/auth/group/").status_code == 404


def test_the_list_takes_no_query_for_each_row(client: Client) -> None:
    login(client, "administrator")
    text(client, USERS)
    counts = []
    for more in (2, 20):
        for _ in range(more):
            UserFactory.create(role="support")
        counts.append(queries(client, USERS))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("parameter", ["password__startswith", "email__startswith", "groups__name"])
def test_no_field_can_be_guessed_at(client: Client, parameter: str) -> None:
    login(client, "administrator")
    assert client.get(USERS, {parameter: "a"}).status_code == 400


def test_the_functions_check_by_themselves(client: Client) -> None:
    """Whatever page may call them."""
    administrator: User = UserFactory.create(role="administrator")
    operator: User = UserFactory.create(role="operator")
    root: User = UserFactory.create(is_superuser=True)
    dora: User = UserFactory.create()
    roles = Group.objects.filter(name="operator")
    for refused in (
        lambda: people.change(operator, dora, ["email"]),
        lambda: people.change(administrator, root, ["email"]),
        lambda: people.change(administrator, administrator, [], roles),
        lambda: people.change(administrator, administrator, ["is_active"]),
        lambda: people.change(administrator, dora, ["is_superuser"]),
        lambda: people.set_password(administrator, root, GOOD),
        lambda: people.set_password(administrator, administrator, GOOD),
        lambda: people.add(operator, User(username="new"), roles),
        lambda: people.add(administrator, User(username="new", is_superuser=True), roles),
    ):
        with pytest.raises(PermissionDenied):
            refused()
    assert details() == []


def test_a_deactivated_administrator_changes_nobody() -> None:
    gone: User = UserFactory.create(role="administrator", is_active=False)
    gone.user_permissions.set(Permission.objects.filter(codename="change_user"))
    with pytest.raises(PermissionDenied):
        people.change(gone, UserFactory.create(), ["email"])


def test_the_way_from_a_user_to_what_happened(client: Client) -> None:
    user = login(client, "auditor")
    answer = client.get(f"{USERS}{user.pk}/history/")
    assert answer["Location"] == f"/admin/invoices/historyevent/?person={user.pk}"
