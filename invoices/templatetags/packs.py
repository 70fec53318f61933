"""How moments read in a pack, which is looked at long after.

{% load packs %}
{{ moment|instant }}    "2026-01-31 14:02:11"
{{ moment|zone }}       "UTC"
"""

from datetime import datetime

from django import template
from django.utils import timezone

register = template.Library()


@register.filter
def instant(moment: datetime | None) -> str:
    """To the second, in the site's time zone."""
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S}" if moment else ""


@register.filter
def zone(moment: datetime) -> str:
    """The zone in which a moment is shown."""
    return f"{timezone.localtime(moment):%Z}"
