"""Whatever is done to the record behind Annul's back is found, and nothing else is."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from invoices.audit import checkpoints as made
from invoices.audit import guard, keys, records, sealing
from invoices.audit.doorway import empty_bodies, open_for_emptying
from invoices.audit.findings import Kind, Report
from invoices.audit.layouts import EVENT
from invoices.audit.sealing import one_round
from invoices.audit.verifying import verify
from invoices.models import (
    CancellationAttempt,
    Checkpoint,
    HistoryEvent,
    ProviderRequest,
    ProviderResponse,
    Seal,
    SealTile,
)
from tests.audit.evidence import a_call, a_purge, a_record, a_step, an_attempt
from tests.unguarded import unguarded

pytestmark = pytest.mark.django_db


def seal() -> None:
    for _ in one_round():
        pass


def verified(file: Path | None = None) -> Report:
    return verify(keys.public_keys(), file)


def first(file: Path | None = None) -> tuple[Kind, str, int]:
    report = verified(file)
    assert not report.is_well
    return report.first.kind, report.first.sentence, report.first.number


def sql(statement: str, *values: Any) -> None:
    with unguarded(), connection.cursor() as cursor:
        cursor.execute(statement, values)


@pytest.fixture
def attempt() -> CancellationAttempt:
    """Three calls and six events, in two checkpoints, and a purge."""
    made_attempt = a_record()
    seal()
    a_step(made_attempt, "queued", detail="later")
    seal()
    return made_attempt


# --- all is well ----------------------------------------------------------------------------------


def test_an_untouched_record_is_well(attempt: CancellationAttempt, checkpoints: Path) -> None:
    report = verified(checkpoints)
    assert report.is_well, report.told()
    assert report.sealed == Seal.objects.count() == sum(report.rows.values())
    assert (report.checkpoints, report.lines, report.bodies) == (2, 2, 6)
    assert (report.waiting, report.after_checkpoint, report.attempts) == (0, 0, 1)
    assert report.told()[-1] == "All is well."


def test_an_empty_record_is_well() -> None:
    assert verified().is_well
    seal()
    assert verified().is_well


def test_rows_that_wait_for_their_seal_are_counted_and_no_alarm(
    attempt: CancellationAttempt,
) -> None:
    a_call(attempt, 9)
    a_step(attempt, "queued")
    report = verified()
    assert report.is_well, report.told()
    assert report.waiting == 4


def test_rows_whose_sealing_was_cut_short_are_no_alarm(attempt: CancellationAttempt) -> None:
    a_call(attempt, 9)
    next(one_round())
    report = verified()
    assert report.is_well, report.told()
    assert (report.after_checkpoint, report.waiting) == (2, 1) or report.after_checkpoint > 0


def test_bodies_that_were_purged_on_record_are_well_and_others_are_not(
    attempt: CancellationAttempt,
) -> None:
    long_ago = timezone.now() - timedelta(days=900)
    with open_for_emptying():
        a_purge(long_ago, timezone.now() - timedelta(days=1))
        a_purge(timezone.now() - timedelta(hours=1), timezone.now() + timedelta(hours=1))
        empty_bodies(ProviderRequest, list(ProviderRequest.objects.values_list("pk", flat=True)))
        empty_bodies(ProviderResponse, list(ProviderResponse.objects.values_list("pk", flat=True)))
    seal()
    report = verified()
    assert report.is_well, report.told()
    assert (report.bodies, report.purged, report.purges) == (0, 6, 3)
    sql("DELETE FROM invoices_bodypurge WHERE until > CURRENT_TIMESTAMP")
    kinds = {one.kind for one in verified().findings}
    assert kinds == {Kind.REMOVED, Kind.BODY}


# --- rows -----------------------------------------------------------------------------------------


def test_an_edited_row_is_named(attempt: CancellationAttempt, checkpoints: Path) -> None:
    event = HistoryEvent.objects.order_by("pk")[2]
    number = Seal.objects.get(layout=1, key=str(event.pk)).number
    sql("UPDATE invoices_historyevent SET detail = 'x' WHERE id = %s", event.pk)
    kind, sentence, where = first(checkpoints)
    assert (kind, where) == (Kind.EDITED, number)
    assert f"history_event {event.pk} (seal {number})" in sentence
    assert verified(checkpoints).found == 1


def test_a_removed_row_is_named(attempt: CancellationAttempt) -> None:
    event = HistoryEvent.objects.order_by("pk")[1]
    number = Seal.objects.get(layout=1, key=str(event.pk)).number
    sql("DELETE FROM invoices_historyevent WHERE id = %s", event.pk)
    assert first() == (
        Kind.REMOVED,
        f"history_event {event.pk} (seal {number}) was removed.",
        number,
    )


def test_a_row_removed_with_its_seal_leaves_a_gap(attempt: CancellationAttempt) -> None:
    given = Seal.objects.get(number=3)
    sql("DELETE FROM invoices_historyevent WHERE id = %s", int(given.key))
    sql("DELETE FROM invoices_seal WHERE number = 3")
    report = verified()
    assert report.first.kind is Kind.REMOVED
    assert (report.first.number, report.found) == (3, 1)


def test_a_row_slipped_in_later_is_named(attempt: CancellationAttempt) -> None:
    late = timezone.now() - sealing.MARGIN - timedelta(minutes=1)
    event = a_step(attempt, "queued", at=late)
    kind, sentence, _ = first()
    assert kind is Kind.INSERTED
    assert f"history_event {event.pk} has no seal" in sentence


def test_a_changed_body_is_named(attempt: CancellationAttempt) -> None:
    response = ProviderResponse.objects.latest("received_at")
    sql(
        "UPDATE invoices_providerresponse SET body = %s WHERE request_id = %s",
        b"another",
        str(response.pk) if connection.vendor == "postgresql" else response.pk.hex,
    )
    kind, sentence, _ = first()
    assert kind is Kind.BODY
    assert response.pk.hex in sentence


def test_two_seals_that_changed_places_are_reordered(attempt: CancellationAttempt) -> None:
    for was, now in ((2, -2), (4, 2), (-2, 4)):
        sql("UPDATE invoices_seal SET number = %s WHERE number = %s", now, was)
    assert first() == (Kind.REORDERED, "Seal 2 was number 4: the order was changed.", 2)


def test_numbers_moved_up_over_a_gap_are_reordered(attempt: CancellationAttempt) -> None:
    sql("DELETE FROM invoices_seal WHERE number = 5")
    for number in range(6, Seal.objects.count() + 2):
        sql("UPDATE invoices_seal SET number = %s WHERE number = %s", number - 1, number)
    kind, sentence, where = first()
    assert (kind, where) == (Kind.REORDERED, 5)
    assert "was number 6" in sentence


def test_a_cut_tail_is_found_by_the_checkpoints(attempt: CancellationAttempt) -> None:
    last = Seal.objects.latest("number")
    sql("DELETE FROM invoices_historyevent WHERE id = %s", int(last.key))
    sql("DELETE FROM invoices_seal WHERE number = %s", last.number)
    kind, sentence, where = first()
    assert (kind, where) == (Kind.REMOVED, last.number)
    assert "cut off" in sentence


def test_an_attempt_whose_state_is_not_the_last_of_its_history_is_named(
    attempt: CancellationAttempt,
) -> None:
    CancellationAttempt.objects.update(state="cancelled", evidence="answer")
    assert first()[:2] == (
        Kind.STATE,
        f"Attempt {attempt.pk} is cancelled, and its history ends with queued.",
    )


def test_a_missing_trigger_is_named() -> None:
    assert guard.missing(connection) == []
    connection.check_constraints()
    guard.remove(connection)
    assert len(guard.missing(connection)) >= 2 * len(guard.FINAL)
    assert first()[0] is Kind.TRIGGER


def test_who_has_the_seal_key_and_not_the_signing_key_is_found(
    attempt: CancellationAttempt,
) -> None:
    """A row that was edited and sealed anew: the seal is good, the checkpoint's root is not."""
    event = HistoryEvent.objects.order_by("pk")[0]
    given = Seal.objects.get(layout=1, key=str(event.pk))
    sql("UPDATE invoices_historyevent SET detail = 'x' WHERE id = %s", event.pk)
    found = records.fetch(EVENT, [given.key])[given.key]
    digest = keys.digest(keys.seal_key(), given.number, 1, given.key, found.canonical or b"")
    sql("UPDATE invoices_seal SET digest = %s WHERE number = %s", digest, given.number)
    kind, sentence, where = first()
    assert (kind, where) == (Kind.FORK, 1)
    assert "Checkpoint 1 was signed over others than seals 1 to" in sentence


