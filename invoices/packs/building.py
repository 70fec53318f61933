"""All files of a pack in their order, as one stream."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

from django.template.loader import get_template

from invoices.audit import openings, records, verify_pack
from invoices.packs import report, summary
from invoices.packs.evidence import Evidence, Unproven
from invoices.packs.scope import Scope
from invoices.packs.stories import stories
from invoices.packs.zipping import SPOOLED, File, zipped

PIECE = 64 * 1024


@dataclass(slots=True)
class Built:
    """What came of it; filled when the last byte was taken."""

    manifest_sha256: str = ""
    size: int = 0
    rows: int = 0
    unsealed: int = 0
    tampered: int = 0


def pack(scope: Scope, facts: dict[str, Any], built: Built) -> Iterator[bytes]:
    """The ZIP file. `facts`: who exported it, when and what, for the report and the manifest.

    Everything in it is as of one moment.
    """
    with records.snapshot():
        manifest = _Manifest(built)
        for piece in zipped(_files(scope, facts, built, manifest), manifest.done):
            built.size += len(piece)
            yield piece


def _files(
    scope: Scope, facts: dict[str, Any], built: Built, manifest: "_Manifest"
) -> Iterator[File]:
    evidence = Evidence(scope)
    yield File("rows.jsonl", evidence.rows())
    yield from evidence.bodies()
    built.rows, built.unsealed = evidence.count, evidence.unsealed.count
    built.tampered = evidence.tampered.count + evidence.blanked.count
    yield File("proof.json", evidence.proof())
    yield File("checkpoint.json", [_json(openings.newest_checkpoint())])
    yield File("summary.csv", summary.lines(stories(scope)))
    yield File("report.html", report.pieces(scope, evidence, facts, stories(scope)))
    yield File("verify.py", [Path(str(verify_pack.__file__)).read_bytes()])
    readme = get_template("packs/README.txt").render({"scope": scope, **facts})
    yield File("README.txt", [readme.encode()])
    about = {
        "about": scope.words,
        "exported_by": facts["exporter"],
        "exported_at": facts["at"].astimezone(UTC).isoformat(),
        "rows": evidence.count,
        "not_sealed": _told(evidence.unsealed),
        "tampered": _told(evidence.tampered),
        "emptied_without_purge": _told(evidence.blanked),
        "purged_bodies": evidence.purged,
    }
    yield File("manifest.json", manifest.written(about))


def _told(some: Unproven) -> dict[str, Any]:
    return {"count": some.count, "named": some.named}


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=1).encode() + b"\n"


class _Manifest:
    """Name and SHA-256 of each file, kept on disk, for there may be hundreds of thousands."""

    def __init__(self, built: Built) -> None:
        self._built, self._count = built, 0
        # Closed once it is complete; it has no name, so nothing of it can stay.
        self._kept = SpooledTemporaryFile(SPOOLED)  # noqa: SIM115

    def done(self, name: str, sha256: str) -> None:
        """Note a file; of the manifest itself, its own digest."""
        if name == "manifest.json":
            self._built.manifest_sha256 = sha256
            self._kept.close()
            return
        comma = ",\n" if self._count else "\n"
        self._kept.write(f"{comma}  {json.dumps(name)}: {json.dumps(sha256)}".encode())
        self._count += 1

    def written(self, about: dict[str, Any]) -> Iterator[bytes]:
        """The file, once all others are complete."""
        head = json.dumps(about, indent=1)
        yield f'{head[:-2]},\n "files": {{'.encode()
        self._kept.seek(0)
        while piece := self._kept.read(PIECE):
            yield piece
        yield b"\n }\n}\n"
