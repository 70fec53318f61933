"""What belongs to whom: the one place that knows which rows are about which provider account.

A person may be limited to some accounts. They see and act on only what belongs to these, and all
else is to them as if it did not exist. Without any limit they have all accounts; superusers always
do. Nobody's work in the background is limited: whoever asked for it was checked then.

A model that is missing from both tables below is refused, so that none is forgotten.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, Model, OuterRef, Q, QuerySet

from invoices.models import (
    AccountAccess,
    ApprovalRule,
    AwaitingBatch,
    CallSubject,
    CancellationAttempt,
    CancellationBatch,
    EvidenceExport,
    HistoryEvent,
    Invoice,
    InvoiceSnapshot,
    PastedEntry,
    PastedList,
    ProviderRequest,
    ProviderResponse,
    ReviewDecision,
    SavedView,
    SyncRun,
)
from providers.models import ProviderAccount

M = TypeVar("M", bound=Model)
Ids = frozenset[int]
Condition = Callable[[User, Ids], Q]
Kind = HistoryEvent.Kind

KEPT = "_limit"
"""With the person, for as long as one request lasts."""

NOT_YOURS = "This is about a provider account that is not among yours. Nothing was sent."

TELLING = (Kind.EVIDENCE_EXPORTED, Kind.VIEW_CHANGED, Kind.USER_LIMITED)
"""Events about no account that may yet tell of some, or of their invoices, in their words."""


# --- Who is limited to what -----------------------------------------------------------------------


def people() -> QuerySet[User]:
    """Everybody, each with `is_limited`: of those who are not, `limit` need not ask anything."""
    return User.objects.annotate(is_limited=has_limits())


def has_limits() -> Exists:
    """Of a person in a query: whether there are rows that limit them."""
    return Exists(AccountAccess.objects.filter(user=OuterRef("pk")))


def limit(user: User) -> Ids | None:
    """The accounts that a person is limited to; None for all."""
    if user.is_superuser or not getattr(user, "is_limited", True):
        return None
    if not hasattr(user, KEPT):
        rows = AccountAccess.objects.filter(user=user.pk)
        setattr(user, KEPT, frozenset(rows.values_list("account", flat=True)) or None)
    kept: Ids | None = getattr(user, KEPT)
    return kept


def is_limited(user: User) -> bool:
    """Whether there are accounts that are not theirs."""
    return limit(user) is not None


def admitted(batch: CancellationBatch, candidates: QuerySet[User]) -> QuerySet[User]:
    """Those of these people to whom all accounts of a batch belong."""
    theirs = AccountAccess.objects.filter(user=OuterRef(OuterRef("pk"))).values("account")
    noted = _noted().filter(cancellationbatch=batch.pk)
    foreign = noted.exclude(provideraccount__in=theirs)
    return candidates.filter(
        Q(is_superuser=True) | ~has_limits() | Exists(noted) & ~Exists(foreign)
    )


# --- What is theirs -------------------------------------------------------------------------------


def narrow(user: User, rows: QuerySet[M]) -> QuerySet[M]:
    """Those of the rows that are theirs. Raises `LookupError` for a model that is in no table."""
    condition = _condition(rows.model)
    ids = limit(user)
    return rows if ids is None or condition is None else rows.filter(condition(user, ids))


def sees(user: User, row: Model) -> bool:
    """Whether this row is theirs; costs nothing for those who are not limited."""
    return not is_limited(user) or narrow(user, _all(type(row)).filter(pk=row.pk)).exists()


def closed(user: User, batches: Iterable[int | None]) -> Ids:
    """Those of these batches that are not theirs, although some invoice in it may be."""
    asked = frozenset(one for one in batches if one is not None)
    if not asked or not is_limited(user):
        return frozenset()
    theirs = narrow(user, CancellationBatch.objects.filter(pk__in=asked))
    return asked.difference(theirs.values_list("pk", flat=True))


def require(user: User, row: Model) -> None:
    """Raises `PermissionDenied` unless this row is theirs."""
    if not sees(user, row):
        raise PermissionDenied(NOT_YOURS)


def require_accounts(user: User, ids: Iterable[int] | None) -> None:
    """Raises `PermissionDenied` unless all these accounts are theirs; None stands for every one."""
    theirs = limit(user)
    if theirs is not None and (ids is None or not theirs.issuperset(ids)):
        raise PermissionDenied(NOT_YOURS)


def _condition(model: type[Model]) -> Condition | None:
    if model in ABOUT_NO_ACCOUNT:
        return None
    if model not in CONDITIONS:
        raise LookupError(f"Say in {__name__} of which account a row of {model._meta.label} is.")
    return CONDITIONS[model]


def _at(path: str) -> Condition:
    return lambda _, ids: Q(**{f"{path}__in": ids})


def _whole_batch(path: str) -> Condition:
    """A batch is theirs if all its invoices are; of one that was forgotten nobody knows."""

    def condition(_: User, ids: Ids) -> Q:
        noted = _noted().filter(cancellationbatch=OuterRef(path))
        return Q(Exists(noted)) & ~Q(Exists(noted.exclude(provideraccount__in=ids)))

    return condition


def _event(user: User, ids: Ids) -> Q:
    """By its account; without one by its batch; without either, unless its words may tell."""
    of_batch = Q(batch__isnull=False) & _whole_batch("batch")(user, ids)
    of_nothing = Q(batch=None) & (~Q(kind__in=TELLING) | Q(actor=user.pk))
    return Q(account__in=ids) | Q(account=None) & (of_batch | of_nothing)


def _rule(_: User, ids: Ids) -> Q:
    """A rule for all accounts holds for theirs, too."""
    return Q(account=None) | Q(account__in=ids)


def _noted() -> QuerySet[Model]:
    """The accounts of each batch, as they were noted when it was frozen."""
    return _all(CancellationBatch.accounts.through)


def _all(model: type[Model]) -> QuerySet[Model]:
    return model._base_manager.all()


CONDITIONS: Mapping[type[Model], Condition] = {
    ProviderAccount: _at("pk"),
    Invoice: _at("account"),
    InvoiceSnapshot: _at("invoice__account"),
    CancellationAttempt: _at("account"),
    CancellationBatch: _whole_batch("pk"),
    AwaitingBatch: _whole_batch("pk"),
    ReviewDecision: _at("attempt__account"),
    ProviderRequest: _at("account"),
    ProviderResponse: _at("request__account"),
    CallSubject: _at("request__account"),
    HistoryEvent: _event,
    EvidenceExport: _event,
    SyncRun: _at("account"),
    ApprovalRule: _rule,
    PastedEntry: _at("invoice__account"),
}
ABOUT_NO_ACCOUNT: frozenset[type[Model]] = frozenset({User, Group, SavedView, PastedList})
"""People, and what they typed themselves: it is narrowed where it is matched with invoices."""
