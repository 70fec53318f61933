"""The door to the outside: what may be believed after anything that can happen to a request."""

import datetime
import gzip
import socket
import ssl
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from providers import http
from providers.errors import NotSent, OutcomeUnknown
from providers.exchange import (
    Answer,
    Exchange,
    OutgoingRequest,
    Wire,
    parse,
    retry_after_seconds,
)
from providers.http import Client
from providers.redaction import mask
from tests.providers.scripted import Kept
from tests.providers.sockets import (
    OK,
    Behaviour,
    Raw,
    client_of,
    close_at_once,
    raw_server,
    sending,
    stall,
)

GENEROUS = 20.0
"""Seconds in which anything that was cut off must be over, however slow the machine."""


def get(client: Client, path: str = "/v1/invoices") -> Answer:
    return client.send("GET", path, purpose="fetch")


def lost(behave: Behaviour, *, seconds: float = 30.0, read: bool = True) -> tuple[str, Exchange]:
    """Send one cancel, which must end as unknown; our word for the fault, and the record."""
    with raw_server(behave, read=read) as server, client_of(server.url, seconds=seconds) as pair:
        client, kept = pair
        started = time.monotonic()
        with pytest.raises(OutcomeUnknown) as caught:
            client.send("POST", "/v1/cancel", purpose="cancel", body=b"{}")
        assert time.monotonic() - started < GENEROUS
    (exchange,) = kept.exchanges
    assert exchange.sent
    assert not exchange.complete
    assert exchange.fault == caught.value.code
    assert exchange.status == caught.value.status
    return caught.value.code, exchange


class Refusing(Kept):
    """A recorder that withdraws permission at the first byte, or before."""

    def __init__(self, *, at_gate: bool) -> None:
        super().__init__()
        self.at_gate = at_gate

    def before(self, request: OutgoingRequest) -> None:
        super().before(request)
        if not self.at_gate:
            raise NotSent("stopped", "The batch was stopped.")

    def gate(self) -> None:
        raise NotSent("lease_lost", "The lease has run out.")


# What came back


def test_a_complete_answer_is_returned_and_recorded() -> None:
    with raw_server(sending(OK)) as server, client_of(server.url) as (client, kept):
        answer = client.send("POST", "/a?b=c", purpose="cancel", references=("7",), body=b"[1]")
    assert (answer.status, answer.body, answer.object()) == (200, b"{}", {})
    (request,), (exchange,) = kept.requests, kept.exchanges
    assert (request.url, request.body, request.references) == (
        f"{server.url}/a?b=c",
        b"[1]",
        ("7",),
    )
    assert (exchange.request_id, exchange.sent, exchange.complete) == (request.id, True, True)
    assert (exchange.status, exchange.body, exchange.fault) == (200, b"{}", "")


def test_the_request_on_the_wire_is_the_one_that_was_recorded() -> None:
    with raw_server(sending(OK)) as server, client_of(server.url) as (client, kept):
        client.send("POST", "/a", purpose="cancel", headers={"X-Request-Extra": "1"}, body=b"{}")
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /a HTTP/1.1"
    assert body == b"{}"
    assert f"X-Request-Id: {kept.requests[0].id}" in lines
    assert "Accept-Encoding: identity" in lines
    names = {line.partition(":")[0].lower() for line in lines[1:]} - {"host"}
    assert names == {name.lower() for name, _ in kept.requests[0].headers}


def test_a_signer_sees_exactly_what_goes_over_the_wire() -> None:
    seen: list[Wire] = []

    def sign(wire: Wire) -> dict[str, str]:
        seen.append(wire)
        return {"X-Signed": "yes"}

    with raw_server(sending(OK)) as server, client_of(server.url + "/base") as (client, _):
        client.send("POST", "/a%20b?q=%26", purpose="cancel", body=b"\xff{}", sign=sign)
    (wire,), request = seen, server.requests[0]
    assert request.startswith(f"{wire.method} {wire.target} HTTP/1.1\r\n".encode())
    assert f"\r\nHost: {wire.host}\r\n".encode() in request
    assert request.endswith(b"\r\n\r\n" + wire.body)
    assert b"\r\nX-Signed: yes\r\n" in request
    assert b"\r\nContent-Length: 3\r\n" in request


