"""Making checkpoints, and reading those that were made."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from django.db.models import Max

from invoices.audit import keys
from invoices.audit.layouts import NotCanonical, microseconds
from invoices.audit.records import StoredLeaves, ask, selected
from invoices.audit.statement import FIRST, Statement
from invoices.audit.tree import subtree
from invoices.models.seal import Checkpoint, Seal

PAGE = 1000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BrokenCheckpoint(Exception):
    """The newest checkpoint holds what none can hold: nothing can be added to it."""


def prepare(made_at: datetime) -> Statement:
    """The next checkpoint, signed, over all seals there are."""
    last, signer = newest(), keys.signing_key()
    count = int(Seal.objects.aggregate(Max("number", default=0))["number__max"])
    unsigned = Statement(
        number=last.number + 1 if last else 1,
        count=count,
        root=subtree(StoredLeaves(), 0, count),
        previous=last.digest if last else FIRST,
        made_at=made_at,
        key=keys.key_id(signer.public_key()),
    )
    return unsigned.signed(signer.sign(unsigned.message))


def store(made: Statement) -> None:
    """Put a checkpoint on record."""
    Checkpoint.objects.create(
        number=made.number,
        count=made.count,
        root=made.root,
        previous=made.previous,
        made_at=made.made_at,
        key_id=made.key,
        signature=made.signature,
    )


def newest() -> Statement | None:
    """The last checkpoint on record. Raises `BrokenCheckpoint`."""
    for number, made in _read("ORDER BY number DESC LIMIT 1"):
        if made is None:
            raise BrokenCheckpoint(f"Checkpoint {number} was changed; run manage.py verify_audit.")
        return made
    return None


def find(number: int) -> Statement | None:
    """A checkpoint on record by its number, if it can be read."""
    return next((made for _, made in _read("WHERE number = %s", number)), None)


def stored(after: int = 0) -> Iterator[tuple[int, Statement | None]]:
    """Number and checkpoint, in order; None for one that holds what none can hold."""
    while True:
        page = list(_read(f"WHERE number > %s ORDER BY number LIMIT {PAGE}", after))
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1][0]


def _read(which: str, *parameters: int) -> Iterator[tuple[int, Statement | None]]:
    made_at = selected("made_at", "t")
    columns = f"number, count, root, previous, {made_at}, key_id, signature"
    # The names are ours.
    for found in ask(f"SELECT {columns} FROM invoices_checkpoint {which}", *parameters):  # noqa: S608
        yield int(found[0]), _statement(*found)


def _statement(
    number: int,
    count: object,
    root: object,
    previous: object,
    made_at: object,
    key: object,
    signature: object,
) -> Statement | None:
    octets = [bytes(one) for one in (root, previous, signature) if isinstance(one, bytes)]
    if len(octets) != 3 or not isinstance(count, int) or not isinstance(key, str):
        return None
    try:
        moment = EPOCH + timedelta(microseconds=int(microseconds(made_at)))
    except (NotCanonical, OverflowError):
        return None
    return Statement(number, count, octets[0], octets[1], moment, key, octets[2])
