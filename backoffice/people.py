"""What concerns people: signing in and out, and what administrators change about others.

All of it goes on record. Each function that changes somebody checks by itself whether it may.
Events carry in `code` whom they are about (`about`), in `actor` who did it.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import timedelta

from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from invoices import access, presence
from invoices.history import about_person
from invoices.models import AccountAccess, HistoryEvent
from providers.models import ProviderAccount

Kind = HistoryEvent.Kind

ROLES = {
    "operator": "finds invoices, previews and cancels them",
    "approver": "releases what an operator prepared; never an own batch",
    "auditor": "reads everything, raw requests and answers too; changes nothing",
    "support": "sees invoices and what happened to them, without raw payloads",
    "administrator": "users, provider accounts and settings; cancels and approves nothing",
}
"""The five groups, and what each is for."""

LONGEST_TRIED = 150
"""Characters kept of a name that somebody tried to sign in with."""

MOST_FAILURES = 100
WITHIN = timedelta(hours=1)
"""So many failures from one address are put on record in this time: the record only grows, and
anybody who can reach the page may fail as often as they like."""

NOT_NOTED = " Further failures from this address within the hour are not put on record."

OTHERS = "others"
NAMED_AT_ONCE = 4
"""Accounts in one event, whose text ends after 500 characters."""

_CALLED = {
    "username": "user name",
    "first_name": "first name",
    "last_name": "last name",
    "email": "e-mail address",
}


# --- Signing in and out -------------------------------------------------------------------------


def tried_to_sign_in(request: HttpRequest, response: HttpResponseBase) -> None:
    """Put on record how it went, told from the answer to the posted form."""
    if response.status_code == 302 and request.user.is_authenticated:
        signed_in(request.user)
    elif tried := request.POST.get("username", ""):
        sign_in_failed(tried)


def signed_in(person: User) -> None:
    """They proved who they are, and are let in."""
    HistoryEvent.objects.create(kind=Kind.SIGNED_IN, actor=person, code=about_person(person.pk))


def sign_in_failed(tried: str) -> None:
    """Somebody, nobody knows who, tried this name."""
    noted = HistoryEvent.objects.filter(
        kind=Kind.SIGN_IN_FAILED, address=presence.address(), at__gte=timezone.now() - WITHIN
    ).count()
    if noted >= MOST_FAILURES:
        return
    name = printable(tried)
    known = User.objects.filter(username=name).values_list("pk", flat=True).first()
    is_last = noted == MOST_FAILURES - 1
    HistoryEvent.objects.create(
        kind=Kind.SIGN_IN_FAILED,
        code=about_person(known) if known else "",
        detail=f"Tried as “{name}”.{NOT_NOTED if is_last else ''}",
    )


def code_refused(person: User) -> None:
    """Somebody who knows their password gave a code that is not right."""
    HistoryEvent.objects.create(
        kind=Kind.SIGN_IN_FAILED, code=about_person(person.pk), detail="The code was not right."
    )


def signed_out(person: User) -> None:
    """They ended their session themselves."""
    HistoryEvent.objects.create(kind=Kind.SIGNED_OUT, actor=person, code=about_person(person.pk))


def own_password_changed(person: User) -> None:
    """They gave themselves another password, knowing the old one."""
    record(person, person, ["changed the own password"])


def printable(text: str) -> str:
    """In one line, short, without characters that control or that turn the reading direction."""
    kept = (" " if char.isspace() else char for char in text[: 4 * LONGEST_TRIED])
    plain = "".join(char for char in kept if unicodedata.category(char)[0] != "C")
    return " ".join(plain.split())[:LONGEST_TRIED]


# --- What administrators do with others ---------------------------------------------------------


def may_edit(actor: User, person: User) -> bool:
    """Whether somebody may change this person at all: superusers are for superusers."""
    if not (actor.is_active and actor.has_perm("auth.change_user")):
        return False
    return actor.is_superuser or not person.is_superuser


def may_decide(actor: User, person: User) -> bool:
    """Whether they may decide on roles and access: nobody does so for themselves.

    Whoever is limited to some accounts does so for those alone who have no others.
    """
    return may_edit(actor, person) and actor.pk != person.pk and _covers(actor, person)


def add(
    actor: User, person: User, roles: Iterable[Group], accounts: Iterable[ProviderAccount] = ()
) -> None:
    """Store a new person, already validated, with a password. Raises `PermissionDenied`.

    They are limited to `accounts`, without any to those of `actor`.
    """
    if not (may_edit(actor, person) and actor.has_perm("auth.add_user")):
        raise PermissionDenied("This needs a permission that you do not have.")
    chosen = _of_the_five(roles)
    limits = _granted(actor, accounts)
    with transaction.atomic():
        # The admin is the whole site.
        person.is_staff = True
        person.save(force_insert=True)
        person.groups.set(chosen)
        names = ", ".join(group.name for group in chosen) or "none"
        record(actor, person, [f"added, roles: {names}"])
        _limit(actor, person, limits)


def change(
    actor: User,
    person: User,
    fields: Collection[str],
    roles: Iterable[Group] | None = None,
    accounts: Iterable[ProviderAccount] | None = None,
) -> list[str]:
    """Store the named fields as they are on `person`, roles and limits unless None.

    Returns in words what was changed. Raises `PermissionDenied` for a superuser changed by
    somebody who is none, and for own roles, limits and access.
    """
    decides = (
        roles is not None or accounts is not None or {"is_active", "is_superuser"} & set(fields)
    )
    if not (may_decide if decides else may_edit)(actor, person):
        raise PermissionDenied("This needs a permission that you do not have.")
    if "is_superuser" in fields and not actor.is_superuser:
        raise PermissionDenied("Only a superuser makes superusers.")
    with transaction.atomic():
        stored = User.objects.select_for_update().get(pk=person.pk)
        words = [*_differences(stored, person, fields), *_regrouped(person, roles)]
        if fields:
            person.save(update_fields=fields)
        if words:
            record(actor, person, words)
        if accounts is not None:
            words += _limit(actor, person, _granted(actor, accounts))
    return words


def set_password(actor: User, person: User, password: str) -> None:
    """Give somebody else a password. Raises `PermissionDenied`."""
    if not may_decide(actor, person):
        raise PermissionDenied("This needs a permission that you do not have.")
    person.set_password(password)
    with transaction.atomic():
        person.save(update_fields=["password"])
        record(actor, person, ["password set"])


def limits_in_words(asker: User, limited: Iterable[User]) -> dict[int, str]:
    """To which accounts each of these people is limited, by key.

    Of accounts that are not the asker's, it only says that there are some.
    """
    rows = AccountAccess.objects.filter(user__in=[one.pk for one in limited])
    rows = rows.order_by("account__name")
    theirs, names = access.limit(asker), defaultdict[int, list[str]](list)
    for user, account, name in rows.values_list("user", "account", "account__name"):
        names[user].append(name if theirs is None or account in theirs else OTHERS)
    # Each once, the others last.
    return {key: ", ".join(sorted(set(some), key=_others_last)) for key, some in names.items()}


def _others_last(name: str) -> tuple[bool, str]:
    return name == OTHERS, name


def record(actor: User, person: User, words: Sequence[str], kind: Kind = Kind.USER_CHANGED) -> None:
    """Put on record what somebody did with a person, perhaps with themselves, in words."""
    HistoryEvent.objects.create(
        kind=kind,
        actor=actor,
        code=about_person(person.pk),
        detail=f"{person.get_username()}: {'; '.join(words)}."[:500],
    )


def _covers(actor: User, person: User) -> bool:
    """Whether all accounts that a person has are those of `actor`, too."""
    theirs = access.limit(actor)
    held = None if theirs is None else access.limit(person)
    return theirs is None or (held is not None and held <= theirs)


def _granted(actor: User, accounts: Iterable[ProviderAccount]) -> frozenset[int]:
    """What somebody may limit others to: some of their own accounts; none means all of these."""
    chosen, theirs = frozenset(one.pk for one in accounts), access.limit(actor)
    access.require_accounts(actor, chosen)
    return chosen or theirs or frozenset()


def _limit(actor: User, person: User, wanted: frozenset[int]) -> list[str]:
    """Limit a person to these accounts, without any to none; on record apart from all else.

    That is for those alone to read who have all accounts: its words name them.
    """
    limits = AccountAccess.objects.filter(user=person)
    held = frozenset(limits.values_list("account", flat=True))
    if wanted == held:
        return []
    limits.exclude(account__in=wanted).delete()
    AccountAccess.objects.bulk_create(
        AccountAccess(user=person, account_id=pk) for pk in sorted(wanted - held)
    )
    named = ProviderAccount.objects.filter(pk__in=wanted).order_by("name")
    words = list(_limited_to(list(named.values_list("name", flat=True))))
    for said in words:
        record(actor, person, [said], Kind.USER_LIMITED)
    return words


def _limited_to(names: list[str]) -> Iterator[str]:
    """As many sentences as it takes, for an event holds few long names."""
    if not names:
        yield "limited to no account any more"
    for start in range(0, len(names), NAMED_AT_ONCE):
        listed = ", ".join(names[start : start + NAMED_AT_ONCE])
        yield f"{'and to' if start else 'limited to'} {listed}"


def _differences(stored: User, person: User, fields: Collection[str]) -> list[str]:
    changed = [name for name in fields if getattr(stored, name) != getattr(person, name)]
    words = []
    for name in changed:
        if name == "is_active":
            words.append("activated" if person.is_active else "deactivated")
        elif name == "is_superuser":
            words.append("made a superuser" if person.is_superuser else "no superuser any more")
        elif name == "username":
            words.append(f"renamed, before: {stored.username}")
        else:
            words.append(f"{_CALLED.get(name, name)} changed")
    return words


def _regrouped(person: User, roles: Iterable[Group] | None) -> list[str]:
    """Give and take roles; groups other than the five stay."""
    if roles is None:
        return []
    wanted, held = set(_of_the_five(roles)), set(_of_the_five(person.groups.all()))
    person.groups.add(*(wanted - held))
    person.groups.remove(*(held - wanted))
    added = [f"role {one} added" for one in sorted(group.name for group in wanted - held)]
    return added + [f"role {one} removed" for one in sorted(group.name for group in held - wanted)]


def _of_the_five(groups: Iterable[Group]) -> list[Group]:
    return sorted((one for one in groups if one.name in ROLES), key=lambda one: one.name)
