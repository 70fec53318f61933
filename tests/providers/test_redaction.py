"""What is stored, logged or shown holds no secret, and everything else unchanged."""

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.redaction import Redactor, mask

SECRET = 'p4ss/w+ord="ü"'


def encodings(secret: str) -> dict[str, bytes]:
    """The forms in which a secret may travel, made independently of the code under test."""
    raw = secret.encode()
    return {
        "plain": raw,
        "base64": base64.b64encode(raw),
        "base64 of a URL": base64.urlsafe_b64encode(raw).rstrip(b"="),
        "percent": quote(secret, safe="").encode(),
        "form": quote_plus(secret).encode(),
        "json": json.dumps(secret)[1:-1].encode(),
        "json with slashes escaped": json.dumps(secret)[1:-1].replace("/", "\\/").encode(),
    }


@pytest.mark.parametrize("form", encodings(SECRET))
def test_a_known_secret_is_masked_in_every_encoding(form: str) -> None:
    found = encodings(SECRET)[form]
    masked = Redactor([SECRET]).body(b'<p title="' + found + b'">' + found + b"</p>")
    assert found not in masked
    assert masked.count(mask(SECRET).encode()) == 2


@given(st.text(st.characters(codec="utf-8"), min_size=8, max_size=40))
def test_any_secret_is_gone_wherever_it_stood(secret: str) -> None:
    redactor = Redactor([secret])
    for found in encodings(secret).values():
        masked = redactor.body(b"\x00before " + found + b" after\xff")
        assert found not in masked.replace(mask(secret).encode(), b"")


def test_a_secret_within_a_longer_one_leaves_no_rest_of_the_longer_one() -> None:
    masked = Redactor(["abcdef", "abcdefghijkl"]).body(b"abcdefghijkl abcdef")
    assert masked == f"{mask('abcdefghijkl')} {mask('abcdef')}".encode()


def test_a_secret_learned_later_is_masked_from_then_on() -> None:
    redactor = Redactor()
    assert redactor.text("fresh-token") == "fresh-token"
    redactor.learn("fresh-token")
    assert redactor.text("fresh-token") == mask("fresh-token")


def test_a_mask_tells_length_and_digest_so_that_two_can_be_compared() -> None:
    assert mask("abcdef") == "[masked 6 chars sha256:bef57ec7]"
    assert mask("abcdef") != mask("abcdeg")


@pytest.mark.parametrize(
    ("before", "gone"),
    [
        (b'{"access_token": "A21AA.x-y", "expires_in": 5}', b"A21AA.x-y"),
        (b'{"access_token":"A21AA-cut off', b"A21AA"),
        (b'{"Client_Secret" : "with \\" quote"}', b"quote"),
        (b"grant_type=x&client_secret=abc%2F1&scope=y", b"abc%2F1"),
        (b"client_secret=abcdef", b"abcdef"),
        (b'"https://files.example/a?X-Amz-Signature=dead&b=c"', b"dead"),
        (b"https://files.example/a?b=c&amp;token=dead", b"dead"),
        (b"Authorization: Bearer abcdefghijklmnopqrstuvwxyz", b"abcdefghij"),
        (b'"authorization":"Basic YWJjOmRlZmdoaWprbG1ub3A="', b"YWJjOmRl"),
        (b"<pre>eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJhYmNkZSJ9.c2lnbmF0dXJlLWhlcmU</pre>", b"c2lnbmF0"),
    ],
)
def test_a_field_that_names_a_secret_is_masked_without_knowing_it(
    before: bytes, gone: bytes
) -> None:
    assert gone not in Redactor().body(before)
    assert b"[masked " in Redactor().body(before)


@pytest.mark.parametrize(
    "body",
    [
        b'{"id": "INV2-7QX2", "note": "Basic service, bearer of good news", "type": "Bearer"}',
        b'{"amount": "12.50", "link": "https://pay.example/p/2675?lang=de"}',
        bytes(range(256)),
        b"",
    ],
)
def test_what_is_no_secret_stays_as_it_was(body: bytes) -> None:
    assert Redactor([SECRET, "short"]).body(body) == body


@given(st.binary(max_size=200))
def test_no_bytes_whatever_they_are_are_a_crash(raw: bytes) -> None:
    Redactor([SECRET]).body(raw)


def test_masking_twice_changes_nothing_more() -> None:
    redactor = Redactor([SECRET])
    once = redactor.body(json.dumps({"client_secret": SECRET, "x": SECRET}).encode())
    assert redactor.body(once) == once


def test_only_headers_known_to_be_harmless_keep_their_value() -> None:
    redactor = Redactor([SECRET])
    pairs = [
        ("Content-Type", "application/json"),
        ("PayPal-Debug-Id", "ca447d91"),
        ("Retry-After", SECRET),
        ("Authorization", "Bearer x"),
        ("Set-Cookie", "sid=1"),
        ("Signature", 'keyid="k"'),
        ("X-Unheard-Of", "value"),
    ]
    kept = dict(redactor.headers(pairs))
    assert kept["Content-Type"] == "application/json"
    assert kept["PayPal-Debug-Id"] == "ca447d91"
    assert kept["Retry-After"] == mask(SECRET)
    for name in ("Authorization", "Set-Cookie", "Signature", "X-Unheard-Of"):
        assert kept[name].startswith("[masked ")
