"""A page of a batch's invoices, by state and code, as its address asks for it."""

from typing import Any

from django.http import HttpRequest

from invoices.admin.readonly import PER_PAGE
from invoices.models import CancellationBatch
from invoices.models.attempt import State
from invoices.progress import counts_for_bar, counts_of, rows_of

NOT_STARTED = "Not started"
"""What a draft attempt is called on pages; an invoice can be a draft, too."""


def rows_facts(
    request: HttpRequest, batch: CancellationBatch, length: int = PER_PAGE
) -> dict[str, Any]:
    """For templates/invoices/batch_rows.html."""
    state = request.GET.get("state", "")
    state = state if state in State.values else ""
    code = request.GET.get("code")
    page = request.GET.get("p", "")
    number = max(1, int(page)) if page.isdecimal() and len(page) < 8 else 1
    start = (number - 1) * length
    rows, count = rows_of(batch, state=state, code=code, start=start, length=length)
    return {
        "rows": rows,
        "rows_count": count,
        "rows_state": state,
        "rows_code": code,
        "rows_word": State(state).label if state else "",
        "rows_first": start + 1,
        "rows_last": start + len(rows),
        "previous": number - 1,
        "next": number + 1 if start + len(rows) < count else 0,
        "not_started": NOT_STARTED,
        "pills": [
            (state, number, NOT_STARTED.lower() if state == State.DRAFT else word)
            for state, number, word in counts_for_bar(counts_of([batch.pk]).get(batch.pk, {}))
        ],
    }
