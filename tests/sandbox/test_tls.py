"""The listeners that speak TLS, as Annul's own client sees them."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import requests

from providers.errors import NotSent, OutcomeUnknown
from providers.exchange import Exchange, OutgoingRequest
from providers.http import Client
from providers.redaction import Redactor
from providers.sandbox import SandboxServer, running
from providers.sandbox.certificates import LISTENERS

PING = "/teos/odata/v1.1/Ping"


@dataclass
class Kept:
    """A recorder that forbids nothing."""

    exchanges: list[Exchange] = field(default_factory=list)

    def before(self, request: OutgoingRequest) -> None:
        pass

    def gate(self) -> None:
        pass

    def after(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with running(tls=True) as started:
        yield started


def ping(server: SandboxServer, listener: str, ca_bundle: str) -> tuple[Exchange, int]:
    """One call; how it ended and how many requests arrived."""
    before, kept = len(server.control.log()), Kept()
    origin = server.tls_origins[listener]
    client = Client(origin, redactor=Redactor([]), recorder=kept, ca_bundle=ca_bundle)
    try:
        client.send("GET", PING, purpose="check")
    except (NotSent, OutcomeUnknown) as error:
        assert isinstance(error, NotSent) != kept.exchanges[0].sent
    finally:
        client.close()
    return kept.exchanges[0], len(server.control.log()) - before


def test_every_listener_has_an_origin_of_its_own(server: SandboxServer) -> None:
    assert set(server.tls_origins) == set(LISTENERS)
    assert len(set(server.tls_origins.values())) == len(LISTENERS)


def test_a_certificate_of_an_authority_that_is_trusted_is_good(server: SandboxServer) -> None:
    exchange, arrived = ping(server, "trusted", str(server.ca_bundle))
    assert (exchange.sent, exchange.status, exchange.fault, arrived) == (True, 401, "", 1)


def test_an_authority_that_nobody_named_is_not_trusted(server: SandboxServer) -> None:
    exchange, arrived = ping(server, "trusted", "")
    assert (exchange.sent, exchange.status, exchange.fault, arrived) == (False, None, "tls", 0)


@pytest.mark.parametrize("listener", ["untrusted", "wrong_host", "expired"])
def test_a_certificate_that_is_not_good_keeps_every_byte_back(
    server: SandboxServer, listener: str
) -> None:
    exchange, arrived = ping(server, listener, str(server.ca_bundle))
    assert (exchange.sent, exchange.fault, arrived) == (False, "tls", 0)


def test_an_alert_after_the_request_proves_nothing(server: SandboxServer) -> None:
    exchange, arrived = ping(server, "alert_after_send", str(server.ca_bundle))
    assert (exchange.sent, exchange.fault, arrived) == (True, "tls", 0)


def test_an_expired_certificate_is_told_as_such(server: SandboxServer) -> None:
    with pytest.raises(requests.exceptions.SSLError, match="expired"):
        requests.get(server.tls_origins["expired"], verify=str(server.ca_bundle), timeout=5)
