"""Tampering at random: all of it is found, and the first row named.

AUDIT_TAMPERINGS sets how many, AUDIT_SEED from where.
"""
# Every name in these statements is ours.
# ruff: noqa: S608

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, transaction

from invoices.audit import guard, keys, records, sealing
from invoices.audit.findings import LAST, Report
from invoices.audit.layouts import LAYOUTS
from invoices.audit.sealing import one_round
from invoices.audit.verifying import verify
from invoices.models import CancellationAttempt, Checkpoint, HistoryEvent, Seal
from tests.audit.evidence import a_call, a_purge, a_step, an_attempt

pytestmark = pytest.mark.django_db

CASES = int(os.environ.get("AUDIT_TAMPERINGS") or 250)
SEED = int(os.environ.get("AUDIT_SEED") or random.randrange(10_000))
MODELS = {model._meta.db_table: model for model in apps.get_models()}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> int:
    """Some forty rows under three checkpoints, the triggers away; how many seals there are."""
    attempt = an_attempt()
    for number in range(6):
        a_call(attempt, number)
        a_step(attempt, "queued", detail=f"step {number}", code="again")
        if number % 2:
            sum(one_round())
    a_purge()
    sum(one_round())
    connection.check_constraints()
    guard.remove(connection)
    monkeypatch.setattr(guard, "missing", lambda _: [])
    return Seal.objects.count()


@contextmanager
def undone() -> Iterator[None]:
    """Whatever is done within is taken back."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def sql(statement: str, *values: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)


def a_seal(choose: random.Random) -> Seal:
    return Seal.objects.get(number=choose.randint(1, Seal.objects.count()))


def where(seal: Seal) -> tuple[str, str, Any]:
    """Table, key's column and key of what is sealed, as SQL takes it."""
    layout = LAYOUTS[seal.layout]
    return (
        layout.table,
        layout.key,
        seal.key if layout.columns[layout.key] == "u" else int(seal.key),
    )


# --- each returns the number that must be named first ---------------------------------------------


def edit_a_row(choose: random.Random) -> int:
    seal = a_seal(choose)
    table, key, value = where(seal)
    field = choose.choice(list(MODELS[table]._meta.concrete_fields))
    change = _another(field, choose)
    assert sql(f"UPDATE {table} SET {field.column} = {change} WHERE {key} = %s", value) == 1
    return seal.number


def _another(field: Any, choose: random.Random) -> str:
    name, kind = f'"{field.column}"', field.get_internal_type()
    if field.null and choose.random() < 0.3:
        return f"CASE WHEN {name} IS NULL THEN {_value(field, kind)} END"
    if kind == "DateTimeField":
        step = choose.choice(["1 day", "1 second", "0.000001 seconds"])
        if connection.vendor == "postgresql":
            return f"{name} - interval '{step}'"
        return f"strftime('%%Y-%%m-%%d %%H:%%M:%%f', {name}, '-1 second')"
    if kind == "BooleanField":
        return f"NOT {name}"
    if kind == "BinaryField":
        flipped = f"{name} || {_octets(choose.randbytes(1))}"
        return choose.choice([flipped, _octets(choose.randbytes(5)), _octets(b"")])
    if "Integer" in kind or kind in ("ForeignKey", "BigAutoField"):
        if field.related_model and kind == "ForeignKey" and "UUID" in _target(field):
            return _uuid(choose)
        return f"coalesce({name}, 0) + {choose.randint(1, 9) + 10_000 * field.primary_key}"
    if kind in ("UUIDField", "OneToOneField"):
        return _uuid(choose)
    same_length = f"CASE WHEN {name} = '' THEN '~' ELSE substr({name}, 2) || '~' END"
    return choose.choice([same_length, "'another'"])


def _target(field: Any) -> str:
    return str(field.target_field.get_internal_type())


def _value(field: Any, kind: str) -> str:
    return "7" if "Integer" in kind or kind == "ForeignKey" else "'x'"


def _octets(value: bytes) -> str:
    return (
        f"'\\x{value.hex()}'::bytea" if connection.vendor == "postgresql" else f"x'{value.hex()}'"
    )


def _uuid(choose: random.Random) -> str:
    return f"'{choose.randbytes(16).hex()}'"


def remove_a_row(choose: random.Random) -> int:
    seal = a_seal(choose)
    table, key, value = where(seal)
    assert sql(f"DELETE FROM {table} WHERE {key} = %s", value) == 1
    return seal.number


def remove_a_seal(choose: random.Random) -> int:
    seal = a_seal(choose)
    sql("DELETE FROM invoices_seal WHERE number = %s", seal.number)
    return seal.number


def remove_both(choose: random.Random) -> int:
    seal = a_seal(choose)
    table, key, value = where(seal)
    sql(f"DELETE FROM {table} WHERE {key} = %s", value)
    sql("DELETE FROM invoices_seal WHERE number = %s", seal.number)
    return seal.number


def edit_a_seal(choose: random.Random) -> int:
    seal = a_seal(choose)
    change = choose.choice(
        [
            f"digest = {_octets(choose.randbytes(32))}",
            f"digest = {_octets(b'')}",
            f"number = number + {choose.randint(1000, 10**12)}",
            f"key = '{choose.randint(10**6, 10**9)}'",
            f"key = '{choose.randbytes(16).hex()}'",
            "key = 'no key'",
            "layout = 99",
        ]
    )
    sql(f"UPDATE invoices_seal SET {change} WHERE number = %s", seal.number)
    return seal.number


