"""The filter pills of the record's lists: calls and events."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from invoices.admin.filters import ChoiceFilter, Choices, Hidden
from invoices.history import about_person
from invoices.models import HistoryEvent, ProviderRequest, ProviderResponse

Kind = HistoryEvent.Kind

ABOUT_PEOPLE = (
    Kind.SIGNED_IN,
    Kind.SIGNED_OUT,
    Kind.SIGN_IN_FAILED,
    Kind.USER_CHANGED,
    Kind.USER_LIMITED,
)
FEW_PEOPLE = 100
"""More are found by the search box."""

YEARS = range(2000, 9999)
INVERSION = timedelta(hours=1)
"""By how much the order of ids and that of times may differ: a transaction takes no longer."""


class Before(Hidden):
    """`before=<id>`: what is older than this row."""

    parameter_name = "before"


class After(Hidden):
    """`after=<id>`: what is newer than this row."""

    parameter_name = "after"


class OfInvoice(Hidden):
    """`invoice=<id>`: what is about one invoice."""

    parameter_name = "invoice"


class OfBatch(Hidden):
    """`batch=<id>`: what is about one batch."""

    parameter_name = "batch"


class PurposeFilter(ChoiceFilter):
    """By what a call was for."""

    title = "purpose"
    parameter_name = "purpose"
    options = [(str(value), str(label)) for value, label in ProviderRequest.Purpose.choices]


class AnswerFilter(ChoiceFilter):
    """By the class of the HTTP status, or that there was none."""

    title = "answer"
    parameter_name = "answer"
    options = [
        ("2", "2xx success"),
        ("3", "3xx redirect"),
        ("4", "4xx refused"),
        ("5", "5xx failed"),
        ("fault", "No complete answer"),
        ("unsent", "Provably not sent"),
        ("open", "Not recorded"),
    ]

    def chosen(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """`open`: under way, or its worker died before the answer could be recorded."""
        if value == "open":
            return rows.filter(response=None)
        if value == "unsent":
            return rows.filter(response__sent=False)
        if value == "fault":
            # By way of the answers: few have a fault, and an index knows them.
            faulty = ProviderResponse.objects.exclude(fault="")
            return rows.filter(pk__in=faulty.values("request"))
        low = int(value) * 100
        return rows.filter(response__status__range=(low, low + 99))


class StatusFilter(ChoiceFilter):
    """By one HTTP status; those that are not in the menu can be written into the address."""

    title = "HTTP status"
    parameter_name = "status"
    options = [
        (str(code), str(code))
        for code in (
            *(200, 201, 202, 204),
            *(400, 401, 403, 404, 409, 422, 429),
            *(500, 502, 503, 504),
        )
    ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Any three digits."""
        value = self.value()
        if value is None:
            return queryset
        is_status = value.isascii() and value.isdecimal() and len(value) == 3
        return queryset.filter(response__status=int(value)) if is_status else queryset.none()


