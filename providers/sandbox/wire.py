"""HTTP/1.1 as the sandbox needs it: a request parser and the bytes of an answer.

Written by hand, because a server that can stop in the middle of a status line
must own every byte it sends.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, unquote

MAX_HEAD = 64 * 1024
MAX_BODY = 16 * 1024 * 1024
BODILESS = frozenset({204, 304})


class BadRequestError(ValueError):
    """The bytes received are not an HTTP request the sandbox understands."""


@dataclass(slots=True)
class Request:
    """One request as read from the socket; ``target`` is exactly what was sent."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""
    peer: str = ""
    keep_alive: bool = True

    @property
    def path(self) -> str:
        """The target without its query, still percent-encoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, list[str]]:
        """The query's values by name, in the order sent, blank values kept."""
        return parse_qs(self.target.partition("?")[2], keep_blank_values=True)

    @property
    def media_type(self) -> str:
        """The Content-Type without its parameters, lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(slots=True)
class Response:
    """One answer: status, headers and the body as the client should decode it."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    def encode(self, *, keep_alive: bool = True) -> bytes:
        """Head and body as sent on the wire."""
        return self.head(len(self.body), keep_alive=keep_alive) + self.body

    def head(self, length: int | None, *, keep_alive: bool = True) -> bytes:
        """Status line and headers; no Content-Length where ``length`` is None."""
        lines = [f"HTTP/1.1 {self.status} {_phrase(self.status)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if length is not None and self.status not in BODILESS:
            lines.append(f"Content-Length: {length}")
        if not keep_alive:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def json_response(status: int, value: Any, **headers: str) -> Response:
    """An answer whose body is ``value`` as UTF-8 JSON."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Response(status, body, {"Content-Type": "application/json", **named})


def html_response(status: int, title: str) -> Response:
    """A page such as a gateway in front of the provider would send."""
    head = f"<!DOCTYPE html><html><head><title>{title}</title></head>"
    page = f"{head}<body><h1>{title}</h1></body></html>"
    return Response(status, page.encode(), {"Content-Type": "text/html; charset=utf-8"})


def unquoted(text: str) -> str:
    """One path segment with its percent-encoding undone."""
    return unquote(text, errors="replace")


class Parser:
    """Cuts requests out of the bytes of one connection.

    Raises BadRequestError where the bytes cannot become a request any more.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Takes in what the socket delivered."""
        self._buffer += data

    def next_request(self) -> Request | None:
        """The next whole request, or None while bytes are missing."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD:
                raise BadRequestError("the head is too long")
            return None
        request = _parse_head(bytes(self._buffer[:end]))
        length = _body_length(request.headers)
        start = end + 4
        if len(self._buffer) < start + length:
            return None
        request.body = bytes(self._buffer[start : start + length])
        del self._buffer[: start + length]
        return request


def _parse_head(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BadRequestError("the request line is not METHOD TARGET HTTP/1.x")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequestError("a header line is malformed")
        key = name.lower()
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    keep = words[2] == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
    return Request(words[0], words[1], headers, keep_alive=keep)


def _body_length(headers: Mapping[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise BadRequestError("the sandbox takes Content-Length only")
    text = headers.get("content-length", "0")
    if not text.isdecimal() or int(text) > MAX_BODY:
        raise BadRequestError("the Content-Length is unusable")
    return int(text)