# --- checkpoints ----------------------------------------------------------------------------------


def test_a_kept_tile_that_was_changed_is_named(attempt: CancellationAttempt) -> None:
    HistoryEvent.objects.bulk_create(
        HistoryEvent(kind="attempt_state", attempt=attempt, to_state="queued") for _ in range(1100)
    )
    seal()
    assert verified().is_well
    sql("UPDATE invoices_sealtile SET root = %s", bytes(32))
    assert SealTile.objects.count() == 1
    assert first()[0] is Kind.TILE


CHANGES: dict[str, tuple[str, Any]] = {
    "count": ("count = count - 1", Kind.SIGNATURE),
    "root": ("root = previous", Kind.SIGNATURE),
    "previous": ("previous = root", Kind.SIGNATURE),
    "made_at": ("made_at = '2020-01-01 00:00:00+00'", Kind.SIGNATURE),
    "key_id": ("key_id = 'another'", Kind.SIGNATURE),
    "signature": ("signature = root", Kind.SIGNATURE),
    "number": ("number = 7", Kind.CHECKPOINT),
}


@pytest.mark.parametrize("column", CHANGES)
@pytest.mark.parametrize("number", [1, 2])
def test_a_changed_checkpoint_is_named(
    attempt: CancellationAttempt, column: str, number: int
) -> None:
    change, kind = CHANGES[column]
    sql(f"UPDATE invoices_checkpoint SET {change} WHERE number = %s", number)  # noqa: S608
    report = verified()
    assert kind in {one.kind for one in report.findings} | {Kind.SIGNATURE}
    assert any("heckpoint" in one.sentence for one in report.findings)


