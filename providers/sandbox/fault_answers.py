"""The wrong answers: what a fault puts in place of what the provider would have said."""

from __future__ import annotations

import functools
import gzip
import json
import re
import zlib

from providers.sandbox.dialects.base import Call, Dialect
from providers.sandbox.faults import Fault
from providers.sandbox.wire import Response, html_response, json_response
from providers.sandbox.world import Invoice

BOMB_INFLATED = 16 * 1024 * 1024
OVERSIZE = 5 * 1024 * 1024
RESULT_IS_PLAIN = frozenset(("none", "slow", "stale_once"))


def answer_with(fault: Fault, dialect: Dialect, call: Call, real: Response) -> Response:
    """The answer that goes out; ``real`` is what would have been said."""
    name = fault.name
    if name in RESULT_IS_PLAIN or name.startswith("teos_"):
        return real
    if name in _MAKERS:
        return _MAKERS[name](dialect, call, real)
    status = re.match(r"\d{3}", name)
    if status:
        return _by_status(fault, dialect, call, int(status[0]))
    return _with_body(dialect, call, real)


def _by_status(fault: Fault, dialect: Dialect, call: Call, status: int) -> Response:
    if fault.name == "500_html" or status in (502, 504):
        return html_response(status, f"{status} from the gateway")
    if status in (302, 307):
        return Response(status, b"", {"Location": f"{dialect.prefix}/moved{call.path}"})
    response = dialect.problem(call, status)
    if fault.retry_after is not None:
        response.headers["Retry-After"] = fault.retry_after
    return response


def _with_body(dialect: Dialect, call: Call, real: Response) -> Response:
    """For faults that damage a body: the real answer, or the invoice where it has none."""
    if real.body:
        return real
    invoice = _concerned(call)
    return dialect.one(call, invoice) if invoice else json_response(200, {"ok": True})


def _other_invoice(dialect: Dialect, call: Call, real: Response) -> Response:
    concerned = set(call.ids)
    rows = call.account.invoices if call.account else {}
    others = [i for i in rows.values() if i.id not in concerned]
    cancelled = [i for i in others if i.status == dialect.words["cancelled"]]
    chosen = (cancelled or others)[:1]
    return dialect.one(call, chosen[0]) if chosen else json_response(200, {})


def _still_open(dialect: Dialect, call: Call, real: Response) -> Response:
    invoice = _concerned(call)
    if invoice is None:
        return json_response(200, {})
    if invoice.status == dialect.words["cancelled"] and invoice.previous:
        invoice = invoice.previous
    return dialect.one(call, invoice)


def _concerned(call: Call) -> Invoice | None:
    rows = call.account.invoices if call.account else {}
    return next((rows[i] for i in call.ids if i in rows), next(iter(rows.values()), None))


def _bad_gzip(dialect: Dialect, call: Call, real: Response) -> Response:
    whole = gzip.compress(_with_body(dialect, call, real).body or b"{}", mtime=0)
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    return Response(200, whole[:10] + b"\xff\x00 not deflate \xff" + whole[-4:], headers)


def _gzip_bomb(dialect: Dialect, call: Call, real: Response) -> Response:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    return Response(200, _bomb(), headers)


@functools.cache
def _bomb() -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = b" " * (1024 * 1024)
    parts = [packer.compress(block) for _ in range(BOMB_INFLATED // len(block))]
    return b"".join(parts) + packer.flush()


def _oversize(dialect: Dialect, call: Call, real: Response) -> Response:
    body = json.dumps({"padding": "x" * OVERSIZE}).encode()
    return Response(200, body, {"Content-Type": "application/json"})


_MAKERS = {
    "html_200": lambda d, c, r: html_response(200, "Please sign in"),
    "empty_200_where_body_due": lambda d, c, r: Response(200, b"", {"Content-Type": "text/plain"}),
    "json_not_object": lambda d, c, r: json_response(200, ["done", None, 1]),
    "unknown_2xx": lambda d, c, r: json_response(209, {"result": "SOMETHING_NEW"}),
    "json_other_invoice": _other_invoice,
    "json_status_still_open": _still_open,
    "bad_gzip": _bad_gzip,
    "gzip_bomb": _gzip_bomb,
    "oversize_body": _oversize,
}
