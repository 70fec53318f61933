"""From where somebody acts: the network address of the request that is being answered.

The middleware says it, and every HistoryEvent that is made meanwhile carries it. Outside of a
request (the worker, a command) it is "".
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LOOPBACK = ip_address("127.0.0.1")

_present: ContextVar[str] = ContextVar("address", default="")


def address() -> str:
    """The address of whoever is being answered, "" for Annul itself."""
    return _present.get()


@contextmanager
def at(where: str) -> Iterator[None]:
    """While in here, whatever is done is done from this address."""
    token = _present.set(where)
    try:
        yield
    finally:
        _present.reset(token)


def network_address(remote: str, forwarded: str, proxies: Sequence[Network]) -> str:
    """The address behind our own proxies.

    `remote` is who connected, `forwarded` the X-Forwarded-For header, to whose right end each
    proxy added the one that it saw. Only what one of `proxies` added is believed.
    """
    seen = _parsed(remote) or LOOPBACK  # A Unix socket has no address.
    behind = [one.strip() for one in forwarded.split(",")]
    while behind and _is_within(seen, proxies):
        named = _parsed(behind.pop())
        if named is None:
            break
        seen = named
    return str(seen)


def _parsed(text: str) -> Address | None:
    """An address in plain form: without port and zone, IPv4 within IPv6 as IPv4."""
    bare = text.strip().partition("%")[0]
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    with suppress(ValueError):
        found = ip_address(bare)
        return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found
    return None


def _is_within(one: Address, networks: Sequence[Network]) -> bool:
    return any(one in network for network in networks)