def test_an_answer_of_no_content_leaves_the_connection_for_the_next_call() -> None:
    empty = sending(b"HTTP/1.1 204 No Content\r\n\r\n")
    with raw_server(empty) as server, client_of(server.url) as (client, _):
        assert [get(client).status for _ in range(3)] == [204, 204, 204]
    assert server.connections == 1


def test_a_connection_that_rested_too_long_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "IDLE_SECONDS", -1.0)
    with raw_server(sending(OK)) as server, client_of(server.url) as (client, _):
        get(client)
        get(client)
    assert server.connections == 2


def test_a_compressed_answer_is_unpacked_though_nobody_asked_for_one() -> None:
    body = gzip.compress(b'{"a": 1}')
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    with raw_server(sending(head + body)) as server, client_of(server.url) as (client, kept):
        assert get(client).object() == {"a": 1}
    assert kept.exchanges[0].body == b'{"a": 1}'


# What proves that nothing was sent


def test_a_refused_connection_is_provably_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with client_of(f"http://127.0.0.1:{port}") as (client, kept), pytest.raises(NotSent) as caught:
        get(client)
    assert caught.value.code == "unreachable"
    assert (kept.exchanges[0].sent, kept.exchanges[0].status) == (False, None)


def test_a_name_that_does_not_resolve_is_provably_not_sent() -> None:
    with (
        client_of("http://no-such-host.invalid") as (client, kept),
        pytest.raises(NotSent, match="dns"),
    ):
        get(client)
    assert not kept.exchanges[0].sent


def test_a_full_backlog_is_provably_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "CONNECT_SECONDS", 0.4)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(address)
        time.sleep(0.1)
        with (
            client_of(f"http://127.0.0.1:{address[1]}") as (client, kept),
            pytest.raises(NotSent) as caught,
        ):
            get(client)
        for one in crowd:
            one.close()
    assert caught.value.code == "unreachable"
    assert not kept.exchanges[0].sent


def test_a_deadline_that_passed_before_the_first_byte_sends_nothing() -> None:
    with (
        raw_server(sending(OK)) as server,
        client_of(server.url, seconds=0.0) as (client, kept),
        pytest.raises(NotSent) as caught,
    ):
        get(client)
    assert caught.value.code == "deadline_passed"
    assert not kept.exchanges[0].sent
    assert server.requests == []


def test_a_tls_handshake_that_never_ends_is_cut_off_and_provably_not_sent() -> None:
    with (
        raw_server(stall_forever, read=False) as server,
        client_of(f"https://127.0.0.1:{server.port}", seconds=0.4) as (client, kept),
    ):
        started = time.monotonic()
        with pytest.raises(NotSent) as caught:
            get(client)
        assert time.monotonic() - started < http.CONNECT_SECONDS
    assert caught.value.code == "deadline_passed"
    assert "may have" not in caught.value.message
    assert not kept.exchanges[0].sent


def stall_forever(connection: socket.socket, request: bytes) -> None:
    while connection.recv(65536):
        pass


def test_a_certificate_nobody_vouches_for_is_provably_not_sent(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*_self_signed(tmp_path))
    read: list[bytes] = []

    def speak_tls(connection: socket.socket, request: bytes) -> None:
        with suppress(OSError), context.wrap_socket(connection, server_side=True) as secure:
            read.append(secure.recv(65536))

    with (
        raw_server(speak_tls, read=False) as server,
        client_of(f"https://localhost:{server.port}") as (client, kept),
        pytest.raises(NotSent) as caught,
    ):
        get(client)
    assert caught.value.code == "tls"
    assert not kept.exchanges[0].sent
    assert b"".join(read) == b""


