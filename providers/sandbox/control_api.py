"""The control API: the methods of ``Control`` over HTTP, for the same machine only.

``POST /_control/<method>`` with a JSON object of its arguments answers
``{"result": ...}``; methods that only look also answer GET with a query.
Errors answer 400 ``{"error": ...}``.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from providers.sandbox.control import Control
from providers.sandbox.wire import Request, Response, json_response

LOOKS = frozenset(
    ("log", "stats", "invoice", "invoices", "ids", "faults", "switches", "cancels", "accounts")
)
ACTS = frozenset(
    (
        "add_account",
        "add_invoice",
        "cancel_elsewhere",
        "change",
        "clear",
        "clear_faults",
        "delete",
        "documented_limits",
        "expire_tokens",
        "limit",
        "pay",
        "pay_part",
        "reset",
        "set_credentials",
        "set_fault",
        "set_invoice",
        "set_status",
        "switch",
    )
)
PREFIX = "/_control/"


class ControlApi:
    """Answers requests below ``/_control/``."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def __call__(self, request: Request) -> Response:
        """Refuses other machines and browsers, then calls the method asked for."""
        if not _is_loopback(request.peer) or "origin" in request.headers:
            return json_response(403, {"error": "the control API answers this machine only"})
        name = request.path[len(PREFIX) :].strip("/")
        if name not in LOOKS and name not in ACTS:
            return json_response(404, {"error": f"no such operation: {name!r}"})
        if request.method != "POST" and (request.method != "GET" or name in ACTS):
            return json_response(405, {"error": "use POST"})
        return self._call(getattr(self._control, name), request)

    @staticmethod
    def _call(method: Callable[..., Any], request: Request) -> Response:
        try:
            return json_response(200, {"result": method(**_arguments(request))})
        except (TypeError, ValueError, KeyError) as error:
            return json_response(400, {"error": f"{type(error).__name__}: {error}"})


def _arguments(request: Request) -> dict[str, Any]:
    if request.method == "GET":
        given = {name: values[-1] for name, values in request.query.items()}
        return {name: int(text) if name == "since" else text for name, text in given.items()}
    arguments = json.loads(request.body or b"{}")
    if not isinstance(arguments, dict):
        raise TypeError("the body is not a JSON object")
    return arguments


def _is_loopback(peer: str) -> bool:
    try:
        return ipaddress.ip_address(peer).is_loopback
    except ValueError:
        return False


class RemoteControlError(RuntimeError):
    """The control API refused."""


class RemoteControl:
    """The methods of ``Control`` on a sandbox in another process, by name."""

    def __init__(self, origin: str, seconds: float = 30.0) -> None:
        self.origin = origin
        self._seconds = seconds
        self._address = urlsplit(origin).netloc

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """A function that calls the method ``name``; keyword arguments only."""
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda **arguments: self._post(name, arguments)

    def _post(self, name: str, arguments: dict[str, Any]) -> Any:
        connection = http.client.HTTPConnection(self._address, timeout=self._seconds)
        try:
            connection.request("POST", PREFIX + name, json.dumps(arguments).encode())
            answer = connection.getresponse()
            body = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 200:
            raise RemoteControlError(body["error"])
        return body["result"]
