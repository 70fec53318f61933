"""Retention: bodies of old requests and answers are exported, the export verified, then emptied.

A month at a time, and only months that are over for as long as was asked. Rows, headers and the
SHA-256 of every body stay: verification goes on to hold. A month is emptied in one transaction,
with the record of it; whatever interrupts, a second run goes on where the first one ended.
"""

import hashlib
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice
from pathlib import Path
from uuid import UUID

from django.db.models import Count, QuerySet, Sum
from django.db.models.functions import Length, TruncMonth
from django.utils import timezone

from invoices.audit import keys, verify_pack
from invoices.audit.doorway import empty_bodies, open_for_emptying
from invoices.models import BodyPurge, HistoryEvent, ProviderRequest, ProviderResponse
from invoices.packs.exporting import Export, export, write
from invoices.packs.scope import Span, midnight, of_span

FLOOR = 12
"""Months: nothing younger is ever purged."""
PAGE = 2000
SEAL_SECONDS = 3600.0

Sides = tuple[QuerySet[ProviderRequest], QuerySet[ProviderResponse]]


class RetentionRefused(Exception):
    """Why a month was not purged, in a sentence."""


@dataclass(frozen=True, slots=True)
class Month:
    """A closed month with bodies in it: `size` is theirs in bytes."""

    first: date
    requests: int
    answers: int
    size: int

    @property
    def span(self) -> Span:
        """From its first to its last day."""
        return Span(self.first, _after(self.first, 1) - timedelta(days=1))

    def __str__(self) -> str:
        return f"{self.first:%Y-%m}"


def due(months: int, now: datetime | None = None) -> list[Month]:
    """The months that ended so many months ago or more and still have bodies, the oldest first.

    Raises `RetentionRefused` below the floor.
    """
    if months < FLOOR:
        raise RetentionRefused(f"Nothing younger than {FLOOR} months is ever purged.")
    today = timezone.localdate(now)
    span = Span(last=_after(today.replace(day=1), -months) - timedelta(days=1))
    found: dict[date, list[int]] = defaultdict(lambda: [0, 0, 0])
    for side, (rows, moment) in enumerate(
        zip(_with_bodies(span), ("created_at", "received_at"), strict=True)
    ):
        by_month = rows.annotate(month=TruncMonth(moment)).values("month").order_by()
        for one in by_month.annotate(count=Count("pk"), size=Sum(Length("body"))):
            sums = found[timezone.localtime(one["month"]).date()]
            sums[side] += one["count"]
            sums[2] += one["size"]
    return [Month(first, *found[first]) for first in sorted(found)]


def purge(month: Month, folder: Path) -> tuple[Path, BodyPurge]:
    """Export a month into the folder, verify the export, and only then empty the bodies.

    Raises `RetentionRefused`; then nothing of this month was emptied.
    """
    made = export(of_span(month.span), None, seconds=SEAL_SECONDS)
    path = _free(folder / f"evidence-{month}.zip")
    write(made, path)
    _check(made, path)
    return path, _empty(month, path, made.built.manifest_sha256)


def _check(made: Export, path: Path) -> None:
    """The export holds every row and body, and the verifier says so."""
    if made.built.unsealed or made.built.tampered:
        raise RetentionRefused(
            f"{made.built.unsealed:,} rows are not sealed yet and {made.built.tampered:,} were"
            f" tampered with. Nothing was purged; look into {path}."
        )
    public = keys.public_hex(keys.signing_key().public_key())
    done = subprocess.run(
        [sys.executable, "-I", str(verify_pack.__file__), str(path), "--public-key", public],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        told = (done.stdout or done.stderr).strip()
        raise RetentionRefused(f"The export {path} does not verify. Nothing was purged. {told}")


def _empty(month: Month, path: Path, manifest: str) -> BodyPurge:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    with open_for_emptying():
        requests, answers = (_emptied(rows) for rows in _with_bodies(month.span))
        if (requests, answers) != (month.requests, month.answers):
            raise RetentionRefused(
                f"{month} changed while it was exported. Nothing was purged; run it again."
            )
        made: BodyPurge = BodyPurge.objects.create(
            since=midnight(month.first),
            until=midnight(_after(month.first, 1)),
            requests=requests,
            answers=answers,
            export_sha256=sha256,
        )
        HistoryEvent.objects.create(
            kind=HistoryEvent.Kind.EVIDENCE_PURGED,
            code=f"{month}",
            detail=f"{requests:,} requests and {answers:,} answers of {month}, {month.size:,}"
            f" bytes; exported to {path.name}, SHA-256 {sha256}; manifest {manifest}",
        )
    return made


def _emptied(rows: "QuerySet[ProviderRequest] | QuerySet[ProviderResponse]") -> int:
    remaining = _keys(rows)
    count = 0
    while page := list(islice(remaining, PAGE)):
        count += empty_bodies(rows.model, page)
    return count


def _keys(rows: "QuerySet[ProviderRequest] | QuerySet[ProviderResponse]") -> Iterator[UUID]:
    """All are read before the first is emptied."""
    return iter(list(rows.order_by().values_list("pk", flat=True)))


def _with_bodies(span: Span) -> Sides:
    return (
        ProviderRequest.objects.filter(span.within("created_at")).exclude(body=b""),
        ProviderResponse.objects.filter(span.within("received_at")).exclude(body=b""),
    )


def _free(path: Path) -> Path:
    """Never the name of an export by which something was purged."""
    place, chosen = 1, path
    while chosen.exists() and _was_purged_by(chosen):
        place += 1
        chosen = path.with_name(f"{path.stem}-{place}{path.suffix}")
    return chosen


def _was_purged_by(path: Path) -> bool:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return bool(BodyPurge.objects.filter(export_sha256=sha256).exists())


def _after(first: date, months: int) -> date:
    """The first day of the month so many months later, or earlier."""
    year, month = divmod(first.year * 12 + first.month - 1 + months, 12)
    return date(year, month + 1, 1)
