#!/usr/bin/env python3
"""Verifies an evidence pack, a folder or a ZIP file, with Python alone: no network, no database.

    python3 verify_pack.py PACK [--public-key HEX] [--checkpoints FILE]

HEX: the public key that signed, as you were told it by another way than with the pack. FILE:
checkpoints that you received before, one in a line. Exit status 0: all is well.
"""
# ruff: noqa: T201

import argparse
import hashlib
import hmac
import json
import re
import sys
import zipfile
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

Point = tuple[int, int, int, int]
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
NAME = re.compile(r"[a-z0-9_]+")


class Wrong(Exception):
    """What is wrong with the pack, in a sentence."""


# Any other of these means: no evidence pack, or not a whole one.
BROKEN = (Wrong, OSError, ValueError, LookupError, TypeError, RuntimeError, zipfile.BadZipFile)

# Ed25519, RFC 8032; a point is X, Y, Z, T with x = X/Z, y = Y/Z, xy = T/Z.


def add(p: Point, q: Point) -> Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(scalar: int, point: Point) -> Point:
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


def point_of(encoded: bytes) -> Point | None:
    number = int.from_bytes(encoded, "little")
    y, sign = number & (2**255 - 1), number >> 255
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or x * x % P != square or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    point = point_of(public) if len(public) == 32 and len(signature) == 64 else None
    base = point_of((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
    scalar = int.from_bytes(signature[32:], "little")
    if point is None or base is None or scalar >= L:
        return False
    hashed = hashlib.sha512(signature[:32] + public + message).digest()
    minus = (P - point[0], point[1], point[2], P - point[3])
    challenge = int.from_bytes(hashed, "little") % L
    big_x, big_y, z, _ = add(times(scalar, base), times(challenge, minus))
    x, y = big_x * pow(z, -1, P) % P, big_y * pow(z, -1, P) % P
    return (y | (x & 1) << 255).to_bytes(32, "little") == signature[:32]


KINDS: dict[str, tuple[type, Callable[[Any], bytes]]] = {
    "n": (type(None), lambda value: b""),
    "b": (bool, lambda value: b"%d" % value),
    "x": (str, bytes.fromhex),
    **dict.fromkeys("it", (int, lambda value: b"%d" % value)),
    **dict.fromkeys("su", (str, str.encode)),
}


def canonical(row: dict[str, Any]) -> bytes:
    if not NAME.fullmatch(row["table"]):
        raise Wrong(f"Row {row['number']} names no table.")
    lines = [b"annul row %b %d\n" % (row["table"].encode(), row["version"])]
    for name, kind, value in row["columns"]:
        if not NAME.fullmatch(name) or type(value) is not KINDS[kind][0]:
            raise Wrong(f"Row {row['number']} has a column that cannot be.")
        encoded = KINDS[kind][1](value)
        lines.append(b"%b %b %d %b\n" % (name.encode(), kind.encode(), len(encoded), encoded))
    return b"".join(lines)


def root(leaves: deque[tuple[int, bytes]], hashes: Iterator[bytes], low: int, high: int) -> bytes:
    """The root over the leaves [low, high); uses up leaves and hashes from left to right."""
    if not leaves or leaves[0][0] >= high:
        return next(hashes)
    if high - low == 1:
        return hashlib.sha256(b"\x00" + leaves.popleft()[1]).digest()
    middle = low + (1 << (high - low - 1).bit_length() - 1)
    left = root(leaves, hashes, low, middle)
    return hashlib.sha256(b"\x01" + left + root(leaves, hashes, middle, high)).digest()


class Pack:
    """Its files by name, each of which must be the one that the manifest names."""

    def __init__(self, path: Path) -> None:
        self._zip, self._folder = None if path.is_dir() else zipfile.ZipFile(path), path
        inside = (one.relative_to(path).as_posix() for one in path.rglob("*") if one.is_file())
        names = self._zip.namelist() if self._zip else inside
        there = [name for name in names if not name.endswith("/")]
        self.files: dict[str, str] = self.json("manifest.json")["files"]
        for name in sorted({*there, *self.files} - {"manifest.json"}):
            if there.count(name) != 1 or name not in self.files:
                raise Wrong(f"{name} is missing, there twice, or not in the manifest.")
            with self.open(name) as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != self.files[name]:  # type: ignore[arg-type]
                    raise Wrong(f"{name} is not the file that was packed.")

    def open(self, name: str) -> IO[bytes]:
        return self._zip.open(name) if self._zip else (self._folder / name).open("rb")

    def json(self, name: str) -> Any:
        with self.open(name) as file:
            return json.load(file)


def check_checkpoint(made: dict[str, Any], public_hex: str, kept: Path | None) -> Iterator[str]:
    """What was checked, in sentences. Raises `Wrong`."""
    fields = ("number", "count", "root", "previous", "made_at", "key")
    lines = ["annul checkpoint 1", *(f"{name} {made[name]}" for name in fields), ""]
    public = bytes.fromhex(public_hex or made["public_key"])
    if hashlib.sha256(public).hexdigest()[:16] != made["key"]:
        raise Wrong("The checkpoint was signed by another key.")
    if not is_signed(public, "\n".join(lines).encode(), bytes.fromhex(made["signature"])):
        raise Wrong("The signature of the checkpoint is false.")
    yield f"Checkpoint {made['number']} of {made['made_at']} is signed by {public.hex()}."
    if not public_hex:
        yield "That key came with the pack: compare it with the one you were told."
    if kept is not None:
        known = [json.loads(line) for line in kept.read_text().splitlines()]
        if {name: made[name] for name in (*fields, "signature")} not in known:
            raise Wrong(f"{kept} does not hold this checkpoint.")
        yield f"It stands in {kept} as well."


def check_rows(pack: Pack, made: dict[str, Any]) -> Iterator[str]:
    """What was checked, in sentences. Raises `Wrong`."""
    leaves: deque[tuple[int, bytes]] = deque()
    withheld = before = 0
    with pack.open("rows.jsonl") as file:
        for row in map(json.loads, file):
            if not before < row["number"] <= made["count"]:
                raise Wrong(f"Row {row['number']} is out of order, or not under the checkpoint.")
            before = row["number"]
            sealed = canonical(row)
            leaves.append((before - 1, hmac.digest(bytes.fromhex(row["k"]), sealed, "sha256")))
            stated = [value for name, _, value in row["columns"] if name == "body_sha256"]
            withheld += bool(stated and row["body"] is None)
            if stated and row["body"] is not None and pack.files.get(row["body"]) != stated[0]:
                raise Wrong(f"The body of row {before} is not the one that was sealed.")
    count, hashes = len(leaves), map(bytes.fromhex, pack.json("proof.json"))
    if root(leaves, hashes, 0, made["count"]).hex() != made["root"] or next(hashes, None):
        raise Wrong("A row is not as it was sealed: the rows do not lead to the signed root.")
    yield f"{count} rows are as they were sealed, of {made['count']} that the checkpoint covers."
    yield f"{withheld} bodies are not in the pack; only their SHA-256 is proven."


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Verifies an evidence pack.")
    parser.add_argument("pack", type=Path)
    parser.add_argument("--public-key", default="", metavar="HEX")
    parser.add_argument("--checkpoints", type=Path, metavar="FILE")
    given = parser.parse_args(arguments)
    try:
        pack = Pack(given.pack)
        made = pack.json("checkpoint.json")
        told = [*check_checkpoint(made, given.public_key, given.checkpoints)]
        told += check_rows(pack, made)
    except BROKEN as reason:
        print(f"NOT VERIFIED ({type(reason).__name__}): {reason}")
        return 1
    print("\n".join([*told, "All is well."]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