def _self_signed(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    today = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    crt, pem = folder / "crt.pem", folder / "key.pem"
    crt.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return crt, pem


def test_a_gate_that_closes_at_the_first_byte_lets_nothing_out() -> None:
    kept = Refusing(at_gate=True)
    with (
        raw_server(sending(OK)) as server,
        client_of(server.url, kept=kept) as (client, _),
        pytest.raises(NotSent) as caught,
    ):
        get(client)
    assert caught.value.code == "lease_lost"
    assert (kept.exchanges[0].sent, kept.exchanges[0].fault) == (False, "lease_lost")
    assert server.requests == []


def test_a_record_that_cannot_be_made_keeps_the_request_from_leaving() -> None:
    kept = Refusing(at_gate=False)
    with (
        raw_server(sending(OK)) as server,
        client_of(server.url, kept=kept) as (client, _),
        pytest.raises(NotSent, match="stopped"),
    ):
        get(client)
    assert server.connections == 0
    assert kept.exchanges == []


# What proves nothing


def test_a_connection_closed_as_it_was_accepted_proves_nothing() -> None:
    assert lost(close_at_once, read=False)[0] in ("connection_lost", "timeout")


def test_a_connection_closed_after_the_request_proves_nothing() -> None:
    code, exchange = lost(close_at_once)
    assert (code, exchange.status) == ("connection_lost", None)


def test_silence_ends_at_the_deadline_and_proves_nothing() -> None:
    code, exchange = lost(stall, seconds=0.5)
    assert (code, exchange.status) == ("deadline", None)


def test_a_read_timeout_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "READ_SECONDS", 0.3)
    assert lost(stall)[0] == "timeout"


def test_headers_that_drip_end_at_the_deadline() -> None:
    drip = sending(*(bytes([byte]) for byte in OK * 9), pause=0.1)
    assert lost(drip, seconds=0.6)[0] == "deadline"


def test_a_body_that_drips_ends_at_the_deadline_and_its_status_is_kept() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"
    code, exchange = lost(sending(head, *[b"x"] * 500, pause=0.1), seconds=0.7)
    assert (code, exchange.status) == ("deadline", 200)


def test_a_body_without_length_cut_at_our_deadline_is_no_success() -> None:
    def begin_and_stall(connection: socket.socket, request: bytes) -> None:
        connection.sendall(b'HTTP/1.1 200 OK\r\n\r\n{"a": 1}')
        stall(connection, request)

    code, exchange = lost(begin_and_stall, seconds=0.5)
    assert (code, exchange.status) == ("deadline", 200)


