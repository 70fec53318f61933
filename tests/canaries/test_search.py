"""The search itself is proven: it finds a canary however it is written."""

import base64
import gzip
import html
import json
import zlib
from urllib.parse import quote

import pytest

from tests.canaries.search import found

CANARY = b"Zk7/canary+Lw\"4='\\&<Xq"
TEXT = CANARY.decode()

WRITTEN = {
    "plain": CANARY,
    "a part of it": CANARY[3:14],
    "base64": base64.b64encode(b"a" + CANARY),
    "base64 for URLs": base64.urlsafe_b64encode(b"ab" + CANARY).rstrip(b"="),
    "JSON": json.dumps({"a": TEXT}).encode(),
    "JSON in JSON": json.dumps(json.dumps({"a": TEXT})).encode(),
    "percent": quote(TEXT, safe="").encode(),
    "HTML": html.escape(TEXT).encode(),
    "hexadecimal": CANARY.hex().upper().encode(),
    "UTF-16": TEXT.encode("utf-16"),
    "gzip": b"\0\1" + gzip.compress(b"before " + CANARY),
    "cut gzip": gzip.compress(CANARY + bytes(range(256)) * 9)[:120],
    "zlib": zlib.compress(b"before " + CANARY),
    "Python's repr": repr(CANARY).encode(),
    "gzip in base64 in JSON": json.dumps(
        {"a": base64.b64encode(gzip.compress(CANARY)).decode()}
    ).encode(),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_it_finds_a_canary_that_is_written_as(name: str) -> None:
    canaries = {"it": CANARY, "other": b"Qw9-other-canary"}
    assert found(b"<x>" + WRITTEN[name] + b"</x>", canaries) == {"it"}


def test_it_finds_nothing_where_nothing_is() -> None:
    text = json.dumps({str(number): "innocent" * 5 for number in range(200)}).encode()
    assert not found(text, {"it": CANARY})
