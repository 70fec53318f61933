"""What is on record gets sealed, once, in time, and the checkpoints leave the database."""

import hashlib
import hmac
import itertools
import smtplib
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings as current
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from invoices.audit import checkpoints as made
from invoices.audit import keys, publishing, records, sealing
from invoices.audit.layouts import EVENT, LAYOUTS, newest
from invoices.audit.sealing import Sealer, one_round
from invoices.audit.statement import FIRST, Statement
from invoices.audit.tree import TILE, Frontier, leaf_hash, subtree
from invoices.audit.verifying import verify
from invoices.models import Checkpoint, HistoryEvent, Seal, SealerNote, SealTile
from tests.audit.evidence import a_record, a_step, an_attempt
from tests.pages.scenes import login, text
from tests.unguarded import unguarded

pytestmark = pytest.mark.django_db


def seal() -> int:
    return sum(one_round())


def numbers() -> list[int]:
    return list(Seal.objects.order_by("number").values_list("number", flat=True))


def lines(file: Path) -> list[Statement]:
    return [Statement.read(line) for line in file.read_text().splitlines()]


# --- seals --------------------------------------------------------------------------------------


def test_every_row_is_sealed_once_with_numbers_without_a_gap() -> None:
    attempt = a_record()
    rows = sum(records.count(layout.table) for layout in newest().values())
    assert seal() == rows
    assert seal() == 0
    a_step(attempt, "withdrawn")
    assert seal() == 1
    assert numbers() == list(range(1, rows + 2))
    assert set(Seal.objects.values_list("layout", flat=True)) == set(LAYOUTS)


def test_a_seal_is_what_the_format_says() -> None:
    event = a_step(an_attempt(), "sending", detail="Zürich\n", from_state="claimed")
    seal()
    event.refresh_from_db()
    given = Seal.objects.get(layout=1, key=str(event.pk))
    micros = int(event.at.timestamp() * 1_000_000 + 0.5)
    canonical = (
        "annul row history_event 1\n"
        f"id i {len(str(event.pk))} {event.pk}\n"
        f"at t 16 {micros}\n"
        "kind s 13 attempt_state\n"
        "actor_id n 0 \n"
        f"account_id i {len(str(event.account_id))} {event.account_id}\n"
        f"batch_id i {len(str(event.batch_id))} {event.batch_id}\n"
        f"attempt_id i {len(str(event.attempt_id))} {event.attempt_id}\n"
        f"invoice_id i {len(str(event.invoice_id))} {event.invoice_id}\n"
        "from_state s 7 claimed\n"
        "to_state s 7 sending\n"
        "code s 0 \n"
        "detail s 8 Zürich\n\n"
        "address s 0 \n"
    ).encode()
    master = urlsafe_b64decode(current.AUDIT_SEAL_KEY)
    own = hmac.digest(master, f"annul seal {given.number} 1 {event.pk}".encode(), "sha256")
    assert bytes(given.digest) == hmac.digest(own, canonical, "sha256")


def test_the_newest_layouts_cover_every_column_but_the_bodies() -> None:
    """Fails when a sealed table got a column: add a layout with the next version."""
    models = {model._meta.db_table: model for model in apps.get_models()}
    for table, layout in newest().items():
        columns = {field.column for field in models[table]._meta.concrete_fields}
        assert set(layout.columns) == columns - {"body"}, table
        assert layout.has_body is ("body" in columns)


def test_layouts_that_sealed_rows_stay_as_they_are() -> None:
    """A change here would make every seal of that layout look broken."""
    told = repr([(one.code, one.name, one.version, dict(one.columns)) for one in LAYOUTS.values()])
    assert hashlib.sha256(told.encode()).hexdigest()[:16] == "221ab72a013d54ff"


def test_a_row_that_appears_long_after_it_should_have_is_not_sealed() -> None:
    attempt = a_record()
    seal()
    late = timezone.now() - sealing.MARGIN - timedelta(minutes=1)
    just = timezone.now() - sealing.MARGIN + timedelta(minutes=1)
    a_step(attempt, "withdrawn", at=late)
    ours = a_step(attempt, "withdrawn", at=just)
    assert sum(one_round(sealing.USUAL_MARGIN)) == 0
    assert seal() == 1
    assert Seal.objects.latest("number").key == str(ours.pk)


def test_the_first_round_seals_what_is_older_than_any_margin() -> None:
    a_step(an_attempt(), "withdrawn", at=timezone.now() - timedelta(days=500))
    seal()
    assert Seal.objects.filter(layout=EVENT.code).count() == HistoryEvent.objects.count()


