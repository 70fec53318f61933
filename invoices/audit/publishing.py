"""How checkpoints leave the database: a line in a file, and a mail a day.

Whoever restores an older database, or writes another history, cannot take these back. What fails
is logged, kept in view in `SealerNote`, and tried again in the next round.
"""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from pathlib import Path

from django.conf import settings
from django.core.mail import send_mail
from django.db.models import Q
from django.utils import timezone

from invoices.audit import checkpoints, keys
from invoices.audit.statement import Statement, Unreadable
from invoices.models.seal import SealerNote

log = logging.getLogger(__name__)

ONCE_A = timedelta(days=1)
TAIL = 64 * 1024
LINES = 1000
MAIL = """This is a checkpoint of Annul's record. Keep this mail: it proves later that nothing was
taken back that was on record before.

Checkpoint {made.number} of {made.made_at:%Y-%m-%d %H:%M:%S} UTC covers {made.count:,} rows.

{made.line}

Public key: {public}
"""


class Trouble(Exception):
    """Why the newest checkpoints could not leave, in a sentence."""


def publish() -> None:
    """Write to the file what it lacks, and mail the newest checkpoint if a day has passed."""
    trouble = ""
    for send in (_to_file, _by_mail):
        try:
            send()
        except (Trouble, OSError) as reason:
            trouble = f"{trouble} {_told(reason)}".strip()
            log.error("A checkpoint could not leave: %s", _told(reason))
    _remember(trouble[:300])


def _told(reason: Exception) -> str:
    if isinstance(reason, Trouble):
        return str(reason)
    return f"{type(reason).__name__}: {reason}."


def _remember(trouble: str) -> None:
    note, _ = SealerNote.objects.get_or_create(pk=1)
    if note.trouble != trouble:
        since = (note.trouble_since or timezone.now()) if trouble else None
        SealerNote.objects.filter(pk=1).update(trouble=trouble, trouble_since=since)


# --- the file -------------------------------------------------------------------------------------


def _to_file() -> None:
    with _opened(Path(settings.AUDIT_CHECKPOINTS)) as file:
        last, whole = _last_in(file)
        _refuse_fork(last)
        if not whole:
            # What a crash left of a line is ended; the line is written once more.
            _append(file, "\n")
        missing = (made.line for _, made in checkpoints.stored(last.number if last else 0) if made)
        while lines := list(islice(missing, LINES)):
            _append(file, "".join(f"{line}\n" for line in lines))


def _append(file: int, text: str) -> None:
    written = os.write(file, text.encode())
    os.fsync(file)
    if written < len(text):
        raise Trouble("The disk with the file of checkpoints is full.")


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """The file for appending, ours alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)


def _last_in(file: int) -> tuple[Statement | None, bool]:
    """The last checkpoint in the file, and whether its last line is a whole one."""
    size = os.fstat(file).st_size
    tail = os.pread(file, TAIL, max(0, size - TAIL)).decode(errors="replace")
    whole = not tail or tail.endswith("\n")
    for line in reversed(tail.splitlines()):
        try:
            return Statement.read(line), whole
        except Unreadable:
            continue
    if tail:
        raise Trouble("The file of checkpoints holds something else; give it another name.")
    return None, whole


def _refuse_fork(last: Statement | None) -> None:
    """The file keeps what it knows: nothing is added to it that contradicts it."""
    if last is not None and checkpoints.find(last.number) != last:
        raise Trouble(
            f"The file of checkpoints knows checkpoint {last.number}, and the database does not:"
            " was it restored? Keep the file, and name a new one in AUDIT_CHECKPOINTS."
        )


# --- mail -----------------------------------------------------------------------------------------


def _by_mail() -> None:
    made = checkpoints.newest()
    if made is None or not settings.AUDIT_MAIL:
        return
    now = timezone.now()
    # Before it is sent, so that two machines do not both send it.
    SealerNote.objects.get_or_create(pk=1)
    due = SealerNote.objects.filter(Q(mailed_at=None) | Q(mailed_at__lte=now - ONCE_A), pk=1)
    before = due.values_list("mailed_at", flat=True).first()
    if not due.update(mailed_at=now):
        return
    try:
        send_mail(
            f"Annul: checkpoint {made.number} over {made.count:,} rows",
            MAIL.format(made=made, public=keys.public_hex(keys.signing_key().public_key())),
            None,
            settings.AUDIT_MAIL,
        )
    except OSError:
        SealerNote.objects.filter(pk=1).update(mailed_at=before)
        raise
