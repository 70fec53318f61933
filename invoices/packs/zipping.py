"""A ZIP file that is written while it is read: nothing is kept in memory but what is under way."""

import hashlib
import io
import pickle
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

SPOOLED = 32 * 1024
CHUNK = 64 * 1024

Done = Callable[[str, str], None]
"""Told the name and the SHA-256 of a file when it is complete."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of the archive. Its content is asked for when those before it are written."""

    name: str
    content: Iterable[bytes]


def zipped(files: Iterable[File], done: Done) -> Iterator[bytes]:
    """The archive, in pieces of some size."""
    sink = _Sink()
    with tempfile.SpooledTemporaryFile(SPOOLED) as kept:
        archive = zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED)
        # By default each entry stays in memory until the end.
        entries = archive.filelist = _Entries(kept)  # type: ignore[assignment]
        moment = time.gmtime()[:6]
        for file in files:
            yield from _written(archive, sink, file, moment, done)
            entries.keep()
            archive.NameToInfo.clear()
        yield from sink.taken(everything=True)
        with tempfile.SpooledTemporaryFile(SPOOLED) as directory:
            # It comes at once, and may be long.
            sink.spill = directory
            archive.close()
            directory.seek(0)
            while piece := directory.read(CHUNK):
                yield piece


def _written(
    archive: zipfile.ZipFile, sink: "_Sink", file: File, moment: Any, done: Done
) -> Iterator[bytes]:
    digest = hashlib.sha256()
    info = zipfile.ZipInfo(file.name, moment)
    info.compress_type = zipfile.ZIP_DEFLATED
    is_small = isinstance(file.content, list)
    with archive.open(info, "w", force_zip64=not is_small) as out:
        for piece in file.content:
            digest.update(piece)
            out.write(piece)
            yield from sink.taken()
    done(file.name, digest.hexdigest())


class _Entries:
    """The list of entries that `ZipFile` fills and at last writes: on disk, but for the newest."""

    def __init__(self, kept: IO[bytes]) -> None:
        self._kept, self._count = kept, 0
        self._newest: list[zipfile.ZipInfo] = []

    def append(self, entry: zipfile.ZipInfo) -> None:
        self._newest.append(entry)

    def keep(self) -> None:
        """Put away those that are complete."""
        for entry in self._newest:
            pickle.dump(entry, self._kept)
        self._count += len(self._newest)
        self._newest.clear()

    def __len__(self) -> int:
        return self._count + len(self._newest)

    def __iter__(self) -> Iterator[zipfile.ZipInfo]:
        self._kept.seek(0)
        for _ in range(self._count):
            # We wrote it ourselves, a moment ago, to a file that has no name.
            yield pickle.load(self._kept)  # noqa: S301
        yield from self._newest


class _Sink(io.RawIOBase):
    """Takes what the archive writes; it cannot be sought in, so the archive never looks back."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._size = 0
        self.spill: IO[bytes] | None = None

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        if self.spill is not None:
            return self.spill.write(piece)
        self._held.append(bytes(piece))
        self._size += len(piece)
        return len(piece)

    def taken(self, *, everything: bool = False) -> Iterator[bytes]:
        """What was written since, once it is worth the while."""
        if self._size >= (1 if everything else CHUNK):
            whole = b"".join(self._held)
            self._held, self._size = [], 0
            yield whole
