"""Nobody changes or deletes what is on record, by whatever way they come."""
# Every name in these statements is ours.
# ruff: noqa: S608

from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, models, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from invoices.audit import guard
from invoices.audit.doorway import empty_bodies, open_for_emptying
from invoices.models import (
    BodyPurge,
    CallSubject,
    Checkpoint,
    HistoryEvent,
    ProviderRequest,
    ProviderResponse,
    Seal,
    SealTile,
)
from invoices.models.evidence import EvidenceIsFinal, InsertOnly
from tests.audit.evidence import a_call, a_purge, an_attempt

pytestmark = pytest.mark.django_db

TABLES: dict[str, type[models.Model]] = {
    model._meta.db_table: model
    for model in (
        HistoryEvent,
        ProviderRequest,
        ProviderResponse,
        CallSubject,
        BodyPurge,
        Seal,
        SealTile,
        Checkpoint,
    )
}
HARMLESS: dict[str, tuple[str, str | bytes | None]] = {
    "invoices_historyevent": ("detail", "changed"),
    "invoices_providerrequest": ("url", "changed"),
    "invoices_providerresponse": ("detail", "changed"),
    "invoices_callsubject": ("attempt", None),
    "invoices_bodypurge": ("export_sha256", "changed"),
    "invoices_seal": ("key", "changed"),
    "invoices_sealtile": ("root", b"changed"),
    "invoices_checkpoint": ("key_id", "changed"),
}
"""A field of each table that nothing but the triggers protects, and another value for it."""


def sql(statement: str, *values: bytes) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def columns(table: str) -> list[str]:
    return [str(field.column) for field in TABLES[table]._meta.concrete_fields]


def rows(table: str) -> Any:
    """A manager that refuses nothing by itself."""
    return TABLES[table]._base_manager


def field(table: str) -> str:
    return HARMLESS[table][0]


def assignment(table: str) -> str:
    name, value = HARMLESS[table]
    return f"{name}_id = NULL" if value is None else f"{name} = 'changed'"


def changed(table: str) -> models.Model:
    row: models.Model = rows(table).first()
    setattr(row, *HARMLESS[table])
    return row


def key(table: str) -> str:
    primary = TABLES[table]._meta.pk
    return str(primary.column)


ORM: dict[str, Callable[[str], object]] = {
    "save": lambda table: models.Model.save_base(changed(table)),
    "save some": lambda table: models.Model.save_base(
        changed(table), force_update=True, update_fields=[field(table)]
    ),
    "update": lambda table: rows(table).update(**dict([HARMLESS[table]])),
    "bulk update": lambda table: rows(table).bulk_update([changed(table)], [field(table)]),
    "upsert": lambda table: rows(table).bulk_create(
        [changed(table)],
        update_conflicts=True,
        unique_fields=[TABLES[table]._meta.pk.name],
        update_fields=[field(table)],
    ),
    "delete": lambda table: rows(table).all().delete(),
    "delete one": lambda table: models.Model.delete(rows(table).first()),
    "raw delete": lambda table: rows(table).all()._raw_delete("default"),
}
SQL: dict[str, Callable[[str], object]] = {
    "UPDATE": lambda table: sql(f"UPDATE {table} SET {assignment(table)}"),
    "UPDATE to the same": lambda table: sql(f"UPDATE {table} SET {key(table)} = {key(table)}"),
    "DELETE": lambda table: sql(f"DELETE FROM {table}"),
    "DELETE one": lambda table: sql(
        f"DELETE FROM {table} WHERE {key(table)} IN (SELECT {key(table)} FROM {table} LIMIT 1)"
    ),
    "upsert": lambda table: sql(
        f"INSERT INTO {table} ({', '.join(columns(table))})"
        f" SELECT {', '.join(columns(table))} FROM {table} WHERE true"
        f" ON CONFLICT ({key(table)}) DO UPDATE SET {assignment(table)}"
    ),
}
SQLITE: dict[str, Callable[[str], object]] = {
    "REPLACE": lambda table: sql(f"REPLACE INTO {table} SELECT * FROM {table} LIMIT 1"),
    "INSERT OR REPLACE": lambda table: sql(
        f"INSERT OR REPLACE INTO {table} SELECT * FROM {table} LIMIT 1"
    ),
    "REPLACE by the hidden key": lambda table: sql(
        f"REPLACE INTO {table} (rowid, {', '.join(columns(table))})"
        f" SELECT rowid, {', '.join(_with_another_key(table))} FROM {table} LIMIT 1"
    ),
    "UPDATE OR REPLACE": lambda table: sql(
        f"UPDATE OR REPLACE {table} SET {key(table)} = {key(table)}"
    ),
}
POSTGRESQL: dict[str, Callable[[str], object]] = {
    "TRUNCATE": lambda table: sql(f"TRUNCATE {table} CASCADE"),
    "TRUNCATE what it points to": lambda table: sql("TRUNCATE providers_provideraccount CASCADE"),
    "as a replica": lambda table: sql(
        f"SET LOCAL session_replication_role = replica; DELETE FROM {table}"
    ),
    "DELETE through the doorway": lambda table: sql(
        f"SET LOCAL {guard.SETTING} = 'on'; DELETE FROM {table}"
    ),
}
OF_VENDOR = {"sqlite": SQLITE, "postgresql": POSTGRESQL}
ATTACKS = ORM | {f"SQL {name}": how for name, how in (SQL | OF_VENDOR[connection.vendor]).items()}


