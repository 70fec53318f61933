"""The index behind the search box: trigrams, as each database knows them.

PostgreSQL: GIN over pg_trgm, left out with a warning where the extension is not to be had.
SQLite: an FTS5 table with the trigram tokenizer, kept by three triggers. SQLite drops the triggers
whenever Django remakes the table, so a later AlterField on Invoice must be followed by
`install_fts` once more; a test checks that the triggers are there.
"""

import logging
from typing import Any, ClassVar

from django.db import migrations

SQLITE = (
    """
    CREATE VIRTUAL TABLE IF NOT EXISTS invoices_search USING fts5(
        search_text, content='invoices_invoice', content_rowid='id', tokenize='trigram'
    )
    """,
    """
    CREATE TRIGGER IF NOT EXISTS invoices_search_insert AFTER INSERT ON invoices_invoice BEGIN
        INSERT INTO invoices_search(rowid, search_text) VALUES (new.id, new.search_text);
    END
    """,
    """
    CREATE TRIGGER IF NOT EXISTS invoices_search_delete AFTER DELETE ON invoices_invoice BEGIN
        INSERT INTO invoices_search(invoices_search, rowid, search_text)
        VALUES ('delete', old.id, old.search_text);
    END
    """,
    """
    CREATE TRIGGER IF NOT EXISTS invoices_search_update AFTER UPDATE OF search_text
    ON invoices_invoice WHEN old.search_text <> new.search_text BEGIN
        INSERT INTO invoices_search(invoices_search, rowid, search_text)
        VALUES ('delete', old.id, old.search_text);
        INSERT INTO invoices_search(rowid, search_text) VALUES (new.id, new.search_text);
    END
    """,
    "INSERT INTO invoices_search(invoices_search) VALUES ('rebuild')",
)


def install(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "sqlite":
        install_fts(schema_editor)
    elif schema_editor.connection.vendor == "postgresql":
        install_trigrams(schema_editor)


def install_fts(schema_editor: Any) -> None:
    with schema_editor.connection.cursor() as cursor:
        for statement in SQLITE:
            cursor.execute(statement)


def install_trigrams(schema_editor: Any) -> None:
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'pg_trgm'")
        if cursor.fetchone() is None:
            logging.getLogger(__name__).warning(
                "pg_trgm is not available on this server: searching inside words will be slow."
            )
            return
        cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        cursor.execute(
            "CREATE INDEX IF NOT EXISTS invoice_search_trigrams ON invoices_invoice "
            "USING gin (search_text gin_trgm_ops)"
        )


def remove(apps: Any, schema_editor: Any) -> None:
    with schema_editor.connection.cursor() as cursor:
        if schema_editor.connection.vendor == "sqlite":
            for name in ("insert", "delete", "update"):
                cursor.execute(f"DROP TRIGGER IF EXISTS invoices_search_{name}")
            cursor.execute("DROP TABLE IF EXISTS invoices_search")
        else:
            cursor.execute("DROP INDEX IF EXISTS invoice_search_trigrams")


class Migration(migrations.Migration):
    dependencies: ClassVar = [("invoices", "0001_initial")]

    operations: ClassVar = [migrations.RunPython(install, remove, elidable=False)]
