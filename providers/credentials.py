"""Credentials at rest: encrypted, bound to their account, never shown by accident."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn, Self
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.views.decorators.debug import sensitive_variables

from providers.secret import Secret


class UnreadableCredentials(Exception):
    """The stored credentials cannot be opened: wrong keys, or not this account's."""


class Credentials(Mapping[str, str]):
    """Names and values of one account's credentials. Nothing shows a value but asking for it."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = {name: Secret(value) for name, value in values.items()}

    def __getitem__(self, name: str) -> str:
        return self._values[name].reveal()

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Credentials({', '.join(self._values)})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("Credentials are not to be pickled.")


@sensitive_variables()
def seal(credentials: Mapping[str, str], owner: UUID) -> bytes:
    """Encrypt for one account, with the first of CREDENTIAL_KEYS."""
    content = json.dumps({"owner": str(owner), "values": dict(credentials)})
    return _keys().encrypt(content.encode())


@sensitive_variables()
def unseal(sealed: bytes, owner: UUID) -> Credentials:
    """Decrypt with any of CREDENTIAL_KEYS; none stored gives none.

    Raises `UnreadableCredentials` for a missing key, a damaged or an exchanged value.
    """
    if not sealed:
        return Credentials({})
    try:
        content = json.loads(_keys().decrypt(bytes(sealed)))
    except (InvalidToken, ValueError):
        raise UnreadableCredentials("no key of CREDENTIAL_KEYS opens them") from None
    if content["owner"] != str(owner):
        raise UnreadableCredentials("they belong to another account")
    return Credentials(content["values"])


@sensitive_variables()
def reseal(sealed: bytes) -> bytes:
    """The same content under the first of CREDENTIAL_KEYS, for a change of keys."""
    return _keys().rotate(bytes(sealed))


@sensitive_variables()
def _keys() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.CREDENTIAL_KEYS])
