"""What must hold between our record and a provider's own log, whatever happened.

For tests, demonstrations and operations: `violations` compares the two and returns a sentence for
each thing that is wrong. It trusts only rows that are never changed and what the provider's side
wrote down itself: one JSON object a line, as the sandbox does (`providers/sandbox/log.py`).
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet

from invoices.approval_record import unapproved
from invoices.models import (
    CancellationAttempt,
    CancellationBatch,
    HistoryEvent,
    ProviderRequest,
    ProviderResponse,
)
from invoices.models.attempt import LEGAL, State
from invoices.models.evidence import CallSubject
from providers.adapters import ADAPTERS
from providers.models import ProviderAccount

Entry = Mapping[str, Any]
MOST_SENDS = 3
NOT_DONE = (State.REFUSED, State.SKIPPED, State.FAILED, State.WITHDRAWN)
IN_HAND = (State.CLAIMED, State.SENDING)
OUTSIDE = 0
"""The number of a change that no call of ours made."""
BURST = 10
SLACK = 1.5
"""An import asks beside a drain, and calls that left in time may arrive together."""
DUE = (State.QUEUED, State.UNKNOWN, State.ACCEPTED)
TIMEOUT = 408
"""The one status below 500 that is no answer to what was asked."""
TURNED_AWAY = (401, 429)
"""Answers by which the provider states that it did not act, whatever the call was."""


@dataclass(frozen=True)
class Provider:
    """The other side's view: its log, and who carried out each cancellation (numbers in it).

    Only `accounts`, by name, are compared; without any those that the log names.
    """

    log: Sequence[Entry]
    cancelled_by: Mapping[tuple[str, str], Sequence[int]]
    accounts: Collection[str] = field(default=())

    @cached_property
    def cancels(self) -> list[Entry]:
        """The cancel requests of known accounts that arrived."""
        return [one for one in self.log if one["kind"] == "cancel" and one["account"]]

    @cached_property
    def scope(self) -> Collection[str]:
        """The accounts compared."""
        return self.accounts or {one["account"] for one in self.log if one["account"]}

    @cached_property
    def reads(self) -> Mapping[tuple[str, str], list[Entry]]:
        """The reads that named an invoice, by account and reference, oldest first."""
        return _by_invoice(one for one in self.log if one["kind"] == "fetch")

    @cached_property
    def subjects(self) -> Mapping[UUID, list[CancellationAttempt]]:
        """What our record says each cancel request was about."""
        found: dict[UUID, list[CancellationAttempt]] = defaultdict(list)
        rows = CallSubject.objects.filter(request__purpose="cancel", attempt__isnull=False)
        for row in rows.select_related("attempt__invoice", "attempt__batch"):
            found[row.request_id].append(row.attempt)
        return found

    def attempts(self) -> QuerySet[CancellationAttempt]:
        """Our attempts at the accounts compared."""
        return CancellationAttempt.objects.filter(account__name__in=self.scope)


def from_file(path: Path, accounts: Collection[str] = ()) -> Provider:
    """The view of a log file; each request in its last state, numbered in their order.

    Raises `ValueError` for a line that is no JSON object.
    """
    latest: dict[tuple[int, int], Entry] = {}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            entry: Entry = json.loads(line)
            latest[entry["pid"], entry["seq"]] = entry
    ordered = sorted(latest.values(), key=lambda one: (one["wall"], one["seq"]))
    log = [{**one, "seq": number} for number, one in enumerate(ordered, start=1)]
    done: dict[tuple[str, str], list[int]] = defaultdict(list)
    for one in log:
        for reference in one["applied"]:
            done[one["account"], reference].append(
                OUTSIDE if one["kind"] == "outside" else one["seq"]
            )
    mine = [one for one in log if not accounts or one["account"] in accounts]
    return Provider(mine, done, accounts)


def violations(provider: Provider) -> list[str]:
    """Every breach of an invariant, as a sentence that begins with the invariant's name."""
    return [f"{name}: {wrong}" for name, check in CHECKS.items() for wrong in check(provider)]


def _calls_on_record(provider: Provider) -> Iterator[str]:
    """1, 6, 7: what arrived was stored, by an attempt about exactly these invoices, here."""
    stored = {one.pk: one for one in ProviderRequest.objects.select_related("account")}
    unsent = set(ProviderResponse.objects.filter(sent=False).values_list("request_id", flat=True))
    subjects = provider.subjects
    seen = Counter(one["request_id"] for one in provider.cancels)
    yield from (f"{key} arrived {count} times" for key, count in seen.items() if count > 1)
    for entry in provider.log:
        key = UUID(entry["request_id"]) if entry["request_id"] else None
        if key in unsent:
            yield f"{entry['kind']} {key} is on record as not sent and arrived"
        if entry["kind"] != "cancel" or not entry["account"]:
            continue
        request = stored.get(key) if key else None
        if request is None:
            yield f"cancel {key} arrived and is not on record"
        elif request.account.name != entry["account"]:
            yield f"cancel {key} arrived at {entry['account']}, not at {request.account}"
        else:
            yield from _about_others(entry, subjects.get(request.pk, []))


