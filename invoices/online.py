"""Indexes on tables that may be large, made while everybody goes on working.

`CREATE INDEX` on PostgreSQL lets nobody write to the table until it is done, minutes for a table
of millions; `CONCURRENTLY` does, and takes longer. makemigrations writes `migrations.AddIndex`;
change that by hand to:

    from invoices.online import AddIndexOnline

    class Migration(migrations.Migration):
        atomic = False
        operations = [AddIndexOnline("historyevent", models.Index(fields=["at"], name="event_at"))]

`atomic = False`, because it cannot be done within a transaction; so let the migration do nothing
else. A test asks this of every migration that adds an index to a table that was there before.
"""

from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db.migrations import AddIndex


class AddIndexOnline(AddIndexConcurrently):
    """Concurrently on PostgreSQL, plainly elsewhere; may be repeated after it was interrupted."""

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        """Make it."""
        if schema_editor.connection.vendor != "postgresql":
            AddIndex.database_forwards(self, app_label, schema_editor, from_state, to_state)
            return
        self._ensure_not_in_transaction(schema_editor)
        self._drop_unfinished(schema_editor)
        super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        """Take it away."""
        if schema_editor.connection.vendor != "postgresql":
            AddIndex.database_backwards(self, app_label, schema_editor, from_state, to_state)
            return
        super().database_backwards(app_label, schema_editor, from_state, to_state)

    def _drop_unfinished(self, schema_editor: Any) -> None:
        """What an interrupted try left has the name, is never used, and costs at each write."""
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(
                "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(%s) AND NOT indisvalid",
                [self.index.name],
            )
            if cursor.fetchone():
                name = schema_editor.quote_name(self.index.name)
                cursor.execute(f"DROP INDEX CONCURRENTLY {name}")
