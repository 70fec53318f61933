"""What happened to one invoice: the facts behind one plain sentence, and the timeline.

Payloads are not read here; a page of the timeline costs a handful of queries, whatever is on it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.models import User
from django.db.models import F, Q, QuerySet

from invoices import access
from invoices.models import (
    CallSubject,
    CancellationAttempt,
    HistoryEvent,
    Invoice,
    ProviderRequest,
    ProviderResponse,
    ReviewDecision,
)
from invoices.models.attempt import State
from invoices.reasons import reason
from providers.adapters.base import Option

ATTEMPTS_PER_PAGE = 10
MOST_LOOSE = 100
"""Of events and calls that belong to no attempt (imports, refreshes), so many on a page."""
MOST_LOOKS = 20
MOST_COMPARED = 200
"""Answers to choose from when two are compared."""

HEADERS = ("request__headers", "request__response__headers")
BODIES = ("request__body", "request__response__body")
LOOKS = (HistoryEvent.Kind.PAYLOAD_VIEWED, HistoryEvent.Kind.EVIDENCE_EXPORTED)
"""What happened to the record and not to the invoice: told apart from its timeline."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request with its answer, without their payloads."""

    request: ProviderRequest
    response: ProviderResponse | None
    batch_id: int | None

    @property
    def at(self) -> datetime:
        """When it was put on record, just before it left."""
        return self.request.created_at

    @property
    def was_sent(self) -> str:
        """`yes`, `no`, or `unknown` while no answer is on record."""
        if self.response is None:
            return "unknown"
        return "yes" if self.response.sent else "no"

    @property
    def tone(self) -> str:
        """For the time line's mark."""
        if self.response is None:
            return "wait"
        status = self.response.status or 0
        return "ok" if 200 <= status < 300 and not self.response.fault else "bad"


@dataclass(frozen=True, slots=True)
class Happening:
    """An entry of the timeline: an event or a call."""

    at: datetime
    event: HistoryEvent | None = None
    call: Call | None = None

    @property
    def from_word(self) -> str:
        """The state before, as it is called on the pages."""
        return _word(self.event.from_state if self.event else "")

    @property
    def to_word(self) -> str:
        """The state after."""
        return _word(self.event.to_state if self.event else "")

    @property
    def why(self) -> str:
        """The sentence for an event's code."""
        return reason(self.event.to_state, self.event.code) if self.event else ""


@dataclass(frozen=True, slots=True)
class Timeline:
    """One page, newest first."""

    entries: tuple[Happening, ...]
    page: int
    pages: int
    cut: bool


@dataclass(frozen=True, slots=True)
class Told:
    """The facts of the sentence; `attempt` None: nobody ever asked for its cancellation.

    `last` is the newest call about the attempt, `decision` what two persons settled it by.
    """

    attempt: CancellationAttempt | None
    provider: str = ""
    asked: Call | None = None
    asked_times: int = 0
    read: Call | None = None
    why: str = ""
    options: tuple[tuple[Option, bool], ...] = ()
    last: Call | None = None
    decision: ReviewDecision | None = None

    @property
    def answered_at(self) -> datetime | None:
        """When the answer to the last cancel request was in."""
        if self.asked is None or self.asked.response is None:
            return None
        at: datetime = self.asked.response.received_at
        return at


def told(invoice: Invoice) -> Told:
    """What became of the last attempt to cancel an invoice."""
    attempts = _made(invoice).select_related("batch__requested_by", "account")
    attempt = attempts.order_by("-pk").first()
    if attempt is None:
        return Told(None, invoice.account.adapter_class.label)
    return told_about(attempt)


def told_about(attempt: CancellationAttempt) -> Told:
    """What became of one attempt."""
    about = CallSubject.objects.filter(invoice=attempt.invoice_id, attempt=attempt)
    return told_from(attempt, list(_calls(about)))


def told_from(attempt: CancellationAttempt, calls: Sequence[Call]) -> Told:
    """The same from the calls about it, the newest first."""
    provider = attempt.account.adapter_class
    cancels = [one for one in calls if one.request.purpose == "cancel" and one.was_sent != "no"]
    reads = [one for one in calls if one.request.purpose == "fetch" and one.tone == "ok"]
    chosen = _chosen(attempt)
    return Told(
        attempt=attempt,
        provider=provider.label,
        asked=cancels[0] if cancels else None,
        asked_times=len(cancels),
        read=reads[0] if reads else None,
        why=_why(attempt),
        options=tuple((one, bool(chosen.get(one.name))) for one in provider.options)
        if cancels
        else (),
        last=calls[0] if calls else None,
        decision=_decision(attempt) if attempt.code == "decided" else None,
    )


def was_ever(attempt: CancellationAttempt, state: State) -> bool:
    """Whether the attempt was once in this state."""
    events = HistoryEvent.objects.filter(invoice=attempt.invoice_id, attempt=attempt)
    return bool(events.filter(to_state=state).exists())


