"""What is known of bodies that were purged under retention: their purge, for the pages."""

from datetime import datetime

from invoices.models import BodyPurge


def purge_of(moment: datetime) -> BodyPurge | None:
    """The purge that emptied the body of a request made, or an answer received, at this moment."""
    spans = BodyPurge.objects.filter(since__lte=moment, until__gt=moment)
    found: BodyPurge | None = spans.order_by("pk").first()
    return found