class FaultFilter(ChoiceFilter):
    """By what went wrong on the way."""

    title = "fault"
    parameter_name = "fault"
    options = [
        ("timeout", "No answer in time"),
        ("deadline", "Cut off at the deadline"),
        ("deadline_passed", "Deadline passed before sending"),
        ("connection_lost", "Connection lost"),
        ("unreachable", "Not reachable"),
        ("dns", "Host name not resolved"),
        ("tls", "TLS not acceptable"),
        ("garbled", "Not proper HTTP"),
        ("too_large", "Answer too large"),
        ("bad_encoding", "Compression not undone"),
    ]

    def chosen(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """By our word for it."""
        return rows.filter(response__fault=value)


class KindFilter(ChoiceFilter):
    """By kind of event."""

    title = "kind"
    parameter_name = "kind"
    options = [(str(value), str(label)) for value, label in Kind.choices]


class PersonFilter(ChoiceFilter):
    """By person: what they did, and what was done with them."""

    title = "person"
    parameter_name = "person"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        """The first hundred, and whoever is asked for."""
        chosen = request.GET.get(self.parameter_name, "")
        asked = int(chosen) if chosen.isdecimal() and len(chosen) < 10 else 0
        names = User.objects.order_by("username").values_list("pk", "username")
        people = {**dict(names.filter(pk=asked)), **dict(names[:FEW_PEOPLE])}
        return [(str(pk), name) for pk, name in people.items()]

    def chosen(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """As actor, or as the one it is about."""
        return rows.filter(concerning([int(value)]))


class TimeFilter(admin.ListFilter):
    """From one time to another, both in the site's time zone; either may be left out."""

    title = "time"
    template = "admin/time_filter.html"
    field: ClassVar[str] = "at"
    since, until = "", ""

    def __init__(
        self,
        request: HttpRequest,
        params: dict[str, list[str]],
        model: type[Any],
        model_admin: admin.ModelAdmin[Any],
    ) -> None:
        super().__init__(request, params, model, model_admin)
        self.since = _to_the_minute(params.pop("since", [""])[-1], "T00:00")
        self.until = _to_the_minute(params.pop("until", [""])[-1], "T23:59")

    def has_output(self) -> bool:
        """Always there."""
        return True

    def expected_parameters(self) -> list[str | None]:
        """Both ends."""
        return ["since", "until"]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Within; none if one end is no time."""
        if self.is_wrong:
            return queryset.none()
        return within(queryset, self.field, moment(self.since), moment(self.until, ends=True))

    @property
    def is_wrong(self) -> bool:
        """Whether one end is no time."""
        try:
            moment(self.since), moment(self.until, ends=True)
        except ValueError:
            return True
        return False

    def choices(self, changelist: ChangeList) -> Iterator[dict[str, Any]]:
        """What the form keeps of the other filters."""
        mine = ("since", "until", "before", "after")
        kept = [(name, value) for name, value in changelist.params.items() if name not in mine]
        yield {"kept": kept, "clear": changelist.get_query_string(remove=list(mine))}


class CallTime(TimeFilter):
    """By when a call was put on record, just before it left."""

    field = "created_at"


def moment(text: str, *, ends: bool = False) -> datetime | None:
    """A minute; `ends`: the end of it. None for nothing. Raises `ValueError`."""
    if not text:
        return None
    found = parse_datetime(text)
    if found is None or found.year not in YEARS:
        raise ValueError(f"{text!r} is no time.")
    if ends:
        found += timedelta(minutes=1)
    return timezone.make_aware(found) if timezone.is_naive(found) else found


def _to_the_minute(text: str, minute: str) -> str:
    """A day alone means all of it, and is shown so: the field of the form knows no days."""
    bare = text.strip()
    return bare + minute if re.fullmatch(r"\d{4}-\d\d-\d\d", bare) else bare


def within(
    rows: QuerySet[Any], field: str, since: datetime | None, until: datetime | None
) -> QuerySet[Any]:
    """The rows of a span of time, `until` not included.

    Their ids are bounded, too: lists are in the order of ids, and a database that goes along them
    from the newest would read everything that is younger than the span.
    """
    everything = rows.model._default_manager.order_by(field, "pk")
    if since is not None:
        first = everything.filter(**{f"{field}__gte": since - INVERSION}).values("pk").first()
        if first is None:
            return rows.none()
        rows = rows.filter(**{f"{field}__gte": since, "pk__gte": first["pk"]})
    if until is not None:
        beyond = everything.filter(**{f"{field}__gte": until + INVERSION}).values("pk").first()
        rows = rows.filter(**{f"{field}__lt": until})
        if beyond is not None:
            rows = rows.filter(pk__lt=beyond["pk"])
    return rows


def concerning(people: list[int]) -> Q:
    """Events by or about these people."""
    codes = [about_person(pk) for pk in people]
    return Q(actor__in=people) | Q(kind__in=ABOUT_PEOPLE, code__in=codes)
