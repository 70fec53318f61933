"""Every step of a call to a provider, each of which can be made to break."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import requests
import urllib3

from invoices import recorder
from providers import exchange, http, transmission
from providers.redaction import Redactor

STEPS: dict[str, tuple[Any, str]] = {
    "the address is checked": (http, "_folded"),
    "the headers are prepared": (requests.PreparedRequest, "prepare_headers"),
    "the body is prepared": (requests.PreparedRequest, "prepare_content_length"),
    "the request is masked": (Redactor, "headers"),
    "the request is stored": (recorder, "request_row"),
    "a connection is chosen": (http.Client, "_session"),
    "the request is handed over": (requests.Session, "send"),
    "a connection is opened": (urllib3.connection.HTTPConnection, "_new_conn"),
    "the first byte is written": (transmission.Transmission, "about_to_write"),
    "the gate is passed": (recorder.DirectRecorder, "gate"),
    "the answer's head is read": (urllib3.connection.HTTPConnection, "getresponse"),
    "the answer's body is read": (urllib3.HTTPResponse, "stream"),
    "the answer is unpacked": (http, "unpack"),
    "the answer is searched": (http.Client, "_secrets_in"),
    "the answer is masked": (http, "masked"),
    "the answer is stored": (recorder, "response_row"),
    "the answer is handed over": (http, "_answer"),
    "the answer is parsed": (exchange.Answer, "object"),
}
ERRORS: dict[str, Callable[[str], Exception]] = {
    "a bug": RuntimeError,
    "of the network": requests.ConnectionError,
    "of a value": UnicodeError,
}


@contextmanager
def breaking(step: str, error: Callable[[str], Exception]) -> Iterator[list[str]]:
    """While this lasts, the step is done and then breaks, with all that it had in its message."""
    owner, name = STEPS[step]
    done = getattr(owner, name)
    broken: list[str] = []

    def breaks(*args: Any, **kwargs: Any) -> Any:
        result = done(*args, **kwargs)
        said = [_told(one) for one in (*args, *kwargs.values(), result)]
        broken.append(step)
        raise error(f"{step}: {said}")

    with patch.object(owner, name, breaks):
        yield broken


def _told(value: object) -> str:
    """What a careless message would tell of a thing."""
    if isinstance(value, requests.PreparedRequest):
        return f"{value.method} {value.url} {value.headers} {value.body!r}"
    if isinstance(value, requests.Response | urllib3.HTTPResponse):
        # Its headers may hold secrets that nobody knows of, and are nowhere told like this.
        return f"{value.status_code if isinstance(value, requests.Response) else value.status}"
    return str(value)
