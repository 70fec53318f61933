"""Indexes on tables that may be large are made while everybody goes on working."""

from collections.abc import Iterator

import pytest
from django.db import NotSupportedError, connection, models, transaction
from django.db.migrations import AddIndex, CreateModel, Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.test.utils import CaptureQueriesContext

from invoices.models import CancellationAttempt
from invoices.online import AddIndexOnline

NAME = "heartbeat_by_time"
LANDED = {("invoices", number) for number in ("0010", "0012", "0014")}
"""Made before there was another way."""

on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL's own")


def slips(migration: Migration) -> list[str]:
    """The indexes that a migration adds by locking a table that was there before."""
    made = {one.name_lower for one in migration.operations if isinstance(one, CreateModel)}
    added = [one for one in migration.operations if isinstance(one, AddIndex)]
    return [
        one.index.name
        for one in added
        if one.model_name_lower not in made
        and (not isinstance(one, AddIndexOnline) or migration.atomic)
    ]


def test_no_migration_locks_a_table_for_an_index() -> None:
    migrations = MigrationLoader(None).disk_migrations
    ours = {key: one for key, one in migrations.items() if key[0] in ("invoices", "providers")}
    found = {key: slips(one) for key, one in ours.items() if (key[0], key[1][:4]) not in LANDED}
    assert {key: names for key, names in found.items() if names} == {}
    assert any(slips(one) for one in ours.values())  # The landed ones: it can be seen.


def index() -> models.Index:
    return models.Index(fields=["seen_at"], name=NAME)


@pytest.mark.parametrize(
    ("operation", "atomic", "is_slip"),
    [
        (AddIndex("heartbeat", index()), True, True),
        (AddIndex("heartbeat", index()), False, True),
        (AddIndexOnline("heartbeat", index()), True, True),
        (AddIndexOnline("heartbeat", index()), False, False),
    ],
)
def test_a_migration_that_locks_is_found(operation: AddIndex, atomic: bool, is_slip: bool) -> None:
    facts = {"operations": [operation], "atomic": atomic}
    migration = type("Migration", (Migration,), facts)("0099_faster", "invoices")
    assert bool(slips(migration)) == is_slip


class Adding:
    """The operation between the two states of the project."""

    def __init__(self) -> None:
        self.operation = AddIndexOnline("heartbeat", index())
        self.before: ProjectState = MigrationLoader(connection).project_state()
        self.after = self.before.clone()
        self.operation.state_forwards("invoices", self.after)

    def forwards(self) -> None:
        with connection.schema_editor(atomic=False) as editor:
            self.operation.database_forwards("invoices", editor, self.before, self.after)

    def backwards(self) -> None:
        with connection.schema_editor(atomic=False) as editor:
            self.operation.database_backwards("invoices", editor, self.after, self.before)


@pytest.fixture
def adding(django_db_serialized_rollback: None, transactional_db: None) -> Iterator[Adding]:
    made = Adding()
    yield made
    if NAME in indexes():
        made.backwards()


def indexes() -> set[str]:
    with connection.cursor() as cursor:
        return set(connection.introspection.get_constraints(cursor, "invoices_heartbeat"))


def test_it_adds_the_index_and_takes_it_away(adding: Adding) -> None:
    adding.forwards()
    assert NAME in indexes()
    adding.backwards()
    assert NAME not in indexes()


@on_postgresql
def test_nobody_is_locked_out_meanwhile(adding: Adding) -> None:
    with CaptureQueriesContext(connection) as made:
        adding.forwards()
        adding.backwards()
    statements = [one["sql"] for one in made if NAME in one["sql"] and "INDEX" in one["sql"]]
    assert [one.split(NAME)[0].strip(' "') for one in statements if "pg_index" not in one] == [
        "CREATE INDEX CONCURRENTLY",
        "DROP INDEX CONCURRENTLY IF EXISTS",
    ]


@on_postgresql
def test_what_an_interrupted_try_left_is_replaced(adding: Adding) -> None:
    adding.forwards()
    with connection.cursor() as cursor:
        spoil = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass(%s)"
        cursor.execute(spoil, [NAME])
        adding.forwards()
        cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [NAME])
        assert cursor.fetchone() == (True,)


@on_postgresql
def test_within_a_transaction_it_refuses(adding: Adding) -> None:
    with pytest.raises(NotSupportedError, match="atomic = False"), transaction.atomic():
        adding.forwards()


def leads(model: type[models.Model], name: str) -> bool:
    """Whether an index over the whole table begins with this column."""
    field = model._meta.get_field(name)
    return (
        getattr(field, "db_index", False)
        or getattr(field, "unique", False)
        or any(one.fields[:1] == [name] and not one.condition for one in model._meta.indexes)
    )


def test_what_hangs_on_a_draft_is_found_by_index() -> None:
    # A large preview is discarded row by row: without these, each row reads whole tables.
    children = [
        (one.related_model, one.field.name) for one in CancellationAttempt._meta.related_objects
    ]
    assert len(children) >= 3
    assert [(model, name) for model, name in children if not leads(model, name)] == []
