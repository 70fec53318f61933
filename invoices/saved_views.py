"""Views of the list of invoices: those that come with Annul, and those that people save.

Each function checks the person's permission itself, and puts what it did on record.
"""

import re
from dataclasses import dataclass

from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.http import QueryDict
from django.utils.http import urlencode

from invoices import access
from invoices.models import HistoryEvent, SavedView
from invoices.search import MOST_CHARACTERS

PARAMETERS = (
    "q",
    "partly",
    "account",
    "status",
    "currency",
    "due",
    "amount_from",
    "amount_to",
    "attempt",
    "o",
)
"""What a view may hold of the list's address: not the page, nor a pasted list, which expires."""

MOST_VIEWS = 30
ADMINISTRATOR = "administrator"
_ORDER = re.compile(r"-?\d{1,2}(\.-?\d{1,2}){0,7}")


class ViewRefused(Exception):
    """The view cannot be saved; the message says why."""


@dataclass(frozen=True, slots=True)
class Shipped:
    """A view that everybody has."""

    name: str
    query: str


SHIPPED = (
    Shipped("Needs review", "attempt=needs_review"),
    Shipped("Failed and retryable", "attempt=retryable"),
    Shipped("Cancelled this month", "attempt=this-month"),
    Shipped("Unknown outcome", "attempt=unknown"),
)


def canonical(asked: QueryDict) -> str:
    """What of a list's address makes a view, always in the same order; "" for the whole list."""
    held = {name: asked.get(name, "").strip() for name in PARAMETERS}
    if held["partly"] != held["q"]:
        held["partly"] = ""
    return urlencode({name: value for name, value in held.items() if value})


def open_to(user: User) -> QuerySet[SavedView]:
    """The views that a person has: own ones, and those shared with one of their roles.

    None that is about an account that is not theirs.
    """
    roles = user.groups.values("pk")
    shared = Q(owner__is_active=True, shared_with__in=roles)
    views = SavedView.objects.filter(Q(owner=user) | shared).select_related("owner", "shared_with")
    theirs = access.limit(user)
    if theirs is None:
        return views
    of_theirs = Q(query__regex=rf"(^|&)account=({'|'.join(map(str, sorted(theirs)))})(&|$)")
    return views.filter(~Q(query__regex=r"(^|&)account=") | of_theirs)


def may_share_with(user: User) -> QuerySet[Group]:
    """The roles that a person may share views with: their own, or any for an administrator."""
    if user.is_superuser or user.groups.filter(name=ADMINISTRATOR).exists():
        return Group.objects.order_by("name")
    return user.groups.order_by("name")


def save(user: User, name: str, query: str, role: Group | None = None) -> SavedView:
    """A new view. Raises `PermissionDenied` or `ViewRefused`."""
    _require(user)
    view = SavedView(owner=user, name=_named(name), query=_checked(query), shared_with=role)
    _may_share(user, role)
    if SavedView.objects.filter(owner=user).count() >= MOST_VIEWS:
        raise ViewRefused(f"You have {MOST_VIEWS} views already. Delete one first.")
    return _write(view, user, "saved")


def change(view: SavedView, user: User, name: str, role: Group | None) -> SavedView:
    """Another name, or shared otherwise. Raises `PermissionDenied` or `ViewRefused`."""
    _require_own(view, user)
    if role is None or role.pk != view.shared_with_id:
        _may_share(user, role)
    view.name, view.shared_with = _named(name), role
    return _write(view, user, "changed")


def delete(view: SavedView, user: User) -> None:
    """Its owner no longer needs it, and nobody else has it any more. Raises `PermissionDenied`."""
    _require_own(view, user)
    with transaction.atomic():
        _record(view, user, "deleted")
        view.delete()


def _write(view: SavedView, user: User, what: str) -> SavedView:
    try:
        with transaction.atomic():
            view.save()
            _record(view, user, what)
    except IntegrityError:
        raise ViewRefused(f"You have another view called “{view.name}”.") from None
    return view


def _record(view: SavedView, user: User, what: str) -> None:
    role = f", shared with {view.shared_with}" if view.shared_with else ""
    HistoryEvent.objects.create(
        kind=HistoryEvent.Kind.VIEW_CHANGED,
        actor=user,
        code=what,
        detail=f"“{view.name}”{role}: {view.query}"[:500],
    )


def _named(name: str) -> str:
    plain = " ".join(name.replace("\0", " ").split())
    if not plain:
        raise ViewRefused("A view needs a name.")
    if len(plain) > 40:
        raise ViewRefused("The name is longer than 40 characters.")
    return plain


def _checked(query: str) -> str:
    """The query string, if it is one that the list knows."""
    if len(query) > 1000:
        raise ViewRefused("This search is too long to be saved.")
    asked = QueryDict(query)
    unknown = sorted(set(asked) - set(PARAMETERS))
    if unknown:
        raise ViewRefused(f"A view cannot hold “{unknown[0][:40]}”.")
    held = canonical(asked)
    if not held:
        raise ViewRefused("There is no search and no filter to save.")
    if any(len(value) > MOST_CHARACTERS or "\0" in value for value in asked.values()):
        raise ViewRefused("This search is too long to be saved.")
    if asked.get("o") and not _ORDER.fullmatch(asked["o"]):
        raise ViewRefused("This order cannot be saved.")
    return held


def _may_share(user: User, role: Group | None) -> None:
    if role is not None and not may_share_with(user).filter(pk=role.pk).exists():
        raise PermissionDenied("A view is shared with a role by those who have it.")


def _require(user: User) -> None:
    if not (user.is_active and user.has_perm("invoices.view_invoice")):
        raise PermissionDenied("This needs a permission that you do not have.")


def _require_own(view: SavedView, user: User) -> None:
    _require(user)
    if view.owner_id != user.pk:
        raise PermissionDenied("A view is changed by the person who saved it.")
