"""How durations, moments and reasons read.

{% load told %}
{{ seconds|duration }}            45.0 -> "45 seconds", 170 -> "3 minutes"
{{ attempt.state|why:attempt.code }}
{{ account|rest_reason }}      "the provider asked for fewer calls"
{{ moment|clock }}                "14:02:11 UTC", with its day unless that is today
{{ moment|countdown }}            how long until then: "9 min 30 s", "23 h 59 min"
"""

from datetime import datetime

from django import template
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString

from invoices.reasons import reason, rest_reason
from providers.models import ProviderAccount

register = template.Library()

_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


@register.filter
def duration(seconds: float) -> str:
    """A length of time in its largest fitting unit, rounded."""
    whole = max(1, round(seconds))
    size, unit = next((size, unit) for size, unit in _UNITS if whole >= 1.5 * size or size == 1)
    count = round(whole / size)
    return f"{count:,} {unit}" + ("" if count == 1 else "s")


@register.filter
def why(state: str, code: str) -> str:
    """What an attempt's code means in its state."""
    return reason(state, code)


@register.filter(name="rest_reason")
def why_it_rests(account: ProviderAccount) -> str:
    """Why an account rests, to be put after "because"."""
    return rest_reason(account)


@register.filter
def clock(moment: datetime | None) -> SafeString | str:
    """A moment to the second with its zone; the day only where it is not today."""
    if moment is None:
        return ""
    local = timezone.localtime(moment)
    today = local.date() == timezone.localdate()
    text = date_format(local, "H:i:s T" if today else "j M Y H:i:s T")
    return format_html('<time datetime="{}">{}</time>', local.isoformat(), text)


@register.filter
def countdown(moment: datetime | None) -> str:
    """How long it is until a moment, in two units; "" for none and "no time" when it is past."""
    if moment is None:
        return ""
    seconds = max(0, round((moment - timezone.now()).total_seconds()))
    hours, minutes = seconds // 3600, seconds // 60 % 60
    parts = [(hours, "h"), (minutes, "min")] if hours else [(minutes, "min"), (seconds % 60, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "no time"
