"""Certificates for the listeners that speak TLS: one to be trusted, four that no client may accept.

All are made when the sandbox starts, in a folder of its own, by a test authority
whose key is thrown away at once. Nobody trusts it unless told to.
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ALERTING = "alert_after_send"
LISTENERS = ("trusted", "untrusted", "wrong_host", "expired", ALERTING)

AUTHORITY = "authority.pem"
_DAY = datetime.timedelta(days=1)
_ELSEWHERE = "somewhere-else.example"


@dataclass(frozen=True, slots=True)
class _Issuer:
    """Who signs: a name and its key."""

    name: x509.Name
    key: ec.EllipticCurvePrivateKey


def contexts(folder: Path, host: str) -> Mapping[str, ssl.SSLContext]:
    """Makes everything in ``folder``; the server side of each listener at ``host``.

    ``folder / AUTHORITY`` is what a client has to trust for "trusted"."""
    authority = _authority(folder)
    good = _serve(folder, "trusted", host, authority)
    wants_client = _serve(folder, ALERTING, host, authority)
    wants_client.verify_mode = ssl.CERT_REQUIRED
    wants_client.minimum_version = ssl.TLSVersion.TLSv1_3
    wants_client.load_verify_locations(folder / AUTHORITY)
    return {
        "trusted": good,
        "untrusted": _serve(folder, "untrusted", host, None),
        "wrong_host": _serve(folder, "wrong_host", _ELSEWHERE, authority),
        "expired": _serve(folder, "expired", host, authority, ended=_DAY),
        ALERTING: wants_client,
    }


def _authority(folder: Path) -> _Issuer:
    issuer = _Issuer(_name("Sandbox test authority"), _new_key())
    constraints = x509.BasicConstraints(ca=True, path_length=0)
    made = _builder(issuer.name, issuer.name, issuer.key, datetime.timedelta())
    signed = made.add_extension(constraints, critical=True).sign(issuer.key, hashes.SHA256())
    (folder / AUTHORITY).write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    return issuer


def _serve(
    folder: Path,
    listener: str,
    host: str,
    issuer: _Issuer | None,
    ended: datetime.timedelta | None = None,
) -> ssl.SSLContext:
    """A server's context with a certificate for ``host``; without an issuer it signs itself."""
    key = _new_key()
    name = _name(host)
    signer = issuer or _Issuer(name, key)
    made = _builder(name, signer.name, key, ended or datetime.timedelta())
    named = made.add_extension(x509.SubjectAlternativeName([_alternative(host)]), critical=False)
    signed = named.sign(signer.key, hashes.SHA256())
    file = folder / f"{listener}.pem"
    file.touch(mode=0o600)
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    ended: datetime.timedelta,
) -> x509.CertificateBuilder:
    """Good for a day around now; with ``ended`` it ran out that long ago."""
    now = datetime.datetime.now(datetime.UTC)
    end = now - ended if ended else now + _DAY
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - 2 * _DAY)
        .not_valid_after(end)
    )


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
