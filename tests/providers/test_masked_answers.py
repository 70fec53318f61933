"""What of an answer is kept, when compression, a cut or a charset may hide secrets in it."""

import gzip
import json
import zlib
from hashlib import sha256

import pytest

from providers import unpacking
from providers.errors import OutcomeUnknown, ProviderError
from providers.exchange import Answer, Exchange
from providers.redaction import mask
from providers.unpacking import unpack
from tests.canaries.search import found
from tests.providers.scripted import Kept
from tests.providers.sockets import client_of, raw_server, sending

SECRET = "Qk3/canary+Zt8=Lw5x"
TEXT = json.dumps({"note": f"you sent {SECRET}", "more": "x" * 300}).encode()
CANARY = {"it": SECRET.encode()}


def answered(
    body: bytes, *headers: str, purpose: str = "fetch", status: str = "200 OK"
) -> tuple[Answer | None, Exchange]:
    """What the caller gets (None for an error) and what is on record."""
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers])
    kept = Kept()
    with (
        raw_server(sending(head.encode() + b"\r\n\r\n" + body)) as server,
        client_of(server.url, secrets=(SECRET,), kept=kept) as (client, _),
    ):
        try:
            return client.send("GET", "/", purpose=purpose), kept.exchanges[0]
        except ProviderError as error:
            assert not found(f"{error!r} {error}".encode(), CANARY)
            return None, kept.exchanges[0]


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(TEXT)),
        ("x-gzip", gzip.compress(TEXT)),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", zlib.compress(TEXT)[2:-4]),
        ("gzip, gzip", gzip.compress(gzip.compress(TEXT))),
        ("deflate, gzip", gzip.compress(zlib.compress(TEXT))),
        ("identity", TEXT),
        ("gzip", gzip.compress(TEXT) + b"rest"),
    ],
)
def test_what_can_be_unpacked_is_unpacked_and_masked(encoding: str, packed: bytes) -> None:
    answer, exchange = answered(packed, f"Content-Encoding: {encoding}")
    assert answer is not None
    assert answer.object()["note"] == f"you sent {mask(SECRET)}"
    assert (exchange.body, exchange.fault, exchange.detail) == (answer.body, "", "")


HIDING = {
    "brotli": ("br", b"\x1b\xff\x00\x00" + bytes(range(200, 256))),
    "an unknown one": ("zstd", b"\x28\xb5\x2f\xfd" + zlib.compress(TEXT)),
    "gzip, cut": ("gzip", gzip.compress(TEXT)[:-12]),
    "gzip, damaged": ("gzip", gzip.compress(TEXT)[:40] + b"\xff" * 40),
    "gzip said, deflate meant": ("gzip", zlib.compress(TEXT)[2:-4]),
    "gzip within gzip that is not said": ("gzip", gzip.compress(gzip.compress(TEXT))),
    "gzip that is not said": ("", gzip.compress(TEXT)),
    "zlib that is not said": ("identity", zlib.compress(TEXT)),
    "gzip with something before it": ("", b"OK\xff" + gzip.compress(TEXT)),
    "four times": ("gzip, gzip, gzip, gzip", gzip.compress(TEXT)),
    "nothing but its head": ("gzip", gzip.compress(TEXT)[:10]),
}


@pytest.mark.parametrize("name", HIDING)
def test_bytes_in_which_a_secret_could_hide_are_never_kept(name: str) -> None:
    encoding, body = HIDING[name]
    answer, exchange = answered(body, f"Content-Encoding: {encoding}")
    assert not found(exchange.body, CANARY)
    assert body not in exchange.body
    assert f"{len(body)} bytes" in exchange.detail
    assert sha256(body).hexdigest() in exchange.detail
    assert answer is None or answer.json() is None


@pytest.mark.parametrize(("encoding", "body"), [("gzip", TEXT), ("br", TEXT), ("deflate", TEXT)])
def test_a_text_that_is_said_to_be_compressed_and_is_not_is_kept(
    encoding: str, body: bytes
) -> None:
    answer, exchange = answered(body, f"Content-Encoding: {encoding}")
    assert (answer, exchange.fault) == (None, "bad_encoding")
    assert json.loads(exchange.body)["note"] == f"you sent {mask(SECRET)}"


def test_of_a_compressed_body_that_was_cut_the_beginning_is_kept() -> None:
    packed = gzip.compress(TEXT * 100, 0)
    part = packed[: len(packed) // 2]
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    kept = Kept()
    with (
        raw_server(sending(head + part, then_close=True)) as server,
        client_of(server.url, secrets=(SECRET,), kept=kept) as (client, _),
        pytest.raises(OutcomeUnknown, match="connection_lost"),
    ):
        client.send("GET", "/", purpose="fetch")
    exchange = kept.exchanges[0]
    assert exchange.body.startswith(b'{"note": "you sent [masked')
    assert not found(exchange.body, CANARY)
    assert "that could be unpacked are kept" in exchange.detail


def test_a_secret_at_the_edge_of_what_is_kept_is_masked_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unpacking, "LARGEST_INFLATED", 2000)
    for edge in range(0, len(SECRET) + 4):
        monkeypatch.setattr(unpacking, "KEPT_OF_TOO_LARGE", 100 + edge)
        packed = gzip.compress(b"y" * 101 + SECRET.encode() + b"z" * 5000)
        _, exchange = answered(packed, "Content-Encoding: gzip")
        assert exchange.fault == "too_large"
        assert SECRET[:4].encode() not in exchange.body


