"""Imports: reading an account's invoices from its provider, in the background, page by page.

A run is taken by a conditional UPDATE, so waking it twice does nothing, and one whose worker died
is taken over. Nothing here changes anything at a provider, and no transaction is open while it
answers.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from invoices import access
from invoices.absorb import Counts, apply_remote
from invoices.models.evidence import HistoryEvent
from invoices.models.invoice import Invoice
from invoices.models.sync import SyncRun
from invoices.patience import Overtaken, PacedRecorder, PatientClient, Pulse, Turned, groups
from providers.adapters.base import Adapter, Page, RemoteInvoice
from providers.credentials import UnreadableCredentials
from providers.errors import ProviderError
from providers.models import ProviderAccount

__all__ = ["Counts", "SyncRefused", "apply_remote", "due", "request", "run", "under_way"]

SILENCE = timedelta(minutes=2)
"""A run that gave no sign of life for so long has lost its worker."""
MOST_REFRESHED = 10_000
"""Invoices named one by one in a run; more are read faster as a whole."""
PIECE = 200
"""Invoices stored by one transaction, however long the provider's page is."""

State = SyncRun.State
Progress = Callable[[SyncRun], None]


class SyncRefused(Exception):
    """The import cannot begin; the message says why."""


def request(
    account: ProviderAccount,
    user: User | None,
    since: datetime | None = None,
    external_ids: Sequence[str] | None = None,
) -> SyncRun:
    """Ask for an import, or with `external_ids` for those invoices to be read anew.

    The caller wakes a worker. Raises `PermissionDenied` or `SyncRefused`.
    """
    refresh = external_ids is not None
    needed = "invoices.refresh_invoice" if refresh else "invoices.add_syncrun"
    if user is not None and not (user.is_active and user.has_perm(needed)):
        raise PermissionDenied("This needs a permission that you do not have. Nothing was read.")
    if user is not None:
        access.require_accounts(user, [account.pk])
    problem = _obstacle(account)
    if problem:
        raise SyncRefused(f"{problem} Nothing was read.")
    chosen = None
    if external_ids is not None:
        chosen = list(dict.fromkeys(_storable(one) for one in external_ids))
    if chosen is not None and not 0 < len(chosen) <= MOST_REFRESHED:
        raise SyncRefused(
            f"Choose between one and {MOST_REFRESHED:,} invoices, or import all. Nothing was read."
        )
    with transaction.atomic():
        run = SyncRun.objects.create(
            account=account, requested_by=user, since=since, external_ids=chosen
        )
        what = f"{len(chosen):,} invoices" if chosen is not None else "all invoices"
        _record(run, HistoryEvent.Kind.SYNC_REQUESTED, f"{run}: {what}.", user)
    return run


def under_way(account: ProviderAccount) -> SyncRun | None:
    """The import of all invoices that is waiting or running, if any."""
    runs = SyncRun.objects.filter(account=account, external_ids__isnull=True, since=None)
    return runs.filter(state__in=(State.WAITING, State.RUNNING)).first()


def due() -> QuerySet[SyncRun]:
    """Runs that nobody is working on: their wake-up or their worker was lost."""
    waiting = Q(state=State.WAITING, requested_at__lt=Now() - timedelta(seconds=10))
    return SyncRun.objects.filter(waiting | _silent()).order_by("id")


def run(run_id: int, progress: Progress | None = None) -> None:
    """Carry out one import if it is not already being carried out or done."""
    taken = _take(run_id)
    if taken is None:
        return
    work = _Work(taken, progress)
    try:
        work.carry_out()
    except Overtaken:
        return
    except (ProviderError, ValidationError, UnreadableCredentials, Turned) as error:
        work.end(State.FAILED, _sentence(error))
    except BaseException:
        # Whatever it was, the page must not show it as running for ever.
        work.end(State.FAILED, "It ended early. What was read before is kept.")
        raise
    else:
        work.end(State.FINISHED, "")


