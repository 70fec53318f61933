"""A pack that was downloaded verifies with plain Python, and not when one byte is another."""

import hashlib
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from django.http import StreamingHttpResponse
from django.test import Client

from invoices.audit import keys, verify_pack
from invoices.audit.sealing import one_round
from invoices.models import CancellationAttempt, HistoryEvent
from tests.audit.evidence import a_record
from tests.factories import UserFactory

EXPORT = "/admin/invoices/evidenceexport/export/"
pytestmark = pytest.mark.django_db


def download(client: Client, **typed: Any) -> bytes:
    """The pack that an auditor gets."""
    client.force_login(UserFactory.create(role="auditor"))
    answer = cast(StreamingHttpResponse, client.post(EXPORT, typed))
    assert answer.status_code == 200, answer
    assert answer.streaming
    return answer.getvalue()


def content(pack: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(pack)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def repacked(file: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for name, held in files.items():
            archive.writestr(name, held)
    return file


def run(folder: Path, pack: bytes, *arguments: str) -> tuple[int, str]:
    """What the verifier that came with a pack says of it, run by a Python that knows no Annul."""
    (folder / "pack.zip").write_bytes(pack)
    (folder / "verify.py").write_bytes(content(pack)["verify.py"])
    done = subprocess.run(
        [sys.executable, "-I", "verify.py", "pack.zip", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={},
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def made() -> CancellationAttempt:
    return a_record()


Asked = Callable[[CancellationAttempt], dict[str, Any]]


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        (lambda made: {"what": "batch", "key": made.batch_id}, 15),
        (lambda made: {"what": "invoice", "key": made.invoice_id}, 15),
        (lambda made: {"what": "sample", "size": 3, "seed": "spring"}, 14),
        (lambda made: {"what": "span", "from": "2001-01-01", "to": "2999-12-31"}, 15),
        (lambda made: {"what": "span", "from": "2001-01-01", "to": "2001-01-02"}, 1),
    ],
)
def test_every_kind_of_pack_verifies_off_line(
    client: Client, made: CancellationAttempt, tmp_path: Path, asked: Asked, rows: int
) -> None:
    pack = download(client, **asked(made))
    public = keys.public_hex(keys.signing_key().public_key())
    status, told = run(tmp_path, pack, "--public-key", public)
    assert status == 0, told
    assert f"{rows} rows are as they were sealed" in told
    assert "0 bodies are not in the pack" in told
    assert "All is well." in told
    held = json.loads(content(pack)["manifest.json"])
    assert (held["rows"], held["not_sealed"]["count"], held["tampered"]["count"]) == (rows, 0, 0)


def test_one_byte_of_any_file_that_is_another_is_found_and_named(
    client: Client, made: CancellationAttempt, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = content(download(client, what="batch", key=made.batch_id))
    assert verify_pack.main([str(repacked(tmp_path / "whole.zip", files))]) == 0
    capsys.readouterr()
    for name, held in files.items():
        if name == "manifest.json":
            continue
        middle = len(held) // 2
        changed = held[:middle] + bytes([held[middle] ^ 1]) + held[middle + 1 :]
        status = verify_pack.main([str(repacked(tmp_path / "x.zip", {**files, name: changed}))])
        assert status == 1
        assert name in capsys.readouterr().out


def test_a_digest_in_the_manifest_that_is_another_is_found_and_named(
    client: Client, made: CancellationAttempt, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = content(download(client, what="batch", key=made.batch_id))
    for name, digest in json.loads(files["manifest.json"])["files"].items():
        manifest = files["manifest.json"].replace(
            f'{json.dumps(name)}: "{digest}"'.encode(), f'{json.dumps(name)}: "0{digest}"'.encode()
        )
        changed = {**files, "manifest.json": manifest}
        assert verify_pack.main([str(repacked(tmp_path / "x.zip", changed))]) == 1
        assert name in capsys.readouterr().out


def test_any_value_of_any_row_that_is_another_is_found_though_the_manifest_was_made_to_fit(
    client: Client, made: CancellationAttempt, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = content(download(client, what="batch", key=made.batch_id))
    rows = [json.loads(line) for line in files["rows.jsonl"].splitlines()]
    # One of each kind is enough: each column of each.
    kinds = {row["table"]: place for place, row in enumerate(rows)}
    assert len(kinds) == 5
    tried = 0
    for place in kinds.values():
        for column in range(len(rows[place]["columns"])):
            row = json.loads(json.dumps(rows[place]))
            row["columns"][column][1:] = other(*row["columns"][column][1:])
            lines = [*rows[:place], row, *rows[place + 1 :]]
            changed = {
                **files,
                "rows.jsonl": b"".join(f"{json.dumps(x)}\n".encode() for x in lines),
            }
            digest = hashlib.sha256(changed["rows.jsonl"]).hexdigest()
            manifest = json.loads(files["manifest.json"])
            manifest["files"]["rows.jsonl"] = digest
            changed["manifest.json"] = json.dumps(manifest).encode()
            assert verify_pack.main([str(repacked(tmp_path / "x.zip", changed))]) == 1, row
            assert "NOT VERIFIED" in capsys.readouterr().out
            tried += 1
    assert tried > 30


def other(kind: str, value: Any) -> list[Any]:
    if kind == "n":
        return ["i", 1]
    if kind == "b":
        return [kind, not value]
    if kind in "it":
        return [kind, value + 1]
    return [kind, value + ("00" if kind == "x" else "x")]


def test_what_could_not_be_sealed_is_said_and_the_rest_verifies(
    client: Client,
    made: CancellationAttempt,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sum(one_round())
    late = HistoryEvent.objects.create(kind="attempt_state", batch=made.batch, invoice=made.invoice)
    monkeypatch.setattr("invoices.packs.exporting.seal", lambda seconds: False)
    pack = download(client, what="batch", key=made.batch_id)
    held = json.loads(content(pack)["manifest.json"])
    # The second is the export itself.
    assert held["not_sealed"]["count"] == 2
    assert f"history_event {late.pk}" in held["not_sealed"]["named"]
    report = content(pack)["report.html"].decode()
    assert "2 rows are not sealed yet" in report
    assert f"history_event {late.pk}" in report
    assert run(tmp_path, pack)[0] == 0
