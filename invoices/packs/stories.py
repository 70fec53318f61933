"""What happened to each invoice of a pack, some invoices at a time, by the same few queries."""

import html
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from django.db.models import BooleanField, ExpressionWrapper, Q
from django.template.loader import get_template
from django.utils.html import strip_tags

from invoices import history
from invoices.models import (
    BodyPurge,
    CallSubject,
    CancellationAttempt,
    Invoice,
    ProviderRequest,
    ProviderResponse,
)
from invoices.models.attempt import State
from invoices.models.evidence import unpack_headers
from invoices.packs.evidence import EMPTY, EMPTY_FILE, body_name
from invoices.packs.scope import Scope
from invoices.purges import purge_of
from invoices.reasons import reason

PAGE = 25
EVENTS = 500
TIME = re.compile(r'<time datetime="([^"T]+)T([^"+]+?)(?:\.\d+)?([+-]\d\d:\d\d)">[^<]*</time>')
NOTHING_SENT = {
    State.DRAFT: "Only previewed; nothing was sent.",
    State.INELIGIBLE: "Left alone; nothing was sent. {why}",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """An attempt with its plain sentence."""

    attempt: CancellationAttempt
    sentence: str
    why: str


@dataclass(frozen=True, slots=True)
class Body:
    """Where the body of a request or an answer is: its file in the pack, or why there is none."""

    side: str
    sha256: str
    headers: str
    file: str
    purge: BodyPurge | None


@dataclass(frozen=True, slots=True)
class Entry:
    """An event, or a call with what is known of its bodies; `told` has its words."""

    at: datetime
    told: history.Happening
    bodies: tuple[Body, ...] = ()


@dataclass(frozen=True, slots=True)
class Story:
    """One invoice: how each attempt ended, the newest first, and what happened, in its order."""

    invoice: Invoice
    endings: tuple[Ending, ...]
    entries: tuple[Entry, ...]


def stories(scope: Scope) -> Iterator[Story]:
    """Of each invoice of a scope, in the order of their numbers in the database."""
    keys = scope.invoice_keys()
    while page := list(islice(keys, PAGE)):
        yield from _stories(scope, page)


def events_beside(scope: Scope) -> Iterator[history.Happening]:
    """What happened about no invoice in particular, in its order."""
    rows = scope.events.filter(invoice=None).select_related("actor", "account")
    for event in rows.order_by("pk").iterator(chunk_size=EVENTS):
        yield history.Happening(event.at, event=event)


def calls_beside(scope: Scope) -> Iterator[Entry]:
    """Calls about no invoice in particular: signing in, tests."""
    if scope.about_all:
        rows = scope.requests.exclude(pk__in=CallSubject.objects.values("request"))
        rows = rows.select_related("account", "response").defer("body", "response__body")
        for request in _knowing_bodies(rows, "").order_by("pk").iterator(chunk_size=EVENTS):
            call = history.Call(request, getattr(request, "response", None), None)
            yield _entry(call, request)


def _stories(scope: Scope, keys: list[int]) -> Iterator[Story]:
    invoices = Invoice.objects.select_related("account").in_bulk(keys)
    attempts = list(
        scope.attempts.filter(invoice__in=keys)
        .select_related("batch__requested_by", "batch__approved_by", "account", "invoice")
        .order_by("-pk")
    )
    endings: dict[int, list[Ending]] = defaultdict(list)
    calls = _calls_by_attempt(attempts)
    for attempt in attempts:
        endings[attempt.invoice_id].append(_ending(attempt, calls[attempt.pk]))
    entries = _entries(scope, keys)
    for key in keys:
        ordered = sorted(entries[key], key=lambda one: one[0])
        yield Story(invoices[key], tuple(endings[key]), tuple(entry for _, entry in ordered))


def _calls_by_attempt(
    attempts: Iterable[CancellationAttempt],
) -> dict[int | None, list[history.Call]]:
    calls: dict[int | None, list[history.Call]] = defaultdict(list)
    about = CallSubject.objects.filter(
        invoice__in=[one.invoice_id for one in attempts], attempt__in=[one.pk for one in attempts]
    )
    for row in history.with_calls(about).defer(*history.HEADERS):
        calls[row.attempt_id].append(history.call_of(row))
    return calls


def _ending(attempt: CancellationAttempt, calls: list[history.Call]) -> Ending:
    told = history.told_from(attempt, calls)
    state = State(attempt.state)
    why = " ".join(
        one for one in (reason(state, attempt.code), attempt.message) if one != attempt.code
    ).strip()
    if state in NOTHING_SENT:
        return Ending(attempt, NOTHING_SENT[state].format(why=why).strip(), why)
    text = get_template("invoices/sentence.html").render({"told": told, "attempt": attempt})
    return Ending(attempt, plain(text), why)


def plain(markup: str) -> str:
    """A page's sentence as text, its moments with their days."""
    dated = TIME.sub(r"\1 \2 \3", markup).replace(" +00:00", " UTC")
    return html.unescape(strip_tags(dated)).strip()


# --- the timeline ---------------------------------------------------------------------------------


def _entries(scope: Scope, keys: list[int]) -> dict[int | None, list[tuple[Any, Entry]]]:
    found: dict[int | None, list[tuple[Any, Entry]]] = defaultdict(list)
    for event in scope.events.filter(invoice__in=keys).select_related("actor"):
        entry = Entry(event.at, history.Happening(event.at, event=event))
        # Of one moment, the event follows from the call.
        found[event.invoice_id].append(((event.at, 1, event.pk), entry))
    about = scope.subjects.filter(invoice__in=keys)
    for row in _knowing_bodies(history.with_calls(about), "request__"):
        call = history.call_of(row)
        place = (call.at, 0, call.request.pk.int, row.pk)
        found[row.invoice_id].append((place, _entry(call, row)))
    return found


def _knowing_bodies(rows: Any, path: str) -> Any:
    """With `no_request` and `no_answer`: whether the body that is stored has no bytes."""
    return rows.annotate(
        no_request=_is_empty(f"{path}body"), no_answer=_is_empty(f"{path}response__body")
    )


def _is_empty(field: str) -> ExpressionWrapper[Q]:
    return ExpressionWrapper(Q(**{field: b""}), output_field=BooleanField())


def _entry(call: history.Call, known: Any) -> Entry:
    request = call.request
    bodies = [_body(request.pk, "request", request, request.created_at, known.no_request)]
    if (response := call.response) is not None:
        moment = response.received_at
        bodies.append(_body(request.pk, "answer", response, moment, known.no_answer))
    return Entry(call.at, history.Happening(call.at, call=call), tuple(bodies))


def _body(
    key: Any,
    side: str,
    stored: ProviderRequest | ProviderResponse,
    moment: datetime,
    is_empty: bool,
) -> Body:
    headers = "\n".join(f"{name}: {value}" for name, value in unpack_headers(bytes(stored.headers)))
    sha256 = stored.body_sha256
    if is_empty and sha256 != EMPTY:
        return Body(side, sha256, headers, "", purge_of(moment))
    return Body(side, sha256, headers, EMPTY_FILE if is_empty else body_name(key, side), None)