class _Work:
    """One run in this worker's hands, from taking it to its end."""

    def __init__(self, taken: SyncRun, progress: Progress | None) -> None:
        self._run = taken
        self._account = ProviderAccount.objects.get(pk=taken.account_id)
        self._progress = progress
        self._counts = Counts()

    def carry_out(self) -> None:
        """Read everything that was asked for. Raises what stopped it."""
        problem = _obstacle(self._account)
        if problem:
            raise Turned(problem)
        pulse = Pulse(self._run, self._account)
        subjects: dict[str, int] = {}
        adapter = self._account.connect(PacedRecorder(self._account, subjects, pulse))
        with closing(adapter.client):
            adapter.client = PatientClient(adapter.client, pulse.rest)
            if self._run.external_ids is None:
                self._learn(adapter)
                pages: Iterator[Page] = adapter.list(self._run.since)
            else:
                pages = _refreshed(adapter, self._account, self._run.external_ids, subjects)
            self._read(adapter, pages)

    def _learn(self, adapter: Adapter) -> None:
        facts = dict(adapter.check().facts)
        if facts != self._account.facts:
            ProviderAccount.objects.filter(pk=self._account.pk).update(facts=facts)

    def _read(self, adapter: Adapter, pages: Iterator[Page]) -> None:
        while True:
            # What comes may have been true a while ago, at the latest when we asked.
            read_at = timezone.now() - timedelta(seconds=adapter.read_lag)
            page = next(pages, None)
            if page is None:
                return
            self._store(adapter, page, read_at)

    def _store(self, adapter: Adapter, page: Page, read_at: datetime) -> None:
        sound = {one.reference: one for one in page.invoices if _fits(adapter, one)}
        unsound = len(page.invoices) - len(sound) + page.unreadable
        self._counts += Counts(failed=unsound)
        for piece in groups(list(sound), PIECE):
            invoices = [sound[reference] for reference in piece]
            self._counts += apply_remote(self._account.pk, invoices, read_at)
        self._note(seen_at=Now())

    def end(self, state: State, error: str) -> None:
        """Mark it as finished or failed, and say in the history what came of it."""
        try:
            with transaction.atomic():
                self._note(state=state, error=error[:500], finished_at=Now())
                detail = f"{self._run}: {_summary(self._counts)}. {error}".strip()
                _record(self._run, HistoryEvent.Kind.INVOICE_IMPORTED, detail, None, state)
        except Overtaken:
            return

    def _note(self, **changes: object) -> None:
        """Write progress, as long as the run is still ours. Raises `Overtaken`."""
        counts = {
            name: getattr(self._counts, name)
            for name in ("created", "updated", "unchanged", "failed")
        }
        mine = SyncRun.objects.filter(
            pk=self._run.pk, state=State.RUNNING, started_at=self._run.started_at
        )
        if not mine.update(**counts, **changes):
            raise Overtaken
        if self._progress is not None:
            self._run.refresh_from_db()
            self._progress(self._run)


def _storable(reference: str) -> str:
    """As a database takes it; what is changed by this is no provider's id and fails by itself."""
    return reference[:200].encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _take(run_id: int) -> SyncRun | None:
    """Mark a run as ours by its starting time; None when somebody else has it or it is done."""
    started = timezone.now()
    free = SyncRun.objects.filter(Q(state=State.WAITING) | _silent(), pk=run_id)
    taken = free.update(
        state=State.RUNNING,
        started_at=started,
        seen_at=Now(),
        **dict.fromkeys(("created", "updated", "unchanged", "failed"), 0),
    )
    return SyncRun.objects.get(pk=run_id) if taken else None


def _silent() -> Q:
    return Q(state=State.RUNNING, seen_at__lt=Now() - SILENCE)


def _obstacle(account: ProviderAccount) -> str:
    """Why this account cannot be read just now; "" when it can."""
    if account.is_paused:
        return f"The account {account} is paused. Resume it first."
    try:
        missing = account.missing_credentials()
    except UnreadableCredentials as error:
        return f"The credentials of {account} cannot be read: {error}. Enter them again."
    if missing:
        return f"The account {account} lacks credentials: {', '.join(missing)}."
    return ""


def _refreshed(
    adapter: Adapter,
    account: ProviderAccount,
    references: Sequence[str],
    subjects: dict[str, int],
) -> Iterator[Page]:
    """Read the invoices by name; `subjects` gets our ids of those being asked for."""
    good = [one for one in references if adapter.accepts(one)]
    if len(good) < len(references):
        yield Page((), unreadable=len(references) - len(good))
    for group in groups(good, adapter.fetch_limit):
        ours = Invoice.objects.filter(account=account, external_id__in=group)
        subjects.clear()
        subjects.update(ours.values_list("external_id", "pk"))
        found = adapter.fetch(group)
        invoices = [found.invoices[one] for one in group if one in found.invoices]
        yield Page(invoices, unreadable=len(group) - len(invoices))


def _fits(adapter: Adapter, remote: RemoteInvoice) -> bool:
    """Whether it can be stored: its id has the provider's form, and no text is too long."""
    if not adapter.accepts(remote.reference):
        return False
    limits = {field.name: getattr(field, "max_length", None) for field in Invoice._meta.fields}
    texts = ("number", "customer_name", "customer_email", "currency", "provider_status")
    return all(len(getattr(remote, name)) <= (limits[name] or 0) for name in texts)


def _sentence(error: Exception) -> str:
    """What stopped the import, fit to be shown."""
    if isinstance(error, ProviderError):
        said = error.message
    elif isinstance(error, ValidationError):
        said = " ".join(error.messages)
    elif isinstance(error, UnreadableCredentials):
        said = f"The credentials cannot be read: {error}."
    else:
        said = str(error)
    return f"{said} What was read before is kept."


def _summary(counts: Counts) -> str:
    return (
        f"{counts.created:,} created, {counts.updated:,} updated, "
        f"{counts.unchanged:,} unchanged, {counts.failed:,} failed"
    )


def _record(
    run: SyncRun, kind: HistoryEvent.Kind, detail: str, actor: User | None, to_state: str = ""
) -> None:
    HistoryEvent.objects.create(
        kind=kind, actor=actor, account_id=run.account_id, to_state=to_state, detail=detail[:500]
    )