@pytest.mark.parametrize(
    "answer",
    [
        b'HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"status',
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{"status\r\nff\r\n{',
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{"status\r\n',
    ],
    ids=["short_body", "chunked_cut_within", "chunked_cut_between"],
)
def test_a_cut_body_is_unknown_and_what_came_is_kept(answer: bytes) -> None:
    code, exchange = lost(sending(answer, then_close=True))
    assert (code, exchange.status) == ("connection_lost", 200)
    assert exchange.body == b'{"status'[: len(exchange.body)]


@pytest.mark.parametrize("answer", [b"HTTP/1.1 2", b"HTTP/1.1 ", b"220 ready\r\n", b"\0" * 80])
def test_what_is_no_status_line_is_unknown(answer: bytes) -> None:
    code, exchange = lost(sending(answer, then_close=True))
    assert code in ("garbled", "connection_lost")
    assert exchange.status is None


def test_an_interim_answer_is_never_taken_for_the_answer_nor_its_sequel_for_the_next() -> None:
    def behave(connection: socket.socket, request: bytes) -> None:
        if request.startswith(b"GET /second"):
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        time.sleep(0.3)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with raw_server(behave) as server, client_of(server.url) as (client, kept):
        with pytest.raises(OutcomeUnknown):
            get(client, "/first")
        assert get(client, "/second").status == 404
    assert (kept.exchanges[0].status, kept.exchanges[0].fault) == (103, "garbled")


# What a provider could exhaust us with


def _bomb() -> bytes:
    pack = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    zeros = bytes(1024 * 1024)
    return b"".join(pack.compress(zeros) for _ in range(200)) + pack.flush()


@pytest.mark.parametrize("status", [b"200 OK", b"302 Found\r\nLocation: /elsewhere"])
def test_a_small_body_that_unpacks_to_200_megabytes_is_cut_off(status: bytes) -> None:
    body = _bomb()
    head = b"HTTP/1.1 %s\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    code, exchange = lost(sending(head % (status, len(body)) + body))
    assert code == "too_large"
    assert len(exchange.body) <= http.LARGEST_RAW


def test_a_body_larger_than_any_honest_one_is_cut_off() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n"
    code, exchange = lost(sending(head, *[bytes(65536)] * 60))
    assert (code, exchange.status) == ("too_large", 200)
    assert len(exchange.body) <= http.LARGEST_RAW + 65536


@pytest.mark.parametrize(
    "headers",
    [
        b"".join(b"X-%d: 1\r\n" % number for number in range(10_000)),
        b"X-Long: " + b"a" * 200_000 + b"\r\n",
        b"Content-Length: 1\r\nContent-Length: 2\r\n",
    ],
    ids=["10000_headers", "200_kB_header", "two_lengths"],
)
def test_a_head_that_is_no_head_is_unknown(headers: bytes) -> None:
    code, _ = lost(sending(b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n"))
    assert code in ("garbled", "connection_lost")


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"gzip, gzip", b"deflate"])
def test_a_compression_that_cannot_be_undone_is_unknown_and_its_bytes_are_not_kept(
    encoding: bytes,
) -> None:
    raw = b"\x1f\x8bxx\xff\xfe\x00"
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: " + encoding + b"\r\nContent-Length: 7\r\n\r\n"
    code, exchange = lost(sending(head + raw))
    assert (code, exchange.body) == ("bad_encoding", mask(raw).encode())
    assert f"7 bytes in {encoding.decode()}, SHA-256 {sha256(raw).hexdigest()}" in exchange.detail


# What must not leak, and what must not be obeyed


def test_a_redirect_is_answered_to_the_caller_and_not_followed() -> None:
    with raw_server(sending(OK)) as elsewhere:
        found = (
            f"HTTP/1.1 307 Temporary\r\nLocation: {elsewhere.url}/x\r\nContent-Length: 4\r\n\r\n"
        )
        with (
            raw_server(sending(found.encode() + b"moved"[:4])) as server,
            client_of(server.url) as (client, kept),
        ):
            answer = client.send(
                "POST", "/a", purpose="cancel", headers={"Authorization": "Bearer x"}, body=b"{}"
            )
    assert (answer.status, answer.body) == (307, b"move")
    assert kept.exchanges[0].body == b"move"
    assert elsewhere.connections == 0


def test_cookies_are_not_kept() -> None:
    cookie = b"HTTP/1.1 200 OK\r\nSet-Cookie: sid=abc; Path=/\r\nContent-Length: 2\r\n\r\n{}"
    with raw_server(sending(cookie)) as server, client_of(server.url) as (client, kept):
        get(client)
        get(client)
    assert b"cookie" not in server.requests[1].lower()
    assert "abc" not in str(kept.exchanges[0].headers)


def test_neither_netrc_nor_proxy_of_the_environment_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login someone password else\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with raw_server(sending(OK)) as server, client_of(server.url) as (client, _):
        get(client)
        client.send("GET", "/", purpose="fetch", headers={"Authorization": "Bearer ours"})
    assert b"authorization" not in server.requests[0].lower()
    assert b"Authorization: Bearer ours" in server.requests[1]


def test_nothing_secret_is_recorded_on_the_way_out_or_back() -> None:
    secret = "s3cret/with+odd=chars"
    body = f'{{"echo": "{secret}", "access_token": "A21AAfresh"}}'.encode()
    head = b"HTTP/1.1 200 OK\r\nX-Echo: %s\r\nContent-Length: %d\r\n\r\n"
    answer = head % (secret.encode(), len(body)) + body
    with (
        raw_server(sending(answer)) as server,
        client_of(server.url, secrets=(secret,)) as (client, kept),
    ):
        got = client.send(
            "POST",
            f"/a?key={quote(secret, safe='')}",
            purpose="cancel",
            headers={"Authorization": f"Bearer {secret}"},
            body=f'{{"client_secret": "{secret}"}}'.encode(),
        )
    recorded = repr((kept.requests, kept.exchanges, got))
    assert secret not in recorded
    assert quote(secret, safe="") not in recorded
    assert "A21AAfresh" not in recorded
    assert secret.encode() in server.requests[0]


def test_a_header_that_cannot_be_sent_is_not_quoted_in_the_error() -> None:
    with (
        raw_server(sending(OK)) as server,
        client_of(server.url) as (client, kept),
        pytest.raises(NotSent) as caught,
    ):
        client.send(
            "GET", "/", purpose="fetch", headers={"Authorization": "Bearer topsecret\r\nX: y"}
        )
    assert "topsecret" not in str(caught.value)
    assert (kept.requests, server.connections) == ([], 0)


# Where a request goes


@pytest.mark.parametrize(
    "path",
    [
        "/v1/receivables/../cancel",
        "/v1/receivables/./cancel",
        "/v1//cancel",
        "/v1/%2e%2e/cancel",
        "/v1/%2E%2E%2Fcancel/..",
        "/v1/a b/cancel",
        "/v1/ä/cancel",
        "/v1/a\r\nX: y/cancel",
        "/v1/a\tb/cancel",
        "/v1/a\0b/cancel",
        "/v1/a%/cancel",
        "@127.0.0.2/cancel",
        ":80@127.0.0.2/cancel",
        "1/cancel",
        ".example/cancel",
        "",
    ],
)
def test_an_address_other_than_the_one_meant_is_never_sent(path: str) -> None:
    kept = Kept()
    with (
        raw_server(sending(OK)) as server,
        client_of(server.url, kept=kept) as (client, _),
        pytest.raises(NotSent, match="bad_url"),
    ):
        get(client, path)
    assert kept.requests == []
    assert server.requests == []


@settings(max_examples=150)
@given(st.text(max_size=40))
def test_any_id_stays_within_its_segment_or_is_not_sent(reference: str) -> None:
    with raw_server_once() as server, client_of(server.url) as (client, _):
        before = len(server.requests)
        try:
            quoted = quote(reference, safe="")
        except UnicodeEncodeError:
            return
        try:
            client.send("POST", f"/v1/invoices/{quoted}/cancel", purpose="cancel", body=b"{}")
        except NotSent:
            assert reference in ("", ".", "..")
            assert len(server.requests) == before
            return
        assert server.requests[-1].startswith(f"POST /v1/invoices/{quoted}/cancel HTTP".encode())
        assert f"\r\nHost: 127.0.0.1:{server.port}\r\n".encode() in server.requests[-1]


_shared: list[Raw] = []


@pytest.fixture(scope="module", autouse=True)
def one_server_for_all_examples() -> Iterator[None]:
    with raw_server(sending(OK)) as server:
        _shared.append(server)
        yield
        _shared.clear()


@contextmanager
def raw_server_once() -> Iterator[Raw]:
    yield _shared[0]


# Reading what came


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff\xfe",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1, "a": 2}',
        b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"status": "CANC',
    ],
)
def test_what_is_not_unambiguously_json_is_none(body: bytes) -> None:
    assert parse(body) is None


def test_no_amount_passes_through_a_float() -> None:
    assert parse(b'{"a": 0.1, "b": 1e999, "c": 860.50, "d": 5}') == {
        "a": "0.1",
        "b": "1e999",
        "c": "860.50",
        "d": 5,
    }


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("5", 5.0),
        (" 7 ", 7.0),
        ("0", 1.0),
        ("-3", 1.0),
        ("999999", 3600.0),
        ("9" * 400, None),
        ("", None),
        ("soon", None),
        ("Fri, 20 Nov 2026 09:01:00 GMT", 60.0),
        ("Fri, 20 Nov 2020 09:00:00 GMT", 1.0),
    ],
)
def test_retry_after_is_read_and_bounded(value: str, seconds: float | None) -> None:
    assert retry_after_seconds(value, now=1795165200.0) == seconds


@given(st.text(max_size=60) | st.from_regex(r"[A-Z][a-z]{2}, \d+ Nov \d+ [\d:]+ .{0,5}"))
def test_no_retry_after_whatever_it_says_is_a_crash(value: str) -> None:
    seconds = retry_after_seconds(value)
    assert seconds is None or 1.0 <= seconds <= 3600.0
