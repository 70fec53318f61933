"""A small evidence pack, made of nothing but what `invoices.audit.openings` gives."""

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from invoices.audit import checkpoints, openings, verify_pack


def build(folder: Path, numbers: Sequence[int]) -> Path:
    """The pack of the rows with these seals."""
    (folder / "bodies").mkdir(parents=True)
    rows = []
    for one in openings.openings(numbers):
        row = dict(one.row)
        if one.body is not None:
            row["body"] = None if one.is_purged else f"bodies/{row['number']}.bin"
        if row.get("body"):
            (folder / row["body"]).write_bytes(one.body or b"")
        rows.append(row)
    under = checkpoints.newest()
    assert under is not None
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    write(folder / "proof.json", list(openings.proof(numbers, under)))
    write(folder / "checkpoint.json", openings.newest_checkpoint())
    shutil.copy(str(verify_pack.__file__), folder / "verify_pack.py")
    list_files(folder)
    return folder


def write(file: Path, content: Any) -> None:
    """JSON."""
    file.write_text(json.dumps(content))


def list_files(folder: Path) -> None:
    """Write the manifest anew, as somebody would who changed a file."""
    files = (one for one in sorted(folder.rglob("*")) if one.is_file())
    digests = {
        one.relative_to(folder).as_posix(): hashlib.sha256(one.read_bytes()).hexdigest()
        for one in files
        if one.name != "manifest.json"
    }
    write(folder / "manifest.json", {"files": digests})


def zipped(folder: Path) -> Path:
    """The same as a ZIP file."""
    file = folder.with_suffix(".zip")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in sorted(folder.rglob("*")):
            archive.write(one, one.relative_to(folder).as_posix())
    return file


def run(pack: Path, *arguments: str) -> tuple[int, str]:
    """What the verifier in the pack says, run by a Python that knows nothing else."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(verify_pack.__file__), str(pack), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=pack.parent,
    )
    return done.returncode, done.stdout + done.stderr
