"""What stands in the cells of the long lists, to the letter, whatever is in the database."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.template import Context, Template
from django.utils.safestring import SafeString

from invoices import cells
from invoices.hits import Hits, Reason
from invoices.models import (
    CancellationAttempt,
    CancellationBatch,
    HistoryEvent,
    Invoice,
    ProviderRequest,
    ProviderResponse,
)
from providers.models import ProviderAccount
from tests.pages.scenes import XSS

PLAIN = Hits((("RE-1", False),), (("Ana Ruiz", False),), amount=False, reasons=())
FOUND = Hits(
    (("RE-", False), ("1", True)),
    (("Ana", True), (" Ruiz", False)),
    amount=True,
    reasons=(Reason("e-mail", (("ana", True), ("@x", False))),),
)
INVOICE = Invoice(
    amount_minor=123_456, currency="EUR", exponent=2, status="open", provider_status="SENT"
)
ACCOUNT = ProviderAccount(pk=4, name="paypal-main")


def attempt(state: str, **facts: Any) -> CancellationAttempt:
    return CancellationAttempt(state=state, **facts)


def answer(**facts: Any) -> ProviderResponse:
    return ProviderResponse(**{"status": 200, "fault": "", **facts})


def event(**facts: Any) -> HistoryEvent:
    return HistoryEvent(**{"kind": "attempt_state", "address": "", **facts})


BADGE = '<span class="badge" data-state="{}">{}</span>'
QUIET = '<span class="quiet-word">{}</span>'
TONED = '<span class="badge" data-tone="{}">{}</span>'
CASES = [
    (cells.name(PLAIN), "<bdi>RE-1</bdi>"),
    (
        cells.name(FOUND),
        '<bdi>RE-<mark>1</mark></bdi><span class="why">e-mail <bdi><mark>ana</mark>@x</bdi></span>',
    ),
    (
        cells.customer("Ana Ruiz", FOUND.customer),
        '<span class="clamp" title="Ana Ruiz"><bdi><mark>Ana</mark> Ruiz</bdi></span>',
    ),
    (cells.customer("", ()), '<span class="clamp" title="">–</span>'),
    (cells.amount(INVOICE, is_hit=False), '<span class="money">1,234.56 EUR</span>'),
    (cells.amount(INVOICE, is_hit=True), '<mark><span class="money">1,234.56 EUR</span></mark>'),
    (
        cells.status(INVOICE),
        f'<span title="At the provider: SENT">{BADGE.format("open", "Open")}</span>',
    ),
    (
        cells.status(Invoice(status="written_off")),
        f'<span title="">{BADGE.format("written_off", "Written off")}</span>',
    ),
    (cells.day(None), "–"),
    (cells.day(None, overdue=True), "–"),
    (cells.day(date(2026, 2, 1)), '<span class="nowrap">1 Feb 2026</span>'),
    (
        cells.day(date(2026, 2, 1), overdue=True),
        '<span class="nowrap">1 Feb 2026</span><br><strong class="bad-word">overdue</strong>',
    ),
    (cells.attempt(None), QUIET.format("–")),
    (
        cells.attempt(attempt("refused", code="paid")),
        f'<span title="It is paid.">{BADGE.format("refused", "Refused")}</span>',
    ),
    (
        cells.attempt(attempt("cancelled", evidence="answer")),
        f'<span title="">{BADGE.format("cancelled", "Cancelled")}'
        f"<br>{QUIET.format('verification pending')}</span>",
    ),
    (
        cells.attempt(attempt("cancelled", evidence="person", code="decided")),
        f'<span title="Two persons decided it.">{BADGE.format("cancelled", "Cancelled")}'
        f"<br>{QUIET.format('by two persons’ decision')}</span>",
    ),
    (
        cells.call_for(ProviderRequest(account=ACCOUNT, purpose="cancel")),
        f'<span class="nowrap">paypal-main</span><br>{QUIET.format("Cancel")}',
    ),
    (
        cells.request(ProviderRequest(method="GET", url="https://x/" + "y" * 100)),
        f'<span class="verb">GET</span> <span class="mono">https://x/{"y" * 79}…</span>',
    ),
    (cells.answer(None), TONED.format("wait", "Not recorded")),
    (cells.answer(answer()), TONED.format("ok", 200)),
    (cells.answer(answer(status=404)), TONED.format("bad", 404)),
    (cells.answer(answer(status=502, fault="garbled")), TONED.format("bad", "502 garbled")),
    (cells.answer(answer(status=None, fault="timeout")), TONED.format("bad", "timeout")),
    (cells.took(None), "–"),
    (cells.took(answer(duration_ms=1412)), '<span class="num nowrap">1,412 ms</span>'),
    (cells.correlation(None), '<span class="mono">–</span>'),
    (cells.correlation(answer(correlation_id="")), '<span class="mono">–</span>'),
    (cells.correlation(answer(correlation_id="f00")), '<span class="mono">f00</span>'),
    (cells.who(event()), "Annul"),
    (cells.who(event(address="::1")), 'Somebody <span class="quiet-word nowrap">::1</span>'),
    (cells.who(event(actor=User(username="olga"))), "olga"),
    (
        cells.who(event(actor=User(username="olga"), address="10.0.0.7")),
        'olga <span class="quiet-word nowrap">10.0.0.7</span>',
    ),
    (cells.change(event()), "–"),
    (cells.change(event(to_state="queued")), BADGE.format("queued", "Queued")),
    (
        cells.change(event(from_state="draft", to_state="queued")),
        f"{BADGE.format('draft', 'Draft')} → {BADGE.format('queued', 'Queued')}",
    ),
    (cells.about(event()), ""),
    (
        cells.about(
            event(
                invoice=Invoice(pk=2, number="RE-2"), batch=CancellationBatch(pk=3), account=ACCOUNT
            )
        ),
        '<a class="nowrap" href="/admin/invoices/invoice/2/change/">RE-2</a>'
        ' <a class="nowrap" href="/admin/invoices/cancellationbatch/3/change/">Batch 3</a>'
        ' <span class="quiet-word nowrap">paypal-main</span>',
    ),
    (cells.detail(event(detail="by hand")), "by hand"),
    (
        cells.detail(event(to_state="refused", code="paid", detail="422")),
        "It is paid. 422",
    ),
]


@pytest.mark.parametrize(("cell", "html"), CASES)
def test_a_cell_reads_like_this(cell: SafeString, html: str) -> None:
    assert cell == html


def test_a_moment_is_shown_to_the_second_with_its_zone() -> None:
    at = datetime.now(UTC) - timedelta(days=400)
    shown = cells.moment(at)
    assert shown.startswith(f'<span class="nowrap"><time datetime="{at.isoformat()}">')
    assert f"{at:%H:%M:%S} UTC" in shown


def test_no_cell_lets_markup_through() -> None:
    bad = ((XSS, True), (XSS, False))
    account, user = ProviderAccount(pk=1, name=XSS), User(username=XSS)
    request = ProviderRequest(method=XSS, url=XSS, purpose=XSS, account=account)
    response = answer(fault=XSS, correlation_id=XSS)
    happened = event(
        actor=user,
        address=XSS,
        from_state=XSS,
        to_state=XSS,
        code=XSS,
        detail=XSS,
        invoice=Invoice(pk=1, number=XSS),
        account=account,
    )
    written = [
        cells.name(Hits(bad, bad, amount=True, reasons=(Reason(XSS, bad),))),
        cells.customer(XSS, bad),
        cells.amount(Invoice(amount_minor=1, currency=XSS, exponent=2), is_hit=True),
        cells.status(Invoice(status=XSS, provider_status=XSS)),
        cells.attempt(attempt("failed", code=XSS)),
        cells.call_for(request),
        cells.request(request),
        cells.answer(response),
        cells.correlation(response),
        cells.who(happened),
        cells.change(happened),
        cells.about(happened),
        cells.detail(happened),
    ]
    for html in written:
        assert isinstance(html, SafeString)
        assert "<script" not in html
        assert "<img" not in html
        assert not re.search(r"<[^>]*\son\w+=", re.sub(r'"[^"]*"', '""', html))


def test_templates_write_the_same_cells() -> None:
    source = "{% load cells %}{% day day True %}{% answer response %}{% attempt row %}"
    facts = {"day": date(2026, 2, 1), "response": None, "row": None}
    assert Template(source).render(Context(facts)) == (
        cells.day(date(2026, 2, 1), overdue=True) + cells.answer(None) + cells.attempt(None)
    )