def test_a_checkpoint_replaced_by_another_that_we_signed_breaks_the_chain(
    attempt: CancellationAttempt,
) -> None:
    before, signer = made.find(1), keys.signing_key()
    assert before is not None
    other = replace(before, made_at=before.made_at + timedelta(seconds=1), signature=b"")
    other = other.signed(signer.sign(other.message))
    assert keys.is_signed(keys.public_keys(), other.key, other.signature, other.message)
    with unguarded():
        Checkpoint._base_manager.filter(number=1).delete()
    made.store(other)
    assert first()[:2] == (Kind.FORK, "Checkpoint 2 does not follow the one before it.")


def test_a_missing_checkpoint_is_named(attempt: CancellationAttempt, checkpoints: Path) -> None:
    sql("DELETE FROM invoices_checkpoint WHERE number = 1")
    assert first()[:2] == (Kind.CHECKPOINT, "Checkpoint 1 was removed.")
    assert any("the database lacks it" in one.sentence for one in verified(checkpoints).findings)


def test_checkpoints_that_were_taken_away_altogether_are_missed(
    attempt: CancellationAttempt,
) -> None:
    sql("DELETE FROM invoices_checkpoint")
    assert first()[:2] == (Kind.CHECKPOINT, "Rows are sealed, and there is no checkpoint.")


def test_a_rollback_of_the_whole_database_is_told_by_the_file(
    attempt: CancellationAttempt, checkpoints: Path
) -> None:
    sealed = Seal.objects.count()
    for number in range(3):
        a_step(attempt, "queued", detail=f"taken back {number}")
    seal()
    _roll_back_to(2, sealed)
    assert verified().is_well
    kind, sentence, where = first(checkpoints)
    assert (kind, where) == (Kind.ROLLBACK, sealed + 1)
    assert f"after row {sealed}" in sentence


def test_a_history_that_went_on_from_an_older_state_is_a_fork(
    attempt: CancellationAttempt, checkpoints: Path
) -> None:
    sealed = Seal.objects.count()
    a_step(attempt, "queued", detail="taken back")
    seal()
    kept = checkpoints.read_text()
    _roll_back_to(2, sealed)
    a_step(attempt, "queued", detail="another story")
    seal()
    assert verified().is_well
    assert checkpoints.read_text() == kept
    kind, sentence, where = first(checkpoints)
    assert (kind, where) == (Kind.FORK, sealed + 1)
    assert "holds another one" in sentence


def _roll_back_to(checkpoint: int, sealed: int) -> None:
    for one in Seal.objects.filter(number__gt=sealed):
        sql("DELETE FROM invoices_historyevent WHERE id = %s", int(one.key))
    sql("DELETE FROM invoices_seal WHERE number > %s", sealed)
    sql("DELETE FROM invoices_checkpoint WHERE number > %s", checkpoint)


def test_a_history_signed_by_somebody_else_is_found(
    attempt: CancellationAttempt, settings: Settings, checkpoints: Path
) -> None:
    good = keys.public_keys()
    sql("DELETE FROM invoices_checkpoint")
    settings.AUDIT_SIGNING_KEY = "YW5vdGhlciBzaWduaW5nIGtleSBvbmx5IHRlc3RzLi4="
    a_step(attempt, "queued")
    seal()
    report = verify(good, checkpoints)
    assert {Kind.SIGNATURE, Kind.FORK, Kind.ROLLBACK} <= {one.kind for one in report.findings}


