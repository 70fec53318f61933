"""While Annul works, nothing is called tampered with, and everything gets sealed in the end."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from django.db import OperationalError, connection, connections, transaction

from invoices.audit import keys, records, sealing
from invoices.audit.layouts import newest
from invoices.audit.sealing import AnotherSealer, one_round
from invoices.audit.verifying import verify
from invoices.models import CancellationAttempt, HistoryEvent, Seal
from tests.audit.evidence import a_call, a_record, a_step, an_attempt

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

SECONDS = 4.0


@contextmanager
def meanwhile(*works: Callable[[], object]) -> Iterator[list[BaseException]]:
    """Each over and over in a thread of its own; yields what went wrong there."""
    stop, errors = threading.Event(), list[BaseException]()

    def repeat(work: Callable[[], object]) -> None:
        try:
            while not stop.is_set():
                work()
                # Otherwise the threads of SQLite's writers would starve one another.
                time.sleep(0.01)
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield errors
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def seal() -> None:
    with suppress(AnotherSealer):
        sum(one_round())


def test_nothing_is_called_tampered_with_while_rows_are_written_and_sealed(
    checkpoints: Path,
) -> None:
    attempt = a_record()
    seal()

    def write() -> None:
        with transaction.atomic():
            a_call(attempt, 1)
            a_step(attempt, "queued")

    verified = 0
    with meanwhile(write, write, seal, seal) as errors:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until or verified < 3:
            report = verify(keys.public_keys(), checkpoints)
            assert report.is_well, report.told()
            verified += 1
    assert not errors
    seal()
    report = verify(keys.public_keys(), checkpoints)
    assert report.is_well, report.told()
    assert (report.waiting, report.after_checkpoint) == (0, 0)
    rows = sum(records.count(layout.table) for layout in newest().values())
    assert report.sealed == Seal.objects.count() == rows
    assert report.checkpoints > 2


def test_a_verification_keeps_no_writer_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = a_record()
    seal()
    real, written = records.rows_of, list[float]()

    def write() -> None:
        started = time.monotonic()
        a_step(attempt, "queued")
        written.append(time.monotonic() - started)
        connections.close_all()

    def slow(page: list[records.Seal]) -> object:
        thread = threading.Thread(target=write)
        thread.start()
        thread.join(15)
        return real(page)

    monkeypatch.setattr(records, "rows_of", slow)
    report = verify(keys.public_keys())
    assert written
    assert report.is_well, report.told()
    assert report.waiting == 0


def test_a_row_that_was_committed_late_is_sealed_and_no_alarm(checkpoints: Path) -> None:
    """Its key and its time are older than those of rows that were sealed before it appeared."""
    if connection.vendor == "sqlite":
        pytest.skip("on SQLite one transaction writes at a time")
    attempt = a_record()
    written, commit = threading.Event(), threading.Event()

    def write() -> None:
        with transaction.atomic():
            a_step(attempt, "queued", detail="late")
            a_call(attempt, 7)
            written.set()
            commit.wait(30)
        connections.close_all()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert written.wait(30)
        for number in range(3):
            a_step(attempt, "queued", detail=f"early {number}")
            a_call(attempt, number)
            seal()
            assert verify(keys.public_keys(), checkpoints).is_well
    finally:
        commit.set()
        thread.join()
    late = HistoryEvent.objects.get(detail="late")
    assert late.pk < HistoryEvent.objects.get(detail="early 0").pk
    report = verify(keys.public_keys(), checkpoints)
    assert report.is_well, report.told()
    assert report.waiting == 4
    assert sum(one_round(sealing.USUAL_MARGIN)) == 4
    report = verify(keys.public_keys(), checkpoints)
    assert report.is_well, report.told()
    assert report.waiting == 0


def test_looking_only_beyond_the_last_key_would_miss_it() -> None:
    """The control: the late row's key is below one that is sealed."""
    if connection.vendor == "sqlite":
        pytest.skip("on SQLite one transaction writes at a time")
    attempt = an_attempt()
    written, commit = threading.Event(), threading.Event()

    def write() -> None:
        with transaction.atomic():
            a_step(attempt, "queued", detail="late")
            written.set()
            commit.wait(30)
        connections.close_all()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert written.wait(30)
        a_step(attempt, "queued", detail="early")
        seal()
    finally:
        commit.set()
        thread.join()
    last = max(int(one.key) for one in Seal.objects.filter(layout=1))
    unsealed = HistoryEvent.objects.exclude(pk__in=[int(one.key) for one in Seal.objects.all()])
    assert [one.detail for one in unsealed] == ["late"]
    assert not HistoryEvent.objects.filter(pk__gt=last).exists()


def test_two_sealers_at_once_leave_no_gap_and_seal_nothing_twice() -> None:
    attempt = an_attempt()
    HistoryEvent.objects.bulk_create(
        HistoryEvent(kind="attempt_state", attempt=attempt, to_state="queued") for _ in range(3000)
    )

    def eagerly() -> None:
        with suppress(AnotherSealer, OperationalError):
            sum(one_round())

    with meanwhile(eagerly, eagerly, eagerly) as errors:
        until = time.monotonic() + 60
        while Seal.objects.count() < HistoryEvent.objects.count() and time.monotonic() < until:
            time.sleep(0.05)
    assert not errors
    seal()
    numbers = list(Seal.objects.order_by("number").values_list("number", flat=True))
    assert numbers == list(range(1, HistoryEvent.objects.count() + 1))
    report = verify(keys.public_keys())
    assert report.is_well, report.told()
    assert CancellationAttempt.objects.count() == report.attempts