def _with_another_key(table: str) -> list[str]:
    """The row's own rowid with a new key; where the key is the rowid there is no difference."""
    other = "'ffffffffffffffffffffffffffffffff'"
    own = isinstance(TABLES[table]._meta.pk, models.BigIntegerField)
    return [other if name == key(table) and not own else name for name in columns(table)]


@pytest.fixture(autouse=True)
def _record() -> None:
    a_call(an_attempt())
    a_purge()
    Seal.objects.create(number=1, layout=1, key="1", digest=bytes(32))
    SealTile.objects.create(number=0, root=bytes(32))
    Checkpoint.objects.create(
        number=1,
        count=1,
        root=bytes(32),
        previous=bytes(32),
        made_at=timezone.now(),
        key_id="0" * 16,
        signature=bytes(64),
    )
    # What is still to be checked at the end would make TRUNCATE fail for another reason.
    connection.check_constraints()


def content() -> dict[str, list[Any]]:
    return {table: list(rows(table).order_by("pk").values()) for table in TABLES}


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_way_to_change_or_delete_is_refused(attack: str) -> None:
    before = content()
    refusal = f"{guard.REFUSAL}|protected foreign keys"
    for table in TABLES:
        with pytest.raises(IntegrityError, match=refusal), transaction.atomic():
            ATTACKS[attack](table)
    assert content() == before


@pytest.mark.parametrize("attack", ATTACKS)
def test_it_is_the_triggers_that_refuse(attack: str) -> None:
    """Without them each of these attacks goes through."""
    guard.remove(connection)
    for table in TABLES:
        try:
            with transaction.atomic():
                ATTACKS[attack](table)
                transaction.set_rollback(True)
        except models.ProtectedError:
            assert "delete" in attack


@pytest.mark.parametrize("model", TABLES.values())
def test_the_usual_methods_refuse_before_the_database_does(model: Any) -> None:
    row = model.objects.first()
    for attack in (
        row.save,
        row.delete,
        model.objects.all().delete,
        lambda: model.objects.update(pk=1),
        lambda: model.objects.bulk_update([row], ["pk"]),
    ):
        with pytest.raises(EvidenceIsFinal):
            attack()


def test_no_page_of_the_admin_changes_the_record(client: Client) -> None:
    client.force_login(User.objects.create_superuser("root"))
    before = {table: found for table, found in content().items() if "event" not in table}
    kept = set(HistoryEvent.objects.values_list("pk", "detail", "to_state"))
    for model in (HistoryEvent, ProviderRequest):
        name, pk = f"admin:invoices_{model._meta.model_name}", model.objects.latest("pk").pk
        for address in (
            reverse(f"{name}_change", args=[pk]),
            f"/admin/invoices/{model._meta.model_name}/{pk}/delete/",
            f"/admin/invoices/{model._meta.model_name}/add/",
        ):
            posted = {"detail": "changed", "url": "changed", "post": "yes", "_save": "1"}
            assert client.post(address, posted).status_code in (403, 404), address
        chosen = {"action": "delete_selected", "_selected_action": str(pk), "post": "yes"}
        client.post(reverse(f"{name}_changelist"), chosen)
    assert {table: found for table, found in content().items() if "event" not in table} == before
    assert kept <= set(HistoryEvent.objects.values_list("pk", "detail", "to_state"))


