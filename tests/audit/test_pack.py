"""The stand-alone verifier: what it needs is Python, and nothing gets past it."""

import json
import os
import random
import re
import secrets
import shutil
import zipfile
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from invoices.audit import checkpoints as made
from invoices.audit import keys, openings, tree, verify_pack
from invoices.audit.doorway import empty_bodies, open_for_emptying
from invoices.audit.sealing import one_round
from invoices.models import HistoryEvent, ProviderResponse, Seal
from tests.audit import pack as packed
from tests.audit.evidence import a_purge, a_record, a_step
from tests.unguarded import unguarded

SIGNATURES = int(os.environ.get("AUDIT_SIGNATURES") or 150)
MUTATIONS = int(os.environ.get("AUDIT_TAMPERINGS") or 250)
SEED = int(os.environ.get("AUDIT_SEED") or random.randrange(10_000))


# --- Ed25519 --------------------------------------------------------------------------------------


def test_the_signatures_of_rfc_8032_are_good() -> None:
    for public, message, signature in (
        (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ):
        given_bytes = [bytes.fromhex(one) for one in (public, message, signature)]
        assert verify_pack.is_signed(*given_bytes)


def test_it_agrees_with_cryptography_about_signatures_good_and_bad() -> None:
    choose = random.Random(SEED)
    for _ in range(SIGNATURES):
        private = Ed25519PrivateKey.from_private_bytes(choose.randbytes(32))
        public = private.public_key().public_bytes_raw()
        message = choose.randbytes(choose.randrange(200))
        signature = private.sign(message)
        assert verify_pack.is_signed(public, message, signature), SEED
        parts = [bytearray(public), bytearray(message + b"\0"), bytearray(signature)]
        chosen = choose.choice(parts)
        chosen[choose.randrange(len(chosen))] ^= 1 << choose.randrange(8)
        changed = [bytes(one) for one in parts]
        assert verify_pack.is_signed(*changed) is by_cryptography(*changed), (SEED, changed)


def by_cryptography(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def test_a_signature_whose_scalar_is_too_large_or_of_another_length_is_none() -> None:
    private = Ed25519PrivateKey.generate()
    public, signature = private.public_key().public_bytes_raw(), private.sign(b"x")
    scalar = int.from_bytes(signature[32:], "little") + verify_pack.L
    assert not verify_pack.is_signed(public, b"x", signature[:32] + scalar.to_bytes(32, "little"))
    assert not verify_pack.is_signed(public, b"x", signature + b"\0")
    assert not verify_pack.is_signed(public[:-1], b"x", signature)


# --- the tree -------------------------------------------------------------------------------------


class Listed:
    """Leaves in memory."""

    def __init__(self, digests: Sequence[bytes]) -> None:
        self._digests = digests

    def digests(self, low: int, high: int) -> Iterator[bytes]:
        yield from self._digests[low:high]

    def tile_roots(self, low: int, high: int) -> Iterator[bytes]:
        return iter(())


def plain_root(digests: Sequence[bytes]) -> bytes:
    """As RFC 6962 defines it."""
    if len(digests) == 1:
        return tree.leaf_hash(digests[0])
    half = 1
    while half * 2 < len(digests):
        half *= 2
    return tree.node_hash(plain_root(digests[:half]), plain_root(digests[half:]))


@given(st.data(), st.integers(1, 300))
def test_a_proof_leads_from_any_leaves_to_the_root(data: st.DataObject, count: int) -> None:
    digests = [number.to_bytes(32, "big") for number in range(count)]
    wanted = sorted(data.draw(st.sets(st.integers(0, count - 1), min_size=1)))
    root = plain_root(digests)
    assert tree.subtree(Listed(digests), 0, count) == root
    hashes = list(tree.proof(Listed(digests), wanted, count))
    assert from_proof(digests, wanted, hashes, count) == root
    wrong = data.draw(st.sampled_from(wanted))
    others = [*digests[:wrong], b"another", *digests[wrong + 1 :]]
    assert from_proof(others, wanted, hashes, count) != root


def from_proof(digests: Sequence[bytes], wanted: list[int], hashes: list[bytes], n: int) -> bytes:
    leaves, remaining = deque((one, digests[one]) for one in wanted), iter(hashes)
    root = verify_pack.root(leaves, remaining, 0, n)
    assert not leaves
    assert next(remaining, None) is None
    return root


# --- packs ----------------------------------------------------------------------------------------


@pytest.fixture
def pack(db: None, tmp_path: Path) -> Path:
    """A folder with half of a record's rows."""
    a_record()
    sum(one_round())
    count = Seal.objects.count()
    return packed.build(tmp_path / "pack", sorted(random.Random(1).sample(range(1, count + 1), 9)))


def public() -> str:
    return keys.public_hex(keys.signing_key().public_key())


def test_it_has_at_most_two_hundred_lines_and_imports_only_what_python_brings() -> None:
    text = Path(str(verify_pack.__file__)).read_text()
    assert len(text.splitlines()) <= 200
    imported = set(re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE))
    assert imported <= set(__import__("sys").stdlib_module_names)


def test_a_whole_pack_verifies_as_folder_and_as_zip(pack: Path, checkpoints: Path) -> None:
    for one in (pack, packed.zipped(pack)):
        status, told = packed.run(one, "--public-key", public(), "--checkpoints", str(checkpoints))
        assert status == 0, told
        assert "9 rows are as they were sealed" in told
        assert "All is well." in told
        assert "came with the pack" not in told
    assert "compare it with the one you were told" in packed.run(pack)[1]


def test_another_key_and_a_file_that_does_not_know_the_checkpoint_are_told(
    pack: Path, tmp_path: Path
) -> None:
    other = keys.public_hex(Ed25519PrivateKey.generate().public_key())
    assert "signed by another key" in packed.run(pack, "--public-key", other)[1]
    (tmp_path / "empty").write_text("")
    assert (
        "does not hold this checkpoint"
        in packed.run(pack, "--checkpoints", str(tmp_path / "empty"))[1]
    )


def test_a_purged_body_is_told_and_its_row_still_verifies(db: None, tmp_path: Path) -> None:
    a_record()
    sum(one_round())
    response = ProviderResponse.objects.earliest("received_at")
    with open_for_emptying():
        a_purge()
        empty_bodies(ProviderResponse, [response.pk])
    sum(one_round())
    [number] = openings.numbers("invoices_providerresponse", [response.pk.hex])
    [opening] = openings.openings([number])
    assert opening.is_purged
    status, told = packed.run(packed.build(tmp_path / "pack", [number]))
    assert status == 0, told
    assert "1 bodies are not in the pack" in told


def test_the_whole_record_and_a_single_row_can_be_packed(db: None, tmp_path: Path) -> None:
    attempt = a_record()
    HistoryEvent.objects.bulk_create(
        HistoryEvent(kind="attempt_state", attempt=attempt, to_state="queued")
        for _ in range(2 * tree.TILE + 77)
    )
    sum(one_round())
    count = Seal.objects.count()
    for place, numbers in enumerate((range(1, count + 1), [1], [count], [1024, 1025, 2048])):
        status, told = packed.run(packed.build(tmp_path / f"pack{place}", list(numbers)))
        assert status == 0, told
    assert len(json.loads((tmp_path / "pack0" / "proof.json").read_text())) == 0
    assert len(json.loads((tmp_path / "pack1" / "proof.json").read_text())) <= 12


def test_rows_without_seals_have_no_number_and_none_above_the_checkpoint_is_proven(
    db: None,
) -> None:
    attempt = a_record()
    sum(one_round())
    events = [
        str(one.pk) for one in (a_step(attempt, "queued"), HistoryEvent.objects.earliest("pk"))
    ]
    assert len(list(openings.numbers("invoices_historyevent", events))) == 1
    under = made.newest()
    assert under is not None
    with pytest.raises(ValueError, match="under the checkpoint"):
        list(openings.proof([under.count + 1], under))


def test_a_row_that_was_tampered_with_is_not_packed(db: None, tmp_path: Path) -> None:
    a_record()
    sum(one_round())
    with unguarded():
        HistoryEvent._base_manager.update(detail="x")
    with pytest.raises(openings.Tampered, match="edited"):
        packed.build(tmp_path / "pack", [1])
    with pytest.raises(openings.Tampered, match="missing"):
        packed.build(tmp_path / "another", [99])


def test_what_was_changed_in_a_pack_is_found(
    pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At random: any file, and then the manifest made to fit."""
    for case in range(SEED, SEED + MUTATIONS):
        choose = random.Random(case)
        copy = tmp_path / "copy"
        shutil.copytree(pack, copy)
        name = _mutate(copy, choose)
        told = f"AUDIT_SEED={case} AUDIT_TAMPERINGS=1 {name}"
        assert verify_pack.main([str(copy)]) == 1, told
        packed.list_files(copy)
        assert verify_pack.main([str(copy)]) == 1, told
        shutil.rmtree(copy)
    assert verify_pack.main([str(pack)]) == 0
    assert capsys.readouterr().out.count("NOT VERIFIED") == 2 * MUTATIONS


def _mutate(folder: Path, choose: random.Random) -> str:
    name = choose.choice(["rows.jsonl", "rows.jsonl", "proof.json", "checkpoint.json", "bodies"])
    file = folder / name
    if name == "bodies":
        file = choose.choice(sorted(file.iterdir()))
        file.write_bytes(file.read_bytes() + b"x")
    elif name == "proof.json":
        hashes = json.loads(file.read_text())
        packed.write(file, _changed_list(hashes, choose))
    elif name == "checkpoint.json":
        made_one = json.loads(file.read_text())
        field = choose.choice(sorted(made_one))
        made_one[field] = _changed(made_one[field], choose)
        packed.write(file, made_one)
    else:
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        _change_rows(rows, choose)
        file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return name


def _changed_list(hashes: list[str], choose: random.Random) -> list[str]:
    place = choose.randrange(len(hashes))
    others = [
        hashes[:place] + hashes[place + 1 :],
        [*hashes, hashes[place]],
        [*hashes[:place], _changed(hashes[place], choose), *hashes[place + 1 :]],
    ]
    return choose.choice(others)


def _change_rows(rows: list[dict[str, Any]], choose: random.Random) -> None:
    row = choose.choice(rows)
    what = choose.choice(["drop", "swap", "number", "k", "table", "version", "column", "label"])
    column = choose.choice(row["columns"])
    if what == "drop":
        rows.remove(row)
    elif what == "swap":
        one, other = choose.sample(rows, 2)
        one["number"], other["number"] = other["number"], one["number"]
        rows.sort(key=lambda row: int(row["number"]))
    elif what == "column":
        column[1:] = ["s", "x"] if column[2] is None else [column[1], _changed(column[2], choose)]
    elif what == "label":
        column[0] += "_of_another"
    else:
        row[what] = _changed(row[what], choose)


def _changed(value: Any, choose: random.Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + choose.choice([-1, 1, 10**6])
    if re.fullmatch(r"(?:[0-9a-f]{2})+", value):
        place = choose.randrange(len(value))
        digit = choose.choice([one for one in "0123456789abcdef" if one != value[place]])
        return value[:place] + digit + value[place + 1 :]
    return value + choose.choice("x1 ")


def test_a_file_too_many_or_too_few_or_twice_is_found(pack: Path, tmp_path: Path) -> None:
    (pack / "extra.txt").write_text("not packed")
    assert "not in the manifest" in packed.run(pack)[1]
    (pack / "extra.txt").unlink()
    archive = packed.zipped(pack)
    with zipfile.ZipFile(archive, "a") as twice, pytest.warns(UserWarning, match="Duplicate"):
        twice.writestr("rows.jsonl", "")
    assert packed.run(archive)[0] == 1
    (pack / "rows.jsonl").unlink()
    assert "rows.jsonl is missing" in packed.run(pack)[1]


def test_what_is_no_pack_is_told_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "noise.zip").write_bytes(secrets.token_bytes(100))
    (tmp_path / "empty").mkdir()
    for name in ("noise.zip", "empty", "none"):
        status, told = packed.run(tmp_path / name)
        assert (status, "NOT VERIFIED" in told, "Traceback" in told) == (1, True, False), told