def test_a_key_that_was_replaced_stays_good_for_what_it_signed(
    attempt: CancellationAttempt, settings: Settings
) -> None:
    before = keys.public_hex(keys.signing_key().public_key())
    settings.AUDIT_SIGNING_KEY = "YW5vdGhlciBzaWduaW5nIGtleSBvbmx5IHRlc3RzLi4="
    a_step(attempt, "queued")
    seal()
    assert first()[0] is Kind.SIGNATURE
    settings.AUDIT_FORMER_PUBLIC_KEYS = [before]
    report = verified()
    assert report.is_well, report.told()
    assert len(report.signed_by) == 2


# --- the file -------------------------------------------------------------------------------------


def _forged(line: str) -> str:
    return line.replace('"number": 2', '"number": 3')


FILES: dict[str, Callable[[list[str]], list[str]]] = {
    "a line of something else": lambda lines: [lines[0], "nonsense", lines[1]],
    "a line of another count": lambda lines: [
        lines[0].replace('"count": ', '"count": 1'),
        lines[1],
    ],
    "a checkpoint nobody signed": lambda lines: [*lines, _forged(lines[1])],
    "lines in another order": lambda lines: [lines[1], lines[0]],
}


@pytest.mark.parametrize("how", FILES)
def test_a_file_that_was_changed_is_named(
    attempt: CancellationAttempt, checkpoints: Path, how: str
) -> None:
    lines = FILES[how](checkpoints.read_text().splitlines())
    checkpoints.write_text("".join(f"{line}\n" for line in lines))
    assert Kind.FILE in {one.kind for one in verified(checkpoints).findings}


def test_a_file_with_torn_or_missing_lines_is_no_alarm(
    attempt: CancellationAttempt, checkpoints: Path
) -> None:
    one, two = checkpoints.read_text().splitlines()
    for lines in (f"{one}\n{two[:50]}\n{two}\n", f"{two}\n", f"{one}\n{two[:70]}", ""):
        checkpoints.write_text(lines)
        report = verified(checkpoints)
        assert report.is_well, report.told()


# --- the command ----------------------------------------------------------------------------------


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("verify_audit", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_says_that_all_is_well_and_puts_it_on_record(
    attempt: CancellationAttempt, checkpoints: Path
) -> None:
    told = run()
    assert "All is well." in told
    assert f"2 of them stand in {checkpoints} as well." in told
    assert keys.public_hex(keys.signing_key().public_key()) in told
    event = HistoryEvent.objects.latest("pk")
    assert (event.kind, event.code) == ("evidence_verified", "well")
    checkpoints.unlink()
    assert "a rollback of the whole database would not show" in run()


def test_the_command_fails_over_a_changed_record_and_puts_it_on_record(
    attempt: CancellationAttempt,
) -> None:
    sql("UPDATE invoices_callsubject SET attempt_id = NULL")
    out = StringIO()
    with pytest.raises(CommandError) as ended:
        call_command("verify_audit", stdout=out)
    assert ended.value.returncode == 1
    assert "First: call_subject" in out.getvalue()
    assert HistoryEvent.objects.latest("pk").code == "edited"


def test_the_command_takes_a_file_and_a_key(attempt: CancellationAttempt, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="No such file"):
        run("--checkpoints", str(tmp_path / "none"))
    with pytest.raises(CommandError, match="is no public key"):
        run("--public-key", "abc")
    with pytest.raises(CommandError, match="not as it was sealed"):
        run("--public-key", keys.public_hex(Ed25519PrivateKey.generate().public_key()))
    assert "All is well" in run("--public-key", keys.public_hex(keys.signing_key().public_key()))


def test_an_attempt_that_was_never_confirmed_needs_no_history() -> None:
    made_attempt = an_attempt()
    with unguarded():
        HistoryEvent._base_manager.all().delete()
    CancellationAttempt.objects.update(state="draft", due_at=None)
    assert verified().is_well
    CancellationAttempt.objects.update(state="refused")
    assert f"Attempt {made_attempt.pk} is refused" in first()[1]


def test_a_checkpoint_that_cannot_be_read_stops_the_next_one_and_is_named(
    attempt: CancellationAttempt,
) -> None:
    if connection.vendor == "postgresql":
        sql("UPDATE invoices_checkpoint SET made_at = 'infinity' WHERE number = 2")
    else:
        sql("UPDATE invoices_checkpoint SET made_at = 'never' WHERE number = 2")
    with pytest.raises(made.BrokenCheckpoint):
        seal()
    assert first()[:2] == (Kind.CHECKPOINT, "Checkpoint 2 was changed.")
    assert Checkpoint.objects.count() == 2


def test_a_database_without_the_record_is_named_instead_of_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection.introspection, "table_names", lambda: ["auth_user"])
    with pytest.raises(CommandError, match="DATABASE_URL names another database"):
        run()