def _about_others(entry: Entry, attempts: Sequence[CancellationAttempt]) -> Iterator[str]:
    if sorted(entry["ids"]) != sorted(one.invoice.external_id for one in attempts):
        yield f"cancel {entry['request_id']} is about other invoices than its record"
    for attempt in attempts:
        if attempt.batch.confirmed_at is None:
            yield f"attempt {attempt.pk} was sent without a confirmation"
        if attempt.state in (State.DRAFT, State.INELIGIBLE):
            yield f"attempt {attempt.pk} was sent and is {attempt.state}"


def _answers_kept(provider: Provider) -> Iterator[str]:
    """2: an answer that was sent whole and read whole is here byte for byte."""
    answers = {one.request_id: one for one in ProviderResponse.objects.filter(complete=True)}
    for entry in provider.log:
        mine = answers.get(UUID(entry["request_id"])) if entry["request_id"] else None
        masked = entry["kind"] == "token"
        if mine is None or masked or not entry["sent"] or not entry["sent_sha256"]:
            continue
        if mine.body_sha256 != entry["sent_sha256"]:
            yield f"the answer to {entry['request_id']} is not what was sent"


def _sends(provider: Provider) -> Iterator[str]:
    """3: at most three, those turned away for their credentials apart."""
    sent: Counter[int] = Counter()
    subjects = provider.subjects
    for entry in provider.cancels:
        if entry["status"] != 401 and entry["request_id"]:
            sent.update(one.pk for one in subjects.get(UUID(entry["request_id"]), []))
    yield from (
        f"attempt {key} was sent {count} times" for key, count in sent.items() if count > MOST_SENDS
    )


def _blind_resends(provider: Provider) -> Iterator[str]:
    """Two cancels of one invoice have a read between them, begun once the first had settled."""
    for (account, reference), cancels in _by_invoice(provider.cancels).items():
        adapter = ADAPTERS[cancels[0]["provider"]]
        settle = (adapter.settle + adapter.read_lag) * settings.PACE
        reads = provider.reads.get((account, reference), [])
        for first, second in pairwise(cancels):
            if first["status"] in TURNED_AWAY or _is_a_new_attempt(provider, first, second):
                continue
            proof = [
                one
                for one in reads
                if first["started"] + settle <= one["started"] <= second["started"]
            ]
            if not proof:
                yield f"{reference} was sent again without a read ({first['status']})"


def _is_a_new_attempt(provider: Provider, first: Entry, second: Entry) -> bool:
    """After an explicit no, which ended its attempt, a person may have asked once more."""
    refused = first["status"] is not None and 400 <= first["status"] < 500
    earlier, later = (_attempts_of(provider, entry) for entry in (first, second))
    known = bool(earlier and later)
    return known and refused and first["status"] != TIMEOUT and not earlier & later


def _attempts_of(provider: Provider, entry: Entry) -> set[int]:
    if not entry["request_id"]:
        return set()
    return {one.pk for one in provider.subjects.get(UUID(entry["request_id"]), [])}


def _by_invoice(entries: Iterable[Entry]) -> dict[tuple[str, str], list[Entry]]:
    found: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        for reference in entry["ids"]:
            found[entry["account"], reference].append(entry)
    return found


def _ends(provider: Provider) -> Iterator[str]:
    """4, 5: cancelled is cancelled there, by whom we say, and not done is not done by us."""
    ours = _numbers_by_attempt(provider)
    for attempt in provider.attempts().select_related("invoice", "account"):
        done = list(
            provider.cancelled_by.get((attempt.account.name, attempt.invoice.external_id), ())
        )
        by_us = ours.get(attempt.pk, set()) & set(done)
        declared = attempt.evidence == "person"
        said = attempt.state in (State.CANCELLED, State.ALREADY_CANCELLED) and not declared
        if said and not done:
            yield f"attempt {attempt.pk} is {attempt.state}, the invoice is not"
        if attempt.state == State.ALREADY_CANCELLED and by_us:
            yield f"attempt {attempt.pk} denies what it did itself"
        if attempt.state in NOT_DONE and by_us:
            yield f"attempt {attempt.pk} is {attempt.state}, and did cancel"
        if attempt.state == State.CANCELLED and not attempt.evidence:
            yield f"attempt {attempt.pk} is cancelled without evidence"


def _numbers_by_attempt(provider: Provider) -> dict[int, set[int]]:
    """For each attempt, the numbers that its cancels have in the provider's log."""
    numbers = {one["request_id"]: one["seq"] for one in provider.cancels}
    found: dict[int, set[int]] = defaultdict(set)
    for key, attempts in provider.subjects.items():
        if str(key) in numbers:
            for attempt in attempts:
                found[attempt.pk].add(numbers[str(key)])
    return found