def swap_two_seals(choose: random.Random) -> int:
    low, high = sorted(choose.sample(range(1, Seal.objects.count() + 1), 2))
    for was, now in ((low, -1), (high, low), (-1, high)):
        sql("UPDATE invoices_seal SET number = %s WHERE number = %s", now, was)
    return low


def swap_two_digests(choose: random.Random) -> int:
    low, high = sorted(choose.sample(range(1, Seal.objects.count() + 1), 2))
    digests = {one.number: bytes(one.digest) for one in Seal.objects.filter(number__in=(low, high))}
    for number, other in ((low, high), (high, low)):
        sql("UPDATE invoices_seal SET digest = %s WHERE number = %s", digests[other], number)
    return low


def swap_two_rows(choose: random.Random) -> int:
    """The contents of two events, their keys apart."""
    one, other = choose.sample(list(HistoryEvent.objects.filter(detail__startswith="step")), 2)
    for target, source in ((one, other), (other, one)):
        sql("UPDATE invoices_historyevent SET detail = %s WHERE id = %s", source.detail, target.pk)
    numbers = Seal.objects.filter(layout=1, key__in=[str(one.pk), str(other.pk)])
    return int(min(numbers.values_list("number", flat=True)))


def close_a_gap(choose: random.Random) -> int:
    """A row and its seal taken out, and all later seals moved up."""
    number = remove_both(choose)
    last = Seal.objects.count() + 1
    for later in range(number + 1, last + 1):
        sql("UPDATE invoices_seal SET number = %s WHERE number = %s", later - 1, later)
    return number


def cut_the_tail(choose: random.Random) -> int:
    first = choose.randint(1, Seal.objects.count())
    for seal in Seal.objects.filter(number__gte=first):
        table, key, value = where(seal)
        if choose.random() < 0.9:
            sql(f"DELETE FROM {table} WHERE {key} = %s", value)
    sql("DELETE FROM invoices_seal WHERE number >= %s", first)
    return first


def slip_a_row_in(choose: random.Random) -> int:
    attempt = CancellationAttempt.objects.get()
    at = records.now() - sealing.MARGIN - timedelta(seconds=choose.randint(60, 10**8))
    if choose.random() < 0.5:
        a_step(attempt, "queued", at=at)
    else:
        a_call(attempt, choose.randint(0, 9), at=at)
    return LAST


def slip_a_seal_in(choose: random.Random) -> int:
    last = Seal.objects.count()
    event = a_step(CancellationAttempt.objects.get(), "queued")
    key = choose.choice([str(event.pk), "123456", choose.randbytes(16).hex()])
    Seal.objects.create(number=last + 1, layout=1, key=key, digest=choose.randbytes(32))
    return last + 1


def edit_a_checkpoint(choose: random.Random) -> int:
    number = choose.randint(1, Checkpoint.objects.count())
    change = choose.choice(
        [
            f"count = count + {choose.choice([-1, 1, 5])}",
            f"root = {_octets(choose.randbytes(32))}",
            f"previous = {_octets(choose.randbytes(32))}",
            f"signature = {_octets(choose.randbytes(64))}",
            "key_id = '0123456789abcdef'",
            "made_at = '2025-01-01 00:00:00+00'",
            f"number = number + {choose.randint(50, 99)}",
        ]
    )
    sql(f"UPDATE invoices_checkpoint SET {change} WHERE number = %s", number)
    return LAST


def remove_a_checkpoint(choose: random.Random) -> int:
    # Of the last ones only the file knows.
    number = choose.randint(1, Checkpoint.objects.count() - 1)
    sql("DELETE FROM invoices_checkpoint WHERE number = %s", number)
    return LAST


def edit_a_state(choose: random.Random) -> int:
    state = choose.choice(["refused", "skipped", "withdrawn", "failed", "already_cancelled"])
    sql("UPDATE invoices_cancellationattempt SET state = %s", state)
    return LAST


TAMPERINGS: list[Callable[[random.Random], int]] = [
    *([edit_a_row] * 6),
    remove_a_row,
    remove_a_seal,
    remove_both,
    edit_a_seal,
    swap_two_seals,
    swap_two_digests,
    swap_two_rows,
    close_a_gap,
    cut_the_tail,
    slip_a_row_in,
    slip_a_seal_in,
    edit_a_checkpoint,
    remove_a_checkpoint,
    edit_a_state,
]


def verified() -> Report:
    return verify(keys.public_keys())


def test_whatever_is_done_is_found_and_the_first_row_named(world: int) -> None:
    assert verified().is_well
    for case in range(SEED, SEED + CASES):
        choose = random.Random(case)
        tamper = choose.choice(TAMPERINGS)
        again = f"AUDIT_SEED={case} AUDIT_TAMPERINGS=1: {tamper.__name__}"
        with undone():
            number = tamper(choose)
            report = verified()
            assert not report.is_well, again
            assert report.first.number == number, (again, report.told())
    assert verified().is_well