def test_a_row_with_an_impossible_value_is_left_unsealed(caplog: Any) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL refuses a value of another type")
    event = a_step(an_attempt(), "queued")
    with unguarded(), connection.cursor() as cursor:
        cursor.execute("UPDATE invoices_historyevent SET code = x'ff' WHERE id = %s", [event.pk])
    seal()
    assert not Seal.objects.filter(layout=EVENT.code, key=str(event.pk)).exists()
    assert f"history_event {event.pk} cannot be sealed" in caplog.text


def test_another_sealer_meanwhile_makes_this_one_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    a_record()
    real = sealing._sealable

    def slow(*given: Any) -> Any:
        monkeypatch.setattr(sealing, "_sealable", real)
        assert sealing._seal(*given) > 0
        return real(*given)

    monkeypatch.setattr(sealing, "_sealable", slow)
    with pytest.raises(sealing.AnotherSealer):
        seal()
    seal()
    assert numbers() == list(range(1, len(numbers()) + 1))
    assert Seal.objects.values("layout", "key").distinct().count() == len(numbers())


def test_another_sealer_that_kept_the_same_tile_makes_this_one_back_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempt = an_attempt()
    HistoryEvent.objects.bulk_create(
        HistoryEvent(kind="attempt_state", attempt=attempt, to_state="queued") for _ in range(TILE)
    )
    real = subtree

    def slow(*given: Any) -> bytes:
        monkeypatch.setattr(sealing, "subtree", real)
        sealing._keep_tiles()
        return real(*given)

    monkeypatch.setattr(sealing, "subtree", slow)
    with pytest.raises(sealing.AnotherSealer):
        seal()
    seal()
    assert SealTile.objects.count() == 1
    assert verify(keys.public_keys()).is_well


def test_a_worker_goes_on_with_a_long_round_spell_by_spell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "SPELL_SECONDS", 0.0)
    a_record()
    sealer = Sealer()
    sealer.work()
    begun = Seal.objects.count()
    assert 0 < begun < HistoryEvent.objects.count() + 9
    assert not Checkpoint.objects.exists()
    for _ in range(10):
        sealer.work()
    assert Seal.objects.count() > begun
    assert Checkpoint.objects.count() == 1


