"""The two secrets of the audit: what seals rows, and what signs checkpoints.

The database holds neither. Who has the seal key can make a seal, who has the signing key a
checkpoint; who has both, and the checkpoint files, can write another history.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings

PublicKeys = dict[str, Ed25519PublicKey]
"""By their ids."""


class BadPublicKey(Exception):
    """Not 64 hexadecimal digits that are a key."""


def seal_key() -> bytes:
    """The master key, from which each row's own key is derived."""
    return base64.urlsafe_b64decode(settings.AUDIT_SEAL_KEY)


def row_key(master: bytes, number: int, layout: int, key: str) -> bytes:
    """The key of one seal. Revealing it opens this row to an outsider, and no other."""
    return hmac.digest(master, b"annul seal %d %d %b" % (number, layout, key.encode()), "sha256")


def digest(master: bytes, number: int, layout: int, key: str, canonical: bytes) -> bytes:
    """What a seal holds."""
    return hmac.digest(row_key(master, number, layout, key), canonical, "sha256")


def signing_key() -> Ed25519PrivateKey:
    """The key that signs new checkpoints."""
    return Ed25519PrivateKey.from_private_bytes(
        base64.urlsafe_b64decode(settings.AUDIT_SIGNING_KEY)
    )


def public_hex(key: Ed25519PublicKey) -> str:
    """A public key as it is told to auditors: 64 hexadecimal digits."""
    return key.public_bytes_raw().hex()


def key_id(key: Ed25519PublicKey) -> str:
    """The short name of a public key that stands in checkpoints."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def public_keys(given: Iterable[str] = ()) -> PublicKeys:
    """Those that were given, else ours and those we had before. Raises `BadPublicKey`."""
    keys = [_public_key(one) for one in given]
    if not keys:
        former = [_public_key(one) for one in settings.AUDIT_FORMER_PUBLIC_KEYS]
        keys = [signing_key().public_key(), *former]
    return {key_id(one): one for one in keys}


def is_signed(keys: PublicKeys, by: str, signature: bytes, message: bytes) -> bool:
    """Whether the key of that id is among `keys` and made the signature."""
    if by not in keys:
        return False
    try:
        keys[by].verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _public_key(text: str) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(text.strip()))
    except ValueError:
        raise BadPublicKey(f"{text!r} is no public key; it has 64 hexadecimal digits.") from None
