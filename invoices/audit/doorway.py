"""The one gap in the triggers: bodies of requests and answers may be emptied, for retention.

Nothing opens a way to delete a row, or to change another column.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

from django.db import connection, transaction

from invoices.audit.guard import PERMIT, SETTING
from invoices.models.evidence import ProviderRequest, ProviderResponse


@contextmanager
def open_for_emptying() -> Iterator[None]:
    """A transaction in which bodies may be emptied; the permission ends with it and is nobody
    else's.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"SET LOCAL {SETTING} = 'on'")
            yield
            cursor.execute(f"SET LOCAL {SETTING} = 'off'")
        else:
            cursor.execute(f"INSERT INTO {PERMIT} DEFAULT VALUES")
            yield
            cursor.execute(f"DELETE FROM {PERMIT}")  # noqa: S608 - a name of ours


def empty_bodies(
    model: type[ProviderRequest] | type[ProviderResponse], keys: Sequence[UUID]
) -> int:
    """Empty the bodies of some requests or answers, named by their request's id.

    Only within `open_for_emptying`; otherwise the database raises IntegrityError. Returns how many
    rows were found. What was emptied must be put on record beforehand, see `BodyPurge`.
    """
    return int(model._base_manager.filter(pk__in=keys).update(body=b""))