def test_a_round_that_failed_is_begun_again_when_it_is_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a_record()
    sealer = Sealer()
    with monkeypatch.context() as patch:
        patch.setattr(sealing, "_keep_tiles", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            sealer.work()
    sealer.work()
    assert not Checkpoint.objects.exists()
    monkeypatch.setattr(time, "monotonic", lambda real=time.monotonic: real() + 31)
    sealer.work()
    assert Checkpoint.objects.count() == 1


def test_what_a_round_sealed_before_it_failed_gets_into_the_next_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempt = a_record()
    seal()
    a_step(attempt, "queued")
    with monkeypatch.context() as patch:
        patch.setattr(sealing, "_make_checkpoint", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            seal()
    assert seal() == 0
    assert Checkpoint.objects.latest("number").count == Seal.objects.count()


# --- the tree and its checkpoints -----------------------------------------------------------------


def test_a_checkpoint_is_signed_and_holds_the_root_over_all_seals() -> None:
    attempt = a_record()
    seal()
    a_step(attempt, "withdrawn")
    seal()
    first, second = (one for _, one in made.stored() if one)
    frontier = Frontier()
    for digest in Seal.objects.order_by("number").values_list("digest", flat=True):
        frontier.add(leaf_hash(bytes(digest)))
    assert (second.number, second.count, second.root) == (2, frontier.size, frontier.root())
    assert (first.previous, second.previous) == (FIRST, first.digest)
    ours = keys.public_keys()
    for one in (first, second):
        assert keys.is_signed(ours, one.key, one.signature, one.message)
        assert not keys.is_signed(ours, one.key, one.signature, one.message + b" ")
        assert not keys.is_signed(ours, "another", one.signature, one.message)


def test_tiles_keep_the_roots_of_full_thousands(monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = an_attempt()
    HistoryEvent.objects.bulk_create(
        HistoryEvent(kind="attempt_state", attempt=attempt, to_state="queued", detail=str(number))
        for number in range(2 * TILE + 100)
    )
    seal()
    assert list(SealTile.objects.order_by("number").values_list("number", flat=True)) == [0, 1]
    whole = Frontier()
    digests = Seal.objects.order_by("number").values_list("digest", flat=True)
    for digest in digests:
        whole.add(leaf_hash(bytes(digest)))
    assert bytes(Checkpoint.objects.latest("number").root) == whole.root()
    reads: list[tuple[int, int]] = []
    real = records.StoredLeaves.digests

    def watched(self: records.StoredLeaves, low: int, high: int) -> Iterator[bytes]:
        reads.append((low, high))
        return real(self, low, high)

    monkeypatch.setattr(records.StoredLeaves, "digests", watched)
    a_step(attempt, "withdrawn")
    seal()
    assert all(high - low <= TILE for low, high in reads)


def test_nothing_new_makes_no_checkpoint_until_a_day_has_passed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a_record()
    seal()
    seal()
    assert Checkpoint.objects.count() == 1
    later = records.now() + sealing.IDLE
    monkeypatch.setattr(records, "now", lambda: later)
    seal()
    first, second = Checkpoint.objects.order_by("number")
    assert (first.count, bytes(first.root)) == (second.count, bytes(second.root))


# --- leaving the database -------------------------------------------------------------------------


def test_each_checkpoint_is_a_line_in_the_file(checkpoints: Path) -> None:
    attempt = a_record()
    for _ in range(3):
        a_step(attempt, "queued")
        seal()
    assert lines(checkpoints) == [one for _, one in made.stored()]


def test_what_could_not_be_written_is_remembered_and_written_later(
    checkpoints: Path, caplog: Any
) -> None:
    attempt = a_record()
    checkpoints.mkdir(parents=True)
    seal()
    a_step(attempt, "queued")
    assert seal() == 1
    note = SealerNote.objects.get()
    assert "IsADirectoryError" in note.trouble
    assert note.trouble_since is not None
    assert "could not leave" in caplog.text
    checkpoints.rmdir()
    seal()
    assert [one.number for one in lines(checkpoints)] == [1, 2]
    assert SealerNote.objects.get().trouble == ""


@pytest.mark.parametrize(("role", "told"), [("auditor", True), ("operator", False)])
def test_the_front_page_says_so_to_those_who_read_the_history(
    client: Client, checkpoints: Path, role: str, told: bool
) -> None:
    checkpoints.mkdir(parents=True)
    a_record()
    seal()
    login(client, role)
    sentence = "Checkpoints of the record cannot leave the database"
    assert (sentence in text(client, "/admin/")) is told
    checkpoints.rmdir()
    seal()
    assert sentence not in text(client, "/admin/")


def test_a_line_that_a_crash_tore_is_written_once_more(checkpoints: Path) -> None:
    attempt = a_record()
    seal()
    a_step(attempt, "queued")
    seal()
    whole = checkpoints.read_text()
    checkpoints.write_text(whole[:-40])
    publishing.publish()
    torn, again = whole.splitlines()[1][:-39], whole.splitlines()[1]
    assert checkpoints.read_text().splitlines() == [whole.splitlines()[0], torn, again]


def test_a_file_that_knows_more_than_the_database_is_left_alone(checkpoints: Path) -> None:
    attempt = a_record()
    seal()
    a_step(attempt, "queued")
    seal()
    kept = checkpoints.read_text()
    with unguarded():
        Checkpoint._base_manager.filter(number=2).delete()
    a_step(attempt, "queued")
    seal()
    assert checkpoints.read_text() == kept
    assert "knows checkpoint 2, and the database does not" in SealerNote.objects.get().trouble


def test_a_file_of_something_else_is_left_alone(checkpoints: Path) -> None:
    checkpoints.parent.mkdir(parents=True)
    checkpoints.write_text("my notes\n")
    a_record()
    seal()
    assert checkpoints.read_text() == "my notes\n"
    assert "holds something else" in SealerNote.objects.get().trouble


def test_the_newest_checkpoint_is_mailed_once_a_day(settings: Settings) -> None:
    settings.AUDIT_MAIL = ["auditor@example.com"]
    attempt = a_record()
    seal()
    a_step(attempt, "queued")
    seal()
    [sent] = mail.outbox
    assert sent.to == ["auditor@example.com"]
    first = made.find(1)
    assert first and first.line in str(sent.body)
    SealerNote.objects.update(mailed_at=timezone.now() - timedelta(days=1))
    seal()
    assert "checkpoint 2" in mail.outbox[1].subject


def test_a_mail_that_failed_is_tried_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.AUDIT_MAIL = ["auditor@example.com"]
    refusals = itertools.repeat(smtplib.SMTPServerDisconnected("gone"))

    def refuse(*_: Any, **__: Any) -> None:
        raise next(refusals)

    a_record()
    with monkeypatch.context() as patch:
        patch.setattr(publishing, "send_mail", refuse)
        seal()
    assert "SMTPServerDisconnected" in SealerNote.objects.get().trouble
    seal()
    assert len(mail.outbox) == 1
    assert SealerNote.objects.get().trouble == ""


def test_the_command_seals_and_says_so(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    a_record()
    call_command("seal")
    assert "Checkpoint 1 covers" in capsys.readouterr().out

    def busy() -> Any:
        raise sealing.AnotherSealer

    monkeypatch.setattr("invoices.management.commands.seal.one_round", busy)
    with pytest.raises(CommandError, match="Another sealer"):
        call_command("seal")
