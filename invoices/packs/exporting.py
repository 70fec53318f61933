"""Who may have a pack, and what is done before it: it is put on record, then all is sealed."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from invoices import access, presence
from invoices.audit.checkpoints import BrokenCheckpoint
from invoices.audit.sealing import AnotherSealer, one_round
from invoices.models import EvidenceExport, HistoryEvent
from invoices.packs.building import Built, pack
from invoices.packs.scope import Scope

EXPORT = "invoices.export_evidence"
WAIT_SECONDS = 5.0
"""So long another sealer is waited for, and sealing may take, before a download begins."""
BETWEEN_TRIES = 0.25
BEGUN, FINISHED = "begun", "finished"


class ExportRefused(Exception):
    """Why there can be no pack now, in a sentence."""


@dataclass(frozen=True, slots=True)
class Export:
    """A pack under way: `pieces` is the file, `built` what came of it once it is read."""

    name: str
    pieces: Iterator[bytes]
    built: Built


def export(scope: Scope, user: User | None, *, seconds: float = WAIT_SECONDS) -> Export:
    """Begin a pack. `user` None: somebody at the machine itself, by a command.

    That it was asked for is on record before anything else is done. Raises `PermissionDenied`,
    `ExportRefused`.
    """
    if user is not None:
        _require(user, scope)
    facts: dict[str, Any] = {
        "exporter": user.get_username() if user else "a command on the machine itself",
        "address": presence.address(),
        "at": timezone.now(),
        "counted": scope.counted(),
    }
    code = f"export-{uuid4().hex[:12]}"
    _record(scope, user, code, BEGUN, f"{scope.words}: {facts['counted']}", facts["address"])
    try:
        seal(seconds)
    except BrokenCheckpoint as broken:
        raise ExportRefused(f"{broken} Nothing was exported.") from None
    built = Built()
    name = f"evidence-{scope.name}-{facts['at']:%Y%m%d-%H%M%S}.zip"
    return Export(name, _followed(scope, user, code, facts, built), built)


def write(made: Export, output: Path) -> None:
    """The whole file or none."""
    part = output.with_name(f"{output.name}.part")
    with part.open("wb") as file:
        for piece in made.pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    part.replace(output)


def seal(seconds: float) -> bool:
    """Seal what is new. False: it could not be done in this time, by us or by another sealer."""
    end = time.monotonic() + seconds
    while True:
        try:
            for _ in one_round():
                if time.monotonic() >= end:
                    return False
        except AnotherSealer:
            if time.monotonic() >= end:
                return False
            time.sleep(BETWEEN_TRIES)
        else:
            return True


def manifests(events: list[EvidenceExport]) -> dict[str, str]:
    """Of those exports that were read to their end, what is known of them, by their code."""
    ended = HistoryEvent.objects.filter(
        kind=HistoryEvent.Kind.EVIDENCE_EXPORTED,
        to_state=FINISHED,
        code__in=[one.code for one in events],
    )
    return dict(ended.values_list("code", "detail"))


def _require(user: User, scope: Scope) -> None:
    if not user.has_perm(EXPORT):
        raise PermissionDenied
    if scope.batch is not None:
        access.require(user, scope.batch)
    else:
        chosen = scope.accounts
        access.require_accounts(user, None if chosen is None else [one.pk for one in chosen])


def _followed(
    scope: Scope, user: User | None, code: str, facts: dict[str, Any], built: Built
) -> Iterator[bytes]:
    yield from pack(scope, facts, built)
    missing = f", {built.unsealed:,} rows not sealed" if built.unsealed else ""
    detail = (
        f"Manifest SHA-256 {built.manifest_sha256}; {built.rows:,} rows{missing},"
        f" {built.size:,} bytes"
    )
    _record(scope, user, code, FINISHED, detail, facts["address"])


def _record(scope: Scope, user: User | None, code: str, to: str, detail: str, address: str) -> None:
    HistoryEvent.objects.create(
        kind=HistoryEvent.Kind.EVIDENCE_EXPORTED,
        actor=user,
        account=scope.account,
        batch=scope.batch,
        invoice=scope.invoice,
        from_state=BEGUN if to == FINISHED else "",
        to_state=to,
        code=code,
        detail=detail[:500],
        address=address,
    )