def _overlaps(provider: Provider) -> Iterator[str]:
    """10: two cancels of one invoice are never under way at once."""
    for (_, reference), cancels in _by_invoice(provider.cancels).items():
        for first, second in pairwise(cancels):
            if first["finished"] is None or second["started"] < first["finished"]:
                yield f"two cancels of {reference} overlap"


def _standing_still(provider: Provider) -> Iterator[str]:
    """8: what is not at its end is due some time, or in somebody's hand."""
    for attempt in provider.attempts():
        if attempt.state in DUE and attempt.due_at is None:
            yield f"attempt {attempt.pk} is {attempt.state} and never due"
        if attempt.state in IN_HAND and attempt.lease_token is None:
            yield f"attempt {attempt.pk} is {attempt.state} in nobody's hand"


def _counts(provider: Provider) -> Iterator[str]:
    """9: what was selected is the sum of what became of it."""
    for batch in CancellationBatch.objects.exclude(state="discarded"):
        if batch.selected_count != batch.attempts.count():
            yield f"{batch} has {batch.attempts.count()} of {batch.selected_count} attempts"
        working = batch.attempts.all().working().exists()
        if batch.state == "finished" and working:
            yield f"{batch} is finished, some of its attempts are not"


def _accounts_of_batches(provider: Provider) -> Iterator[str]:
    """Who may see a batch follows from the accounts noted with it: they are its attempts'."""
    through = CancellationBatch.accounts.through._default_manager
    kept = through.exclude(cancellationbatch__state="discarded")
    noted = set(kept.values_list("cancellationbatch", "provideraccount"))
    held = set(CancellationAttempt.objects.order_by().values_list("batch", "account").distinct())
    for batch, account in sorted(held ^ noted):
        word = "without" if (batch, account) in held else "with"
        yield f"batch {batch} is noted {word} account {account}"


def _chains(provider: Provider) -> Iterator[str]:
    """9: the history of each attempt is unbroken, legal, and ends where the attempt is."""
    steps: dict[int, list[HistoryEvent]] = defaultdict(list)
    for event in HistoryEvent.objects.filter(kind="attempt_state").order_by("id"):
        steps[event.attempt_id].append(event)
    for attempt in provider.attempts():
        if attempt.state == State.INELIGIBLE and not steps[attempt.pk]:
            continue
        at = State.DRAFT
        for step in steps[attempt.pk]:
            to = State(step.to_state)
            if step.from_state != at or to not in LEGAL.get(at, frozenset()):
                yield f"attempt {attempt.pk} went from {at} by {step}"
            at = to
        if at != attempt.state:
            yield f"attempt {attempt.pk} is {attempt.state}, its history ends at {at}"


def _rates(provider: Provider) -> Iterator[str]:
    """12: in no ten seconds more than the account's rate and burst allow."""
    rates = dict(ProviderAccount.objects.values_list("name", "rate_per_second"))
    times: dict[str, list[float]] = defaultdict(list)
    for entry in provider.log:
        if entry["account"] in rates and entry["request_id"]:
            times[entry["account"]].append(entry["wall"])
    for account, moments in times.items():
        most = rates[account] * 10 * SLACK + BURST
        first = 0
        for last, moment in enumerate(sorted(moments)):
            while moment - moments[first] > 10:
                first += 1
            if last - first + 1 > most:
                yield f"{account} was asked {last - first + 1} times in ten seconds"
                break


def _secrets(provider: Provider) -> Iterator[str]:
    """11: no secret of an account is in what was kept of its calls."""
    for account in ProviderAccount.objects.filter(name__in=provider.scope):
        held, fields = account.credentials, account.adapter_class.credential_fields
        hidden = [held[one.name].encode() for one in fields if one.secret and held.get(one.name)]
        calls = ProviderRequest.objects.filter(account=account).select_related("response")
        for call in calls.iterator(1000):
            answer = getattr(call, "response", None)
            kept = [call.url.encode(), bytes(call.headers), bytes(call.body)]
            kept += [bytes(answer.headers), bytes(answer.body)] if answer else []
            if any(secret in part for secret in hidden for part in kept):
                yield f"call {call.pk} shows a secret of {account}"


CHECKS: Mapping[str, Callable[[Provider], Iterable[str]]] = {
    "calls are on record": _calls_on_record,
    "approved where needed": lambda _: unapproved(),
    "answers are kept as sent": _answers_kept,
    "at most three sends": _sends,
    "no blind resend": _blind_resends,
    "ends are true": _ends,
    "no two cancels at once": _overlaps,
    "nothing stands still": _standing_still,
    "counts add up": _counts,
    "accounts are noted": _accounts_of_batches,
    "history is whole": _chains,
    "no secret is kept": _secrets,
    "the rate is kept": _rates,
}
