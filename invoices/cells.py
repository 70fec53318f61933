"""The cells of the long lists, as HTML: an invoice's, a call's and an event's.

Written without the template engine: a page of the list of invoices has four hundred cells, and
rendering a template for each took most of the time that the page took. Templates that show one of
them load the same functions: `{% load cells %}{% day invoice.due_on invoice.is_overdue %}`.
"""

from datetime import date, datetime

from django.contrib.humanize.templatetags.humanize import intcomma
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import Truncator

from invoices.hits import Hits, Pieces
from invoices.markup import badge, money
from invoices.models import (
    CancellationAttempt,
    HistoryEvent,
    Invoice,
    ProviderRequest,
    ProviderResponse,
)
from invoices.reasons import reason
from invoices.templatetags.told import clock

NOTHING = mark_safe("–")

# --- Invoices -------------------------------------------------------------------------------------


def name(hits: Hits) -> SafeString:
    """An invoice's number with what was looked for marked, and why else it was found."""
    reasons = format_html_join(
        "",
        '<span class="why">{} <bdi>{}</bdi></span>',
        ((one.label, marked(one.pieces)) for one in hits.reasons),
    )
    return format_html("<bdi>{}</bdi>{}", marked(hits.name), reasons)


def marked(pieces: Pieces) -> SafeString:
    """A text with what was looked for marked."""
    return mark_safe(  # noqa: S308 - each piece is escaped
        "".join(format_html("<mark>{}</mark>" if is_hit else "{}", text) for text, is_hit in pieces)
    )


def customer(shown: str, pieces: Pieces) -> SafeString:
    """Who is to pay, cut by the style sheet and whole in the title."""
    inside = format_html("<bdi>{}</bdi>", marked(pieces)) if pieces else NOTHING
    return format_html('<span class="clamp" title="{}">{}</span>', shown, inside)


def amount(invoice: Invoice, is_hit: bool) -> SafeString:
    """Marked when it was looked for."""
    text = money(invoice.amount_minor, invoice.currency, invoice.exponent)
    return format_html("<mark>{}</mark>", text) if is_hit else text


def status(invoice: Invoice) -> SafeString:
    """Our word, with the provider's own as its title."""
    said = invoice.provider_status
    title = f"At the provider: {said}" if said else ""
    shown = badge(invoice.status, invoice.get_status_display())
    return format_html('<span title="{}">{}</span>', title, shown)


def day(day: date | None, overdue: bool = False) -> SafeString:
    """A day, marked when it is past and nothing was paid."""
    if day is None:
        return NOTHING
    mark = mark_safe('<br><strong class="bad-word">overdue</strong>') if overdue else ""
    return format_html('<span class="nowrap">{}</span>{}', date_format(day, "j M Y"), mark)


def attempt(attempt: CancellationAttempt | None) -> SafeString:
    """How far an attempt came, with the reason as its title."""
    if attempt is None:
        return mark_safe('<span class="quiet-word">–</span>')
    title = reason(attempt.state, attempt.code)
    return format_html('<span title="{}">{}</span>', title, _stage(attempt))


def _stage(attempt: CancellationAttempt) -> SafeString:
    remark = ""
    if attempt.is_unverified:
        remark = "verification pending"
    elif attempt.evidence == "person":
        remark = "by two persons’ decision"
    if not remark:
        return badge(attempt.state, attempt.get_state_display())
    return format_html('{}<br><span class="quiet-word">{}</span>', badge("cancelled"), remark)


# --- Calls ----------------------------------------------------------------------------------------


def moment(moment: datetime | None) -> SafeString:
    """When it was."""
    return format_html('<span class="nowrap">{}</span>', clock(moment))


def call_for(call: ProviderRequest) -> SafeString:
    """The account, and what the call was for."""
    return format_html(
        '<span class="nowrap">{}</span><br><span class="quiet-word">{}</span>',
        call.account,
        call.get_purpose_display(),
    )


def request(call: ProviderRequest) -> SafeString:
    """Method and address."""
    return format_html(
        '<span class="verb">{}</span> <span class="mono">{}</span>',
        call.method,
        Truncator(call.url).chars(90),
    )


def answer(response: ProviderResponse | None) -> SafeString:
    """HTTP status or fault."""
    if response is None:
        return _toned("wait", "Not recorded")
    if response.fault:
        return _toned("bad", " ".join(str(one) for one in (response.status, response.fault) if one))
    is_yes = response.status is not None and 200 <= response.status < 300
    return _toned("ok" if is_yes else "bad", response.status)


def took(response: ProviderResponse | None) -> SafeString:
    """Milliseconds."""
    if response is None:
        return NOTHING
    return format_html('<span class="num nowrap">{} ms</span>', intcomma(response.duration_ms))


def correlation(response: ProviderResponse | None) -> SafeString:
    """By which the provider's support desk finds a call."""
    found = response.correlation_id if response else ""
    return format_html('<span class="mono">{}</span>', found or "–")


def _toned(tone: str, word: object) -> SafeString:
    return format_html('<span class="badge" data-tone="{}">{}</span>', tone, word)


# --- Events ---------------------------------------------------------------------------------------


def who(event: HistoryEvent) -> SafeString:
    """No person means Annul itself, or somebody who could not sign in."""
    nobody = "Somebody" if event.address else "Annul"
    shown = event.actor.get_username() if event.actor else nobody
    if not event.address:
        return format_html("{}", shown)
    return format_html('{} <span class="quiet-word nowrap">{}</span>', shown, event.address)


def change(event: HistoryEvent) -> SafeString:
    """From and to."""
    if not event.from_state and not event.to_state:
        return NOTHING
    before = format_html("{} → ", badge(event.from_state)) if event.from_state else ""
    return format_html("{}{}", before, badge(event.to_state) if event.to_state else "")


def about(event: HistoryEvent) -> SafeString:
    """Invoice, batch and account."""
    link, shown = '<a class="nowrap" href="{}">{}</a>', []
    if event.invoice_id:
        shown.append(format_html(link, _page("invoice", event.invoice_id), event.invoice))
    if event.batch_id and getattr(event, "is_closed", False):
        shown.append(format_html("{}", event.batch))
    elif event.batch_id:
        shown.append(format_html(link, _page("cancellationbatch", event.batch_id), event.batch))
    if event.account_id:
        shown.append(format_html('<span class="quiet-word nowrap">{}</span>', event.account))
    return format_html_join(" ", "{}", ((one,) for one in shown))


def detail(event: HistoryEvent) -> SafeString:
    """The code's sentence and the detail."""
    is_step = event.kind == "attempt_state" and event.code
    sentence = reason(event.to_state, event.code) if is_step else ""
    return format_html("{}{}{}", sentence, " " if is_step else "", event.detail)


def _page(model: str, key: int) -> str:
    return reverse(f"admin:invoices_{model}_change", args=[key])