def test_a_secret_cut_by_the_largest_body_or_a_lost_connection_is_masked() -> None:
    for size in range(4, len(SECRET)):
        body = b'{"note": "' + SECRET[:size].encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"
        kept = Kept()
        with (
            raw_server(sending(head + body, then_close=True)) as server,
            client_of(server.url, secrets=(SECRET,), kept=kept) as (client, _),
            pytest.raises(OutcomeUnknown, match="connection_lost"),
        ):
            client.send("GET", "/", purpose="fetch")
        assert kept.exchanges[0].body == b'{"note": "' + mask(SECRET).encode()


@pytest.mark.parametrize("charset", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
def test_a_text_in_another_charset_is_masked_and_can_still_be_read(charset: str) -> None:
    text = f'{{"note": "für {SECRET} und mehr"}}'
    _, exchange = answered(text.encode(charset), "Content-Type: application/json")
    assert not found(exchange.body, CANARY)
    assert json.loads(exchange.body.decode(charset))["note"] == f"für {mask(SECRET)} und mehr"


def test_a_page_in_an_old_charset_is_kept() -> None:
    page = "<h1>Wartungsarbeiten für Sie</h1>".encode("latin-1")
    _, exchange = answered(page, status="503 Unavailable")
    assert exchange.body == page


def test_an_answer_that_repeats_what_was_sent_is_masked_without_learning_it() -> None:
    signature = "c2lnbmF0dXJlLW9mLXRoaXMtb25lLWNhbGw9"
    body = f"<p>{signature}</p>".encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    with raw_server(sending(head + body)) as server, client_of(server.url) as (client, kept):
        client.send(
            "GET",
            "/",
            purpose="fetch",
            sign=lambda _: {"Signature": f'keyid="k", signature="{signature}"'},
        )
    assert kept.exchanges[0].body == f"<p>{mask(signature)}</p>".encode()


def test_an_error_that_quotes_a_masked_header_is_masked() -> None:
    head = b"HTTP/1.1 200 OK\r\nX-Odd: Zm9yZWlnbi1zZWNyZXQtdmFsdWU\r\n"
    body = b"Transfer-Encoding: chunked\r\n\r\nZm9yZWlnbi1zZWNyZXQtdmFsdWU\r\n"
    kept = Kept()
    with (
        raw_server(sending(head + body, then_close=True)) as server,
        client_of(server.url, kept=kept) as (client, _),
        pytest.raises(OutcomeUnknown) as caught,
    ):
        client.send("GET", "/", purpose="fetch")
    assert "Zm9yZWln" not in kept.exchanges[0].detail + str(caught.value)
    assert "InvalidChunkLength" in kept.exchanges[0].detail


# Who asked


def test_the_caller_sees_what_is_on_record_and_no_secret() -> None:
    body = json.dumps({"message": f"bad {SECRET}", "access_token": "tok-1234567"}).encode()
    answer, exchange = answered(body, f"Retry-After: {SECRET}", "Set-Cookie: sid=12345678")
    assert answer is not None
    assert answer.body == exchange.body
    assert not found(repr(answer).encode(), {**CANARY, "cookie": b"sid=12345678"})


def test_whoever_signs_in_gets_the_token_and_nothing_else_that_is_secret() -> None:
    said = {"access_token": "tok-1234567", "refresh_token": "ref-1234567", "m": SECRET}
    answer, exchange = answered(json.dumps(said).encode(), purpose="token")
    assert answer is not None
    assert answer.object() == {
        "access_token": "tok-1234567",
        "refresh_token": mask("ref-1234567"),
        "m": mask(SECRET),
    }
    assert b"tok-1234567" not in exchange.body


def test_a_sign_in_that_is_refused_gets_no_token() -> None:
    said = {"access_token": "tok-1234567", "message": f"not {SECRET}"}
    answer, _ = answered(json.dumps(said).encode(), purpose="token", status="401 No")
    assert answer is not None
    assert answer.object() == {
        "access_token": mask("tok-1234567"),
        "message": f"not {mask(SECRET)}",
    }


def test_a_bomb_within_a_bomb_is_cut_off() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    found_ = unpack(gzip.compress(bomb), "gzip, gzip")
    assert (found_.fault, len(found_.body)) == ("too_large", unpacking.KEPT_OF_TOO_LARGE)
