"""The Merkle tree over the seals' digests, as RFC 6962 hashes it.

Leaf 0 is the seal with number 1. No function keeps more than one tile of leaves in memory.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Protocol

TILE = 1024
EMPTY = hashlib.sha256(b"").digest()


def leaf_hash(digest: bytes) -> bytes:
    """The hash of one leaf."""
    return hashlib.sha256(b"\x00" + digest).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def split(size: int) -> int:
    """How many of `size` leaves, two or more, lie in the left subtree: the largest power of two."""
    return int(1 << (size - 1).bit_length() - 1)


class Frontier:
    """The tree's right edge: all that is needed to add leaves and to tell the root so far."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[tuple[int, bytes]] = []

    def add(self, subtree: bytes, size: int = 1) -> None:
        """Add a leaf's hash, or the root of a full subtree of `size` leaves (a power of two).

        There must be a multiple of `size` leaves already.
        """
        self.size += size
        while self._peaks and self._peaks[-1][0] == size:
            subtree = node_hash(self._peaks.pop()[1], subtree)
            size *= 2
        self._peaks.append((size, subtree))

    def root(self, then: "Frontier | None" = None) -> bytes:
        """The root over all leaves so far, and over fewer that come after a multiple of as many."""
        if then is not None:
            both = Frontier()
            both._peaks = [*self._peaks, *then._peaks]
            return both.root()
        if not self._peaks:
            return EMPTY
        _, root = self._peaks[-1]
        for _, peak in reversed(self._peaks[:-1]):
            root = node_hash(peak, root)
        return root


class Leaves(Protocol):
    """Where the digests are kept."""

    def digests(self, low: int, high: int) -> Iterator[bytes]:
        """Of the leaves [low, high)."""

    def tile_roots(self, low: int, high: int) -> Iterator[bytes]:
        """Of the tiles [low, high), all of them full; fewer when not all are kept yet."""


def subtree(leaves: Leaves, low: int, high: int) -> bytes:
    """The root over the leaves [low, high), where `low` is a multiple of a power of two that is
    not smaller than half of the range, as for every node of a tree.
    """
    frontier = Frontier()
    if low % TILE == 0:
        for root in leaves.tile_roots(low // TILE, high // TILE):
            frontier.add(root, TILE)
    for digest in leaves.digests(low + frontier.size, high):
        frontier.add(leaf_hash(digest))
    return frontier.root()


def proof(leaves: Leaves, wanted: Sequence[int], count: int) -> Iterator[bytes]:
    """The hashes that lead from some leaves, given in ascending order, to the root over `count`.

    From left to right, one for each largest subtree in which no leaf is wanted.
    """
    return _Proof(leaves, wanted).within(0, count, 0, len(wanted))


class _Proof:
    """A proof under way: what is wanted may be millions, so it is not copied at each node."""

    def __init__(self, leaves: Leaves, wanted: Sequence[int]) -> None:
        self._leaves, self._wanted = leaves, wanted

    def within(self, low: int, high: int, first: int, last: int) -> Iterator[bytes]:
        """For the leaves [low, high), of which those at the places [first, last) are wanted."""
        if first == last:
            yield subtree(self._leaves, low, high)
        elif high - low > 1:
            middle = low + split(high - low)
            border = bisect_left(self._wanted, middle, first, last)
            yield from self.within(low, middle, first, border)
            yield from self.within(middle, high, border, last)
