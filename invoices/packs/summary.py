"""summary.csv: one line for each attempt, safe to open in a spreadsheet."""

import csv
import io
from collections.abc import Iterable, Iterator

from django.utils import timezone

from invoices.packs.stories import Ending, Story
from providers.money import format_minor

BOM = "\ufeff"
HEADERS = (
    "Invoice",
    "Provider's id",
    "Account",
    "Customer",
    "Amount",
    "Currency",
    "Batch",
    "Asked by",
    "Approved by",
    "Reason",
    "Outcome",
    "Code",
    "Why",
    "Ended",
    "Verified",
    "What happened",
)
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet may take for a formula; and the sign that we put before it, so that whoever
takes one such sign away has exactly what was written."""


def safe(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


def lines(stories: Iterable[Story]) -> Iterator[bytes]:
    """The file, in UTF-8 with a byte order mark, everything quoted."""
    yield BOM.encode() + _line(HEADERS)
    for story in stories:
        for ending in story.endings:
            yield _line(_cells(story, ending))


def _line(cells: Iterable[str]) -> bytes:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerow([safe(cell) for cell in cells])
    # Half of a surrogate pair, which a provider may send, has no UTF-8.
    return out.getvalue().encode("utf-8", "replace")


def _cells(story: Story, ending: Ending) -> tuple[str, ...]:
    attempt, invoice = ending.attempt, story.invoice
    batch = attempt.batch
    minor = attempt.frozen_amount_minor
    return (
        invoice.number,
        invoice.external_id,
        str(attempt.account),
        attempt.frozen_customer,
        "" if minor is None else format_minor(minor, attempt.frozen_exponent).replace(",", ""),
        attempt.frozen_currency,
        str(batch.pk),
        batch.requested_by.get_username(),
        batch.approved_by.get_username() if batch.approved_by else "",
        batch.get_reason_display(),
        attempt.get_state_display(),
        attempt.code,
        ending.why,
        _moment(attempt.finished_at),
        _moment(attempt.verified_at),
        ending.sentence,
    )


def _moment(moment: object) -> str:
    return timezone.localtime(moment).isoformat(sep=" ", timespec="seconds") if moment else ""  # type: ignore[arg-type]