# --- the doorway --------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [ProviderRequest, ProviderResponse])
def test_bodies_are_emptied_through_the_doorway_and_nothing_else(model: Any) -> None:
    row = model.objects.first()
    with pytest.raises(IntegrityError), transaction.atomic():
        empty_bodies(model, [row.pk])
    with open_for_emptying():
        assert empty_bodies(model, [row.pk]) == 1
    after = model.objects.get(pk=row.pk)
    assert bytes(after.body) == b""
    for field in model._meta.concrete_fields:
        if field.name != "body":
            assert getattr(after, field.attname) == getattr(row, field.attname)
    with pytest.raises(IntegrityError), transaction.atomic():
        empty_bodies(model, [row.pk])


@pytest.mark.parametrize("model", [ProviderRequest, ProviderResponse])
def test_through_the_doorway_no_column_but_the_body_changes(model: Any) -> None:
    for field in model._meta.concrete_fields:
        if field.name == "body":
            continue
        change = f"UPDATE {model._meta.db_table} SET body = %s, {field.column} = {_another(field)}"
        with pytest.raises(IntegrityError, match=guard.REFUSAL), open_for_emptying():
            sql(change, b"")
    with pytest.raises(IntegrityError, match=guard.REFUSAL), open_for_emptying():
        model._base_manager.update(body=b"another")


def _another(field: Any) -> str:
    """SQL for a value of the column that differs from the one it has."""
    kind = field.get_internal_type()
    if kind in ("UUIDField", "OneToOneField"):
        return "'00000000000070008000000000000000'"
    if "Integer" in kind or kind == "ForeignKey":
        return f"{field.column} + 1"
    others = {"BooleanField": f"NOT {field.column}", "DateTimeField": "CURRENT_TIMESTAMP"}
    return others.get(kind, "'another'")


@pytest.mark.parametrize("attack", [SQL["DELETE"], ORM["raw delete"], SQL["UPDATE"]])
def test_through_the_doorway_nothing_is_deleted(attack: Callable[[str], object]) -> None:
    for table in TABLES:
        with pytest.raises(IntegrityError, match=guard.REFUSAL), open_for_emptying():
            attack(table)


def test_the_doorway_is_closed_after_an_error() -> None:
    with pytest.raises(KeyError), open_for_emptying():
        raise KeyError
    with pytest.raises(IntegrityError), transaction.atomic():
        empty_bodies(ProviderRequest, [ProviderRequest.objects.get().pk])


# --- that the triggers are there ----------------------------------------------------------------


def test_every_final_table_has_its_triggers_after_the_last_migration() -> None:
    """Fails when a migration altered one of these tables and `protect` did not follow."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE name LIKE '%%_refused'")
            there = dict(cursor.fetchall())
            wanted: dict[Any, str] = {}
            for table in guard.FINAL:
                wanted |= guard.sqlite_triggers(connection, table)
            assert there == wanted
        else:
            cursor.execute(
                "SELECT tgrelid::regclass::text, tgname, tgenabled, pg_get_triggerdef(oid)"
                " FROM pg_trigger WHERE tgname LIKE 'annul_%%'"
            )
            found = {(table, name): rest for table, name, *rest in cursor.fetchall()}
            wanted_names = {
                (table, name) for table in guard.FINAL for name in guard.postgresql_triggers(table)
            }
            assert set(found) == wanted_names
            assert {enabled for enabled, _ in found.values()} == {"A"}


def test_every_final_model_is_guarded() -> None:
    final = (model for model in apps.get_models() if issubclass(model, InsertOnly))
    assert {model._meta.db_table for model in final} == set(guard.FINAL)
