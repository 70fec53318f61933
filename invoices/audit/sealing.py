"""Sealing what is new on record, a round at a time, each in many short transactions.

PostgreSQL commits rows out of the order of their keys and times: a round looks back over what was
added some time before the last checkpoint, and seals whatever no seal names. A row that appears
later than that is not sealed any more: verification calls it slipped in.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Max

from invoices import bulk
from invoices.audit import checkpoints, keys, publishing, records
from invoices.audit.layouts import Layout, newest
from invoices.audit.tree import TILE, subtree
from invoices.models.seal import Seal, SealTile

log = logging.getLogger(__name__)

MARGIN = timedelta(minutes=15)
"""No transaction stays open for so long, and no two clocks differ by so much."""
USUAL_MARGIN = timedelta(minutes=2)
ROUND_SECONDS = 30.0
FULL_ROUND_SECONDS = 300.0
"""So often a round looks back over the whole margin."""
SPELL_SECONDS = 0.5
IDLE = timedelta(days=1)
"""After so long there is a checkpoint although nothing is new, so that nothing old can appear."""
ADVISORY_LOCK = 0x616E6E756C  # "annul"


class AnotherSealer(Exception):
    """Somebody else is sealing at this moment."""


class Sealer:
    """What a worker calls every few seconds; it does a little each time."""

    def __init__(self) -> None:
        self._round: Iterator[int] | None = None
        self._next_at = self._next_full_at = 0.0

    def work(self) -> None:
        """Go on with the round, or begin one if it is time; returns after a second at most."""
        started = time.monotonic()
        # Forgotten first: a round that fails is over.
        this_round, self._round = self._round, None
        if this_round is None:
            if started < self._next_at:
                return
            this_round = self._begin(started)
        try:
            for _ in this_round:
                if time.monotonic() >= started + SPELL_SECONDS:
                    self._round = this_round
                    return
        except AnotherSealer:
            log.debug("Another sealer is at work.")

    def _begin(self, now: float) -> Iterator[int]:
        self._next_at = now + ROUND_SECONDS
        if now < self._next_full_at:
            return one_round(USUAL_MARGIN)
        self._next_full_at = now + FULL_ROUND_SECONDS
        return one_round(MARGIN)


def one_round(margin: timedelta = MARGIN) -> Iterator[int]:
    """Seal what is new, then make a checkpoint and let it leave.

    Yields after each transaction how many rows it sealed. Raises `AnotherSealer`.
    """
    started, last = records.now(), checkpoints.newest()
    since = last.made_at - margin if last else None
    for layout in newest().values():
        for page in records.pages(layout, since):
            if sealed := _seal(layout, page):
                _keep_tiles()
                yield sealed
    # Also over what a round sealed that did not come to its end.
    last = checkpoints.newest()
    if last is None or last.count < _last_number() or started - last.made_at >= IDLE:
        _make_checkpoint(started)
    publishing.publish()


def _seal(layout: Layout, page: list[str]) -> int:
    """Seal those of these rows that have no seal; what takes time comes before the transaction."""
    # First of all: whoever seals one of these rows meanwhile takes the next number as well.
    master, last = keys.seal_key(), _last_number()
    numbered = enumerate(_sealable(layout, records.unsealed(layout, page)), start=last + 1)
    seals = [
        Seal(
            number=number,
            layout=layout.code,
            key=key,
            digest=keys.digest(master, number, layout.code, key, canonical),
        )
        for number, (key, canonical) in numbered
    ]
    if seals:
        with _alone():
            if _last_number() != last:
                raise AnotherSealer
            bulk.insert(seals)
    return len(seals)


def _sealable(layout: Layout, unsealed: list[str]) -> Iterator[tuple[str, bytes]]:
    found = records.fetch(layout, unsealed)
    for key in unsealed:
        canonical = found[key].canonical if key in found else None
        if canonical is None:
            log.error("%s %s cannot be sealed: a column holds a wrong value.", layout.name, key)
        else:
            yield key, canonical


def _keep_tiles() -> None:
    """Keep the root of each tile that has become full, so that the next root costs little."""
    for number in range(_next_tile(), _last_number() // TILE):
        root = subtree(records.StoredLeaves(), number * TILE, (number + 1) * TILE)
        with _alone():
            if _next_tile() != number:
                raise AnotherSealer
            SealTile.objects.create(number=number, root=root)


def _next_tile() -> int:
    return int(SealTile.objects.aggregate(Max("number", default=-1))["number__max"]) + 1


def _make_checkpoint(made_at: datetime) -> None:
    made = checkpoints.prepare(made_at)
    with _alone():
        last = checkpoints.newest()
        if made.number != (last.number + 1 if last else 1):
            raise AnotherSealer
        checkpoints.store(made)


def _last_number() -> int:
    return int(Seal.objects.aggregate(Max("number", default=0))["number__max"])


@contextmanager
def _alone() -> Iterator[None]:
    """A transaction that no other sealer has open; on SQLite no two writers ever have one."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            ((ours,),) = records.ask("SELECT pg_try_advisory_xact_lock(%s)", ADVISORY_LOCK)
            if not ours:
                raise AnotherSealer
        yield
