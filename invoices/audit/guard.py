"""Triggers that refuse to change or delete what is on record, whoever asks.

SQLite drops a table's triggers whenever Django makes the table anew, which most alterations do. So
a migration that alters a table named here must be followed by one with `RunPython(protect)`; a
test compares the triggers of a migrated database with `sqlite_triggers` and tells when it is
missing. PostgreSQL keeps its triggers; there, to repeat it does nothing.

`doorway.py` opens the one gap that is left: emptying bodies, for retention.
"""
# Every name in these statements is ours.
# ruff: noqa: S608

from collections.abc import Iterator
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

WITH_BODIES = ("invoices_providerrequest", "invoices_providerresponse")
FINAL = (
    *WITH_BODIES,
    "invoices_historyevent",
    "invoices_callsubject",
    "invoices_bodypurge",
    "invoices_seal",
    "invoices_sealtile",
    "invoices_checkpoint",
)
PERMIT = "invoices_purgepermit"
"""SQLite has no settings of a transaction: a row in this table, never committed, stands for one."""
SETTING = "annul.purge"
REFUSAL = "The record is final: rows are neither changed nor deleted."
PATIENCE = "5s"

# "restrict_violation" is an integrity error, which is what SQLite makes of RAISE(ABORT).
REFUSE = f"RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'restrict_violation';"
FUNCTIONS = (
    f"""
    CREATE OR REPLACE FUNCTION annul_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        {REFUSE}
    END $$
    """,
    f"""
    CREATE OR REPLACE FUNCTION annul_refuse_but_emptying() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        unemptied record;
    BEGIN
        IF pg_catalog.current_setting('{SETTING}', true) = 'on' AND length(NEW.body) = 0 THEN
            unemptied := NEW;
            unemptied.body := OLD.body;
            IF unemptied IS NOT DISTINCT FROM OLD THEN
                RETURN NEW;
            END IF;
        END IF;
        {REFUSE}
    END $$
    """,
)


def protect(apps: Any, schema_editor: Any) -> None:
    """For RunPython, in a migration of its own. Makes every trigger anew.

    The locks are held for milliseconds. They are not waited for behind a long transaction, because
    all others would then wait behind us: the migration fails and can be repeated.
    """
    connection = schema_editor.connection
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{PATIENCE}'")
    install(connection)


def unprotect(apps: Any, schema_editor: Any) -> None:
    """The way back, for RunPython."""
    remove(schema_editor.connection)


def install(connection: BaseDatabaseWrapper) -> None:
    """Make the triggers of those tables that exist; those that are there already, anew."""
    remove(connection)
    make = _postgresql if connection.vendor == "postgresql" else _sqlite
    _run(connection, make(connection))


def remove(connection: BaseDatabaseWrapper) -> None:
    """Drop the triggers."""
    if connection.vendor == "postgresql":
        _run(
            connection,
            (
                f"DROP TRIGGER IF EXISTS {name} ON {table}"
                for table in _present(connection)
                for name in postgresql_triggers(table)
            ),
        )
    else:
        _run(
            connection,
            (
                f"DROP TRIGGER IF EXISTS {name}"
                for table in FINAL
                for name in (f"{table}_{verb}_refused" for verb in ("update", "delete", "insert"))
            ),
        )


def missing(connection: BaseDatabaseWrapper) -> list[str]:
    """Triggers that are not there, are switched off or are other ones, as `table: name`."""
    if connection.vendor == "postgresql":
        found = _ask(
            connection,
            "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE tgenabled = 'A'",
        )
        there = set(found)
        wanted = {(table, name) for table in FINAL for name in postgresql_triggers(table)}
        return sorted(f"{table}: {name}" for table, name in wanted - there)
    sql = dict(_ask(connection, "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))
    return [
        f"{table}: {name}"
        for table in FINAL
        for name, made in sqlite_triggers(connection, table).items()
        if sql.get(name) != made
    ]


def postgresql_triggers(table: str) -> dict[str, str]:
    """Name to definition, up to the table's name."""
    delete = "BEFORE DELETE" if table in WITH_BODIES else "BEFORE UPDATE OR DELETE"
    made = {
        "annul_rows": f"{delete} ON {table} FOR EACH ROW EXECUTE FUNCTION annul_refuse()",
        "annul_table": f"BEFORE TRUNCATE ON {table} EXECUTE FUNCTION annul_refuse()",
    }
    if table in WITH_BODIES:
        made["annul_bodies"] = (
            f"BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION annul_refuse_but_emptying()"
        )
    return made


def sqlite_triggers(connection: BaseDatabaseWrapper, table: str) -> dict[str, str]:
    """Name to definition, for the columns and unique keys that the table has now.

    An update names every column, and REPLACE is an insertion that deletes without a word whatever
    has the same key: so an existing key is refused, the hidden rowid included.
    """
    refuse = f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
    may_update = f"WHEN NOT ({_emptied(connection, table)}) " if table in WITH_BODIES else ""
    conditions = {
        "update": f"BEFORE UPDATE ON {table} {may_update}",
        "delete": f"BEFORE DELETE ON {table} ",
        "insert": f"BEFORE INSERT ON {table} WHEN {_taken(connection, table)} ",
    }
    return {
        f"{table}_{verb}_refused": f"CREATE TRIGGER {table}_{verb}_refused {condition}{refuse}"
        for verb, condition in conditions.items()
    }


def _postgresql(connection: BaseDatabaseWrapper) -> Iterator[str]:
    yield from FUNCTIONS
    for table in _present(connection):
        for name, definition in postgresql_triggers(table).items():
            yield f"CREATE TRIGGER {name} {definition}"
            # Otherwise `SET session_replication_role = replica` switches it off.
            yield f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}"


def _sqlite(connection: BaseDatabaseWrapper) -> Iterator[str]:
    yield f"CREATE TABLE IF NOT EXISTS {PERMIT} (only_one INTEGER PRIMARY KEY)"
    for table in _present(connection):
        yield from sqlite_triggers(connection, table).values()


def _emptied(connection: BaseDatabaseWrapper, table: str) -> str:
    columns = (str(row[1]) for row in _ask(connection, f"PRAGMA table_info({table})"))
    same = (f'new."{name}" IS old."{name}"' for name in columns if name != "body")
    return " AND ".join([f"EXISTS (SELECT 1 FROM {PERMIT})", "new.body IS x''", *same])


def _taken(connection: BaseDatabaseWrapper, table: str) -> str:
    keys = [["rowid"]]
    for _, index, unique, *_ in _ask(connection, f"PRAGMA index_list({table})"):
        if unique:
            keys.append([str(row[2]) for row in _ask(connection, f"PRAGMA index_info({index})")])
    return " OR ".join(
        f"EXISTS (SELECT 1 FROM {table} WHERE {_equal(key)})" for key in sorted(keys)
    )


def _equal(key: list[str]) -> str:
    return " AND ".join(f'"{name}" = new."{name}"' for name in key)


def _present(connection: BaseDatabaseWrapper) -> list[str]:
    with connection.cursor() as cursor:
        there = set(connection.introspection.table_names(cursor))
    return [table for table in FINAL if table in there]


def _ask(connection: BaseDatabaseWrapper, sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def _run(connection: BaseDatabaseWrapper, statements: Iterator[str]) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
