"""Which currencies occur, found by leaping from one to the next along an index."""

from django.db import connection

from invoices.models import Invoice

MOST_CURRENCIES = 200

_LEAP = """
WITH RECURSIVE leap(currency) AS (
    SELECT min(currency) FROM {table}
    UNION ALL
    SELECT (SELECT min(currency) FROM {table} WHERE currency > leap.currency)
    FROM leap WHERE leap.currency IS NOT NULL
)
SELECT currency FROM leap WHERE currency IS NOT NULL LIMIT %s
"""


def occurring() -> list[str]:
    """The currencies of all invoices in order, "" where none is stated: one probe for each."""
    table = connection.ops.quote_name(Invoice._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(_LEAP.format(table=table), [MOST_CURRENCIES])
        return [code for (code,) in cursor.fetchall()]