def timeline(invoice: Invoice, page: int) -> Timeline:
    """Events and calls of one page of attempts, with what lies between them."""
    made = _made(invoice).order_by("-pk")
    pages = max(1, -(-made.count() // ATTEMPTS_PER_PAGE))
    page = min(page, pages)
    first = (page - 1) * ATTEMPTS_PER_PAGE
    until = _begun(made[first - 1 : first]) if page > 1 else None
    shown = list(made[first : first + ATTEMPTS_PER_PAGE].values_list("pk", "batch__created_at"))
    since = min((at for _, at in shown), default=None) if page < pages else None
    subjects = CallSubject.objects.filter(invoice=invoice)
    happenings = HistoryEvent.objects.filter(invoice=invoice).exclude(kind__in=LOOKS)
    events = happenings.select_related("actor")
    ids = [pk for pk, _ in shown]
    loose_calls = subjects.filter(_between("request__created_at", since, until), attempt=None)
    loose_events = events.filter(_between("at", since, until), attempt=None)
    calls = [*_calls(subjects.filter(attempt__in=ids)), *_calls(loose_calls, MOST_LOOSE)]
    happened = [*events.filter(attempt__in=ids), *loose_events.order_by("-pk")[:MOST_LOOSE]]
    entries = _merged(happened, calls)
    cut = loose_calls[MOST_LOOSE:].exists() or loose_events[MOST_LOOSE:].exists()
    return Timeline(entries, page, pages, cut)


def batches_of(told: Told, timeline: Timeline) -> Iterable[int | None]:
    """To which batches a page with these leads."""
    if told.attempt is not None:
        yield told.attempt.batch_id
    for entry in timeline.entries:
        yield entry.event.batch_id if entry.event else None
        yield entry.call.batch_id if entry.call else None


def _why(attempt: CancellationAttempt) -> str:
    """What was last said of it; where a person is to decide, why it came to that."""
    known = reason(attempt.state, attempt.code)
    if attempt.state == State.NEEDS_REVIEW and known:
        return known
    return attempt.message or known


def _decision(attempt: CancellationAttempt) -> ReviewDecision | None:
    confirmed = attempt.review_decisions.filter(answer=ReviewDecision.Answer.CONFIRMED)
    return confirmed.select_related("proposed_by", "answered_by").first()


def _word(state: str) -> str:
    return str(State(state).label) if state in State.values else state.replace("_", " ")


def _made(invoice: Invoice) -> "QuerySet[CancellationAttempt]":
    """Attempts that got further than a preview."""
    return CancellationAttempt.objects.filter(invoice=invoice).exclude(
        state__in=(State.DRAFT, State.INELIGIBLE)
    )


def _begun(attempts: "QuerySet[CancellationAttempt]") -> datetime | None:
    at: datetime | None = attempts.values_list("batch__created_at", flat=True).first()
    return at


def _between(field: str, since: datetime | None, until: datetime | None) -> Q:
    later = Q(**{f"{field}__gte": since}) if since else Q()
    earlier = Q(**{f"{field}__lt": until}) if until else Q()
    return later & earlier


def _calls(subjects: "QuerySet[CallSubject]", most: int | None = None) -> Iterable[Call]:
    """The calls about an invoice, newest first, without headers and bodies."""
    for row in with_calls(subjects).defer(*HEADERS)[:most]:
        yield call_of(row)


def with_calls(subjects: "QuerySet[CallSubject]") -> "QuerySet[CallSubject]":
    """Newest first, each with its call but without bodies, for `call_of`."""
    rows = subjects.select_related("request__account", "request__response").defer(*BODIES)
    return rows.annotate(batch_id=F("attempt__batch_id")).order_by("-request_id")


def call_of(row: CallSubject) -> Call:
    """The call of a row of `with_calls`."""
    response = getattr(row.request, "response", None)
    return Call(row.request, response, row.batch_id)  # type: ignore[attr-defined]


def _merged(events: Iterable[HistoryEvent], calls: Iterable[Call]) -> tuple[Happening, ...]:
    """Newest first; of one moment, the event follows from the call and so comes above it."""
    entries = [
        *((one.at, 1, one.pk, Happening(one.at, event=one)) for one in events),
        *((one.at, 0, one.request.pk.int, Happening(one.at, call=one)) for one in calls),
    ]
    entries.sort(key=lambda entry: entry[:3], reverse=True)
    return tuple(entry[3] for entry in entries)


def _chosen(attempt: CancellationAttempt) -> dict[str, bool]:
    options = attempt.batch.options
    held = options.get(attempt.account.provider) if isinstance(options, dict) else None
    return held if isinstance(held, dict) else {}


def about_person(pk: object) -> str:
    """The `code` of an event that is about a person, e.g. somebody whose roles were changed."""
    return f"person:{pk}"


def payload_opened(user: User, call: ProviderRequest, what: str) -> None:
    """Put on record that somebody read of a call's payload, for each invoice it was about.

    `what` was read, and how: "answer opened", "body of the request downloaded".
    """
    access.require(user, call)
    about: list[tuple[int | None, int | None, int | None]] = list(
        call.subjects.values_list("invoice_id", "attempt_id", "attempt__batch_id")
    )
    HistoryEvent.objects.bulk_create(
        HistoryEvent(
            kind=HistoryEvent.Kind.PAYLOAD_VIEWED,
            actor=user,
            account_id=call.account_id,
            invoice_id=invoice,
            attempt_id=attempt,
            batch_id=batch,
            detail=f"{call.get_purpose_display()} {call.method} {call.pk}: {what}"[:500],
        )
        for invoice, attempt, batch in about or [(None, None, None)]
    )


def looks(invoice: Invoice) -> list[HistoryEvent]:
    """Who last looked at payloads about an invoice, or exported them; newest first."""
    seen = HistoryEvent.objects.filter(invoice=invoice, kind__in=LOOKS).select_related("actor")
    return list(seen.order_by("-pk")[:MOST_LOOKS])


def answered(invoice: Invoice) -> list[Call]:
    """The newest calls about an invoice that have an answer, without payloads."""
    about = CallSubject.objects.filter(invoice=invoice, request__response__status__isnull=False)
    # A call may have been about two attempts.
    unique = {call.request.pk: call for call in _calls(about, MOST_COMPARED)}
    return list(unique.values())
