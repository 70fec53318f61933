"""What people do with provider accounts: pause, resume, test, enter and change them.

Each function checks the person's permission itself, whoever calls it, and records what it did.
Nobody (`None`) is Annul itself or the shell of the machine.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models.functions import Now

from invoices import access
from invoices.models.evidence import HistoryEvent
from invoices.recorder import DirectRecorder
from providers.credentials import UnreadableCredentials
from providers.errors import ProviderError
from providers.models import ProviderAccount

Kind = HistoryEvent.Kind
BY_HAND = "by_hand"


class AccountRefused(Exception):
    """The request cannot be met; the message says why."""


@dataclass(frozen=True, slots=True)
class Checked:
    """How a test of the connection ended, as a sentence fit to be shown."""

    good: bool
    sentence: str


def pause(account: ProviderAccount, user: User | None, reason: str, code: str = BY_HAND) -> bool:
    """Send nothing more for this account until it is resumed; False when it is paused already.

    Raises `PermissionDenied`, or `AccountRefused` without a reason.
    """
    _require(user, "providers.pause_provideraccount", account)
    reason = " ".join(reason.replace("\0", "").split())
    if not reason or len(reason) > 300:
        raise AccountRefused("Give a reason of at most 300 characters.")
    with transaction.atomic():
        paused = ProviderAccount.objects.filter(pk=account.pk, paused_at=None).update(
            paused_at=Now(), paused_by=user, pause_code=code, pause_reason=reason
        )
        if paused:
            _record(account, Kind.ACCOUNT_PAUSED, user, code, reason)
    account.refresh_from_db()
    return bool(paused)


def resume(account: ProviderAccount, user: User | None) -> bool:
    """Let work go on, also when the account only rests after faults; the caller wakes a worker.

    False when there was nothing to resume. Raises `PermissionDenied`.
    """
    _require(user, "providers.pause_provideraccount", account)
    idle = ProviderAccount.objects.filter(pk=account.pk)
    held = idle.exclude(paused_at=None) | idle.exclude(resting_until=None)
    with transaction.atomic():
        resumed = held.update(
            paused_at=None,
            paused_by=None,
            pause_code="",
            pause_reason="",
            resting_until=None,
            resting_reason="",
            breaker_trips=0,
        )
        if resumed:
            _record(account, Kind.ACCOUNT_RESUMED, user)
    account.refresh_from_db()
    return bool(resumed)


def check(account: ProviderAccount, user: User | None) -> Checked:
    """Ask the provider whether the credentials are good, and keep what it says of the account.

    Nothing is changed at the provider. Works while the account is paused, too: a test is how one
    finds out whether to resume it. Raises `PermissionDenied` only.
    """
    _require(user, "providers.check_provideraccount", account)
    code, facts, sentence = _asked(account)
    mine = ProviderAccount.objects.filter(pk=account.pk)
    with transaction.atomic():
        if code:
            mine.update(last_error=sentence[:300], last_error_at=Now())
        else:
            mine.update(facts=facts, last_error="", last_error_at=None)
        _record(account, Kind.ACCOUNT_CHECKED, user, code or "ok", sentence)
    account.refresh_from_db()
    return Checked(not code, sentence)


def add(
    account: ProviderAccount, user: User | None, credentials: Mapping[str, str], note: str = ""
) -> None:
    """Store a new account, already validated, with its credentials.

    Nobody who is limited adds one: it would not be among theirs.
    """
    _require(user, "providers.add_provideraccount", None)
    account.set_credentials(credentials)
    with transaction.atomic():
        account.save(force_insert=True)
        _record(account, Kind.ACCOUNT_CHANGED, user, "added", note or "Added.")


def change(
    account: ProviderAccount,
    user: User | None,
    fields: Sequence[str],
    credentials: Mapping[str, str],
) -> bool:
    """Store the named fields as they are on `account`, and the given credentials over the stored.

    Only these columns are written: a drain may be writing others at this moment. The history
    names what was changed and tells no value. False when there is nothing to change.
    """
    _require(user, "providers.change_provideraccount", account)
    if not fields and not credentials:
        return False
    columns = list(fields)
    if credentials:
        account.set_credentials({**_stored(account), **credentials})
        columns.append("sealed_credentials")
    names = ", ".join([*fields, *credentials])
    with transaction.atomic():
        account.save(update_fields=columns)
        _record(account, Kind.ACCOUNT_CHANGED, user, "changed", f"Changed: {names}.")
    return True


def _stored(account: ProviderAccount) -> Mapping[str, str]:
    try:
        return account.credentials
    except UnreadableCredentials:
        return {}


def _asked(account: ProviderAccount) -> tuple[str, dict[str, str], str]:
    """A code of what went wrong ("" for nothing), the facts, and a sentence."""
    try:
        missing = account.missing_credentials()
        if missing:
            return "credentials", {}, f"Credentials are missing: {', '.join(missing)}."
        adapter = account.connect(DirectRecorder(account))
        with closing(adapter.client):
            result = adapter.check()
    except ProviderError as error:
        return error.code[:40], {}, error.message
    except ValidationError as error:
        return "address", {}, " ".join(error.messages)
    except UnreadableCredentials as error:
        return "unreadable", {}, f"The stored credentials cannot be read: {error}."
    return "", dict(result.facts), result.summary


def _require(user: User | None, permission: str, account: ProviderAccount | None) -> None:
    """That they may do so with this account, or, if it is None, with one that is not there yet."""
    if user is None:
        return
    if not (user.is_active and user.has_perm(permission)):
        raise PermissionDenied("This needs a permission that you do not have.")
    access.require_accounts(user, None if account is None else [account.pk])


def _record(
    account: ProviderAccount, kind: Kind, user: User | None, code: str = "", detail: str = ""
) -> None:
    HistoryEvent.objects.create(
        kind=kind, actor=user, account=account, code=code, detail=detail[:500]
    )
