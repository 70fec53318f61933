"""`manage.py retain`: old bodies leave the database verified, and verification goes on to hold."""

import zipfile
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from invoices import retention
from invoices.audit import keys
from invoices.audit.doorway import empty_bodies, open_for_emptying
from invoices.audit.findings import Kind
from invoices.audit.sealing import one_round
from invoices.audit.verifying import verify
from invoices.models import (
    BodyPurge,
    CancellationAttempt,
    HistoryEvent,
    ProviderRequest,
    ProviderResponse,
)
from invoices.packs import exporting
from tests.audit.evidence import a_call, an_attempt
from tests.packs.test_verified import content, download, run
from tests.pages.scenes import CALLS, login, text

pytestmark = pytest.mark.django_db

OLD = timezone.make_aware(datetime(2020, 3, 15, 12))
OLDER = timezone.make_aware(datetime(2020, 1, 31, 23, 59))


def retain(*given: str, **options: Any) -> str:
    said = StringIO()
    call_command("retain", *given, stdout=said, **options)
    return said.getvalue()


def bodies() -> int:
    return sum(one.objects.exclude(body=b"").count() for one in (ProviderRequest, ProviderResponse))


@pytest.fixture
def made() -> CancellationAttempt:
    """Calls of two old months and of now, all of them sealed."""
    attempt = an_attempt()
    for number, at in enumerate((OLD, OLD + timedelta(days=1), OLDER, timezone.now())):
        a_call(attempt, number, at=at)
    sum(one_round())
    return attempt


def test_without_yes_it_only_says_what_would_be_purged(
    made: CancellationAttempt, tmp_path: Path
) -> None:
    said = retain("--older-than", "24m", export=tmp_path)
    assert "2020-01: 2 bodies" in said
    assert "2020-03: 4 bodies" in said
    assert "dry run" in said
    assert bodies() == 8
    assert not BodyPurge.objects.exists()
    assert list(tmp_path.glob("*.zip*")) == []


def test_with_yes_old_bodies_are_exported_and_purged_and_the_record_still_verifies(
    made: CancellationAttempt, tmp_path: Path, client: Client
) -> None:
    said = retain("--older-than", "24m", "--yes", export=tmp_path)
    assert "2020-03: exported to" in said
    assert bodies() == 2
    exported = sorted(one.name for one in tmp_path.glob("*.zip*"))
    assert exported == ["evidence-2020-01.zip", "evidence-2020-03.zip"]
    held = content((tmp_path / "evidence-2020-03.zip").read_bytes())
    assert held[next(name for name in held if name.endswith("-answer.txt"))].startswith(b"\x00\xff")
    report = verify(keys.public_keys())
    assert report.is_well, report.told()
    assert (report.purged, report.purges) == (6, 2)
    purged = HistoryEvent.objects.filter(kind="evidence_purged").order_by("pk")
    assert [one.code for one in purged] == ["2020-01", "2020-03"]
    assert BodyPurge.objects.get(since__year=2020, since__month=3).export_sha256 in purged[1].detail
    assert "No bodies are as old" in retain("--older-than", "24m", "--yes", export=tmp_path)
    status, told = run(tmp_path, download(client, what="invoice", key=made.invoice_id))
    assert status == 0, told
    assert "6 bodies are not in the pack" in told


def test_a_body_that_was_emptied_without_a_purge_on_record_is_found(
    made: CancellationAttempt, client: Client
) -> None:
    call = ProviderRequest.objects.earliest("created_at")
    with open_for_emptying():
        empty_bodies(ProviderRequest, [call.pk])
    report = verify(keys.public_keys())
    assert [one.kind for one in report.findings] == [Kind.BODY]
    page = content(download(client, what="invoice", key=made.invoice_id))["report.html"].decode()
    assert "gone without a purge on record" in page
    assert "The record was tampered with." in page
    login(client, "auditor")
    assert "no purge is on record" in text(client, f"{CALLS}{call.pk}/payload/request/")


def test_pages_say_when_a_body_was_purged_and_what_its_digest_is(
    made: CancellationAttempt, tmp_path: Path, client: Client
) -> None:
    retain("--older-than", "24m", "--yes", export=tmp_path)
    login(client, "auditor")
    call = ProviderRequest.objects.earliest("created_at")
    page = text(client, f"{CALLS}{call.pk}/payload/request/")
    assert f"purged on {timezone.localdate():%-d %b %Y} under retention" in page
    assert call.body_sha256 in page
    assert "request.txt" not in page
    newest = ProviderRequest.objects.latest("created_at")
    assert "under retention" not in text(client, f"{CALLS}{newest.pk}/payload/request/")
    report = content(download(client, what="invoice", key=made.invoice_id))["report.html"].decode()
    assert report.count("under retention · SHA-256") == 6


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (("--older-than", "11m", "--yes"), "12 months"),
        (("--older-than", "0y"), "12 months"),
        (("--older-than", "soon"), "no age"),
        (("--older-than", "24m", "--yes"), "Name a folder"),
    ],
)
def test_what_is_too_young_or_not_understood_is_refused(
    made: CancellationAttempt, given: tuple[str, ...], why: str
) -> None:
    with pytest.raises(CommandError, match=why):
        retain(*given)
    assert bodies() == 8


def test_a_month_that_is_not_over_for_long_enough_is_left_alone(
    made: CancellationAttempt,
) -> None:
    now = timezone.make_aware(datetime(2021, 3, 31, 12))
    assert [str(one) for one in retention.due(12, now)] == ["2020-01"]
    assert [str(one) for one in retention.due(12, now + timedelta(days=1))] == [
        "2020-01",
        "2020-03",
    ]


def test_nothing_is_purged_when_the_export_does_not_verify(
    made: CancellationAttempt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = exporting.write

    def spoiled(export: Any, path: Path) -> None:
        good(export, path)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("bodies/slipped-in.txt", b"x")

    monkeypatch.setattr(retention, "write", spoiled)
    with pytest.raises(CommandError, match="does not verify"):
        retain("--older-than", "24m", "--yes", export=tmp_path)
    assert bodies() == 8
    assert not BodyPurge.objects.exists()


def test_interrupted_at_any_step_it_can_be_run_again(
    made: CancellationAttempt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for broken in ("write", "_check", "empty_bodies"):
        with monkeypatch.context() as patched:
            patched.setattr(retention, broken, _interrupted)
            with pytest.raises(KeyboardInterrupt):
                retain("--older-than", "24m", "--yes", export=tmp_path)
        assert bodies() == 8, broken
        assert not BodyPurge.objects.exists(), broken
    retain("--older-than", "24m", "--yes", export=tmp_path)
    assert bodies() == 2
    assert verify(keys.public_keys()).is_well


def _interrupted(*given: Any, **more: Any) -> None:
    raise KeyboardInterrupt


def test_an_export_by_which_something_was_purged_is_never_written_over(
    made: CancellationAttempt, tmp_path: Path
) -> None:
    retain("--older-than", "24m", "--yes", export=tmp_path)
    path = tmp_path / "evidence-2020-03.zip"
    assert retention._free(path) == tmp_path / "evidence-2020-03-2.zip"
    path.write_bytes(b"what was left by a run that was interrupted")
    assert retention._free(path) == path


def test_a_month_to_which_something_was_added_late_is_not_purged(
    made: CancellationAttempt, tmp_path: Path
) -> None:
    a_call(made, 7, at=OLD)
    with pytest.raises(CommandError, match="not sealed"):
        retain("--older-than", "24m", "--yes", export=tmp_path)
    assert ProviderRequest.objects.filter(created_at__month=3).exclude(body=b"").count() == 3
