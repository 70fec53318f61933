"""Visa Acceptance (CyberSource) Invoicing v2: every request signed, a 200 that holds its proof.

Sources: the guide (https://developer.cybersource.com/docs/cybs/en-us/invoicing/developer/all/rest/
invoicing/invoicing-services-intro.html), the page on authentication
(https://developer.cybersource.com/products/authentication.html) and the official Python SDK
(https://github.com/CyberSource/cybersource-rest-client-python, `authenticationsdk`).
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from email.utils import formatdate
from typing import Any, ClassVar
from urllib.parse import urlencode
from uuid import uuid4

from providers import money
from providers.adapters.base import (
    Adapter,
    CancelAnswer,
    CheckResult,
    CredentialField,
    Found,
    Page,
    RemoteInvoice,
    SettingField,
    Status,
    at,
    day,
    judge,
    judge_read,
    text,
    twice_on_401,
    unexpected,
)
from providers.errors import CredentialsRejected, OutcomeUnknown
from providers.exchange import Answer, Wire

INVOICES = "/invoicing/v2/invoices"
PAGE_SIZE = 100
JWT_SECONDS = 120
WITH_BODY = ("POST", "PUT", "PATCH")


class VisaAcceptance(Adapter):
    """Cancels drafts and unpaid invoices. "Already cancelled" has no error code of its own."""

    code = "visa_acceptance"
    label = "Visa Acceptance"
    # The host is part of what is signed. India has production only.
    environments: ClassVar[Mapping[str, str]] = {
        "test": "https://apitest.visaacceptance.com",
        "production": "https://api.visaacceptance.com",
        "cybersource_test": "https://apitest.cybersource.com",
        "cybersource_production": "https://api.cybersource.com",
        "cybersource_india": "https://api.in.cybersource.com",
    }
    credential_fields = (
        CredentialField(
            "merchant_id",
            "Merchant ID",
            secret=False,
            help="The transacting merchant's id, as shown at the top of the Business Center.",
        ),
        CredentialField(
            "key_id",
            "Key ID",
            secret=False,
            help="Of a REST shared secret key: Business Center, Payment Configuration, Key"
            " Management.",
        ),
        CredentialField(
            "shared_secret",
            "Shared secret",
            secret=True,
            help="The base64 text shown once when that key was made. Test and production differ.",
        ),
    )
    setting_fields = (
        SettingField(
            "authentication",
            "Authentication",
            default="jwt",
            help="Both use the same key. HTTP Signature is being retired and ends in March 2027.",
            choices={"jwt": "JWT with shared secret", "http_signature": "HTTP Signature"},
        ),
    )
    reference_pattern = re.compile(r"[A-Za-z0-9]{1,26}")
    # Guide, "Get a list of invoices" and "Get invoice details". CREATED is published without a
    # mail, its link can be paid; PENDING is a payment under way or under review.
    statuses: ClassVar[Mapping[str, Status]] = {
        "DRAFT": Status.DRAFT,
        "CREATED": Status.OPEN,
        "SENT": Status.OPEN,
        "PENDING": Status.PAYMENT_PENDING,
        "PARTIAL": Status.PARTIALLY_PAID,
        "PAID": Status.PAID,
        "CANCELED": Status.CANCELLED,
    }
    # A draft too, as the official samples do: https://github.com/CyberSource/
    # cybersource-rest-samples-python, samples/Invoicing/Invoices/cancel-invoice.py.
    cancellable = frozenset({Status.DRAFT, Status.OPEN})
    settle = 120.0
    rate_per_second = 5.0

    @classmethod
    def consequences(cls, facts: Mapping[str, str], options: Mapping[str, bool]) -> tuple[str, ...]:
        """The same for every account: there is nothing to choose."""
        return (
            "The customer can no longer pay the invoice. This cannot be undone: a cancelled"
            " invoice cannot be sent, changed or cancelled again.",
            "Visa Acceptance does not document whether it mails the customer, and there is no"
            " way to ask it not to.",
            "Your reason stays in this back office: Visa Acceptance takes no note.",
        )

    def cancel(
        self, references: Sequence[str], options: Mapping[str, bool]
    ) -> Mapping[str, CancelAnswer]:
        """Cancel one invoice by `POST .../{id}/cancelation` with the body `{}`.

        A 200 with this invoice as CANCELED is the proof. Paid, pending and already cancelled all
        look alike (400), so `ReadToDecide` is raised for them; else any other `ProviderError`.
        """
        (reference,) = references
        answer = self._call(
            "POST",
            f"{INVOICES}/{self.segment(reference)}/cancelation",
            purpose="cancel",
            references=references,
            body=b"{}",
        )
        judge(answer, provider_code=_reason(answer), message=_message(answer))
        said = answer.object()
        if answer.status != 200 or _id(said) != reference:
            raise unexpected("Visa Acceptance answered without this invoice.", answer.status)
        if said.get("status") != "CANCELED":
            word = text(said.get("status"), 60) or "nothing"
            raise unexpected(f"Visa Acceptance answered with the status {word}.", answer.status)
        return {reference: CancelAnswer(confirmed=True, proven=True)}

    def fetch(self, references: Sequence[str]) -> Found:
        """Read one invoice by `GET .../{id}`.

        A 400 means here that invoicing is switched off for the merchant: the read failed, and
        nothing is said about the invoice.
        """
        (reference,) = references
        answer = self._call(
            "GET",
            f"{INVOICES}/{self.segment(reference)}",
            purpose="fetch",
            references=references,
        )
        if answer.status == 404 and answer.object():
            return Found({}, missing=frozenset(references))
        _judge_read(answer)
        invoice = _invoice(answer.object())
        if invoice is None or invoice.reference != reference:
            raise unexpected(
                "Visa Acceptance answered without the invoice asked for.", answer.status
            )
        return Found({reference: invoice})

    def list(self, updated_since: datetime | None = None) -> Iterator[Page]:
        """All invoices. Entries lack e-mail, balance and history: each takes one more read.

        There is no filter for changes, so `updated_since` changes nothing. Only an empty page is
        the end, and the next page starts after as many as were shown, whatever was asked for.
        """
        offset = 0
        before: Sequence[object] = ()
        while entries := self._entries(offset, PAGE_SIZE, purpose="list"):
            if entries == before:
                raise unexpected("Visa Acceptance shows the same page again.")
            yield self._page(entries)
            offset, before = offset + len(entries), entries

    def check(self) -> CheckResult:
        """One entry of the list, which needs a good signature and invoicing switched on."""
        self._entries(0, 1, purpose="check")
        return CheckResult("Visa Acceptance accepts the key, and invoicing is switched on.")

    def _entries(self, offset: int, limit: int, *, purpose: str) -> Sequence[object]:
        query = urlencode({"offset": offset, "limit": limit})
        answer = self._call("GET", f"{INVOICES}?{query}", purpose=purpose)
        # "No invoices found." is a 404, for an empty account and after the last page.
        if answer.status == 404 and answer.object():
            return ()
        _judge_read(answer)
        entries = answer.object().get("invoices")
        if not isinstance(entries, list):
            raise unexpected("Visa Acceptance answered without a list.", answer.status)
        return entries

    def _page(self, entries: Sequence[object]) -> Page:
        invoices: list[RemoteInvoice] = []
        unreadable = 0
        for entry in entries:
            reference = _id(entry)
            if not self.accepts(reference):
                unreadable += 1
                continue
            try:
                invoices += self.fetch([reference]).invoices.values()
            except OutcomeUnknown as lost:
                if lost.code != "unexpected_answer":
                    raise
                unreadable += 1
        return Page(invoices, unreadable)

    def _call(
        self,
        method: str,
        path: str,
        *,
        purpose: str,
        references: Sequence[str] = (),
        body: bytes | None = None,
    ) -> Answer:
        headers = {"Content-Type": "application/json;charset=utf-8"} if body is not None else {}

        def send() -> Answer:
            return self.client.send(
                method,
                path,
                purpose=purpose,
                references=references,
                headers=headers,
                body=body,
                sign=self._sign,
            )

        # A signature may have come too late; each attempt is signed afresh, so that is all.
        return twice_on_401(send, lambda: None)

    def _sign(self, wire: Wire) -> Mapping[str, str]:
        if self.settings["authentication"] == "http_signature":
            return signature_headers(wire, self.credentials, formatdate(usegmt=True))
        return jwt_headers(wire, self.credentials, int(time.time()), str(uuid4()))


def jwt_headers(
    wire: Wire, credentials: Mapping[str, str], iat: int, jti: str
) -> Mapping[str, str]:
    """A JSON Web Token over one request, HS256 with the shared secret; `iat` in Unix seconds.

    As the official SDK does it (`authenticationsdk/jwt/Token.py`). Raises `CredentialsRejected`
    when the secret is no base64.
    """
    merchant = credentials["merchant_id"]
    claims: dict[str, object] = {
        "iat": iat,
        "exp": iat + JWT_SECONDS,
        "jti": jti,
        "iss": merchant,
        "v-c-merchant-id": merchant,
        "v-c-jwt-version": "2",
        "request-method": wire.method.upper(),
        "request-host": wire.host,
        "request-resource-path": wire.target,
    }
    if wire.method.upper() in WITH_BODY:
        # Here without the prefix that the Digest header of the other method has.
        claims |= {"digest": _digest(wire.body), "digestAlgorithm": "SHA-256"}
    header = {"alg": "HS256", "kid": credentials["key_id"], "typ": "JWT"}
    signed = f"{_segment(header)}.{_segment(claims)}"
    signature = base64.urlsafe_b64encode(_hmac(credentials, signed)).rstrip(b"=").decode()
    return {"Authorization": f"Bearer {signed}.{signature}"}


def signature_headers(wire: Wire, credentials: Mapping[str, str], date: str) -> Mapping[str, str]:
    """An HTTP Signature over one request; `date` as in a Date header (RFC 1123, GMT).

    As the official SDK does it (`authenticationsdk/http/GetSignatureParameter.py`), with the name
    `request-target` without parentheses. Raises `CredentialsRejected` when the secret is no
    base64.
    """
    merchant = credentials["merchant_id"]
    lines = {
        "host": wire.host,
        "date": date,
        "request-target": f"{wire.method.lower()} {wire.target}",
    }
    sent = {"Date": date, "v-c-merchant-id": merchant}
    if wire.method.upper() in WITH_BODY:
        sent["Digest"] = lines["digest"] = f"SHA-256={_digest(wire.body)}"
    lines["v-c-merchant-id"] = merchant
    message = "\n".join(f"{name}: {value}" for name, value in lines.items())
    signature = base64.b64encode(_hmac(credentials, message)).decode()
    sent["Signature"] = (
        f'keyid="{credentials["key_id"]}", algorithm="HmacSHA256",'
        f' headers="{" ".join(lines)}", signature="{signature}"'
    )
    return sent


def _digest(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def _segment(content: Mapping[str, object]) -> str:
    packed = json.dumps(content, separators=(",", ":"), sort_keys=True).encode()
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def _hmac(credentials: Mapping[str, str], message: str) -> bytes:
    try:
        key = base64.b64decode(credentials["shared_secret"].strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise CredentialsRejected(
            "The shared secret is not the base64 text that the Business Center showed; nothing"
            " was sent."
        )
    return hmac.digest(key, message.encode(), "sha256")


def _judge_read(answer: Answer) -> None:
    judge_read(answer, provider_code=_reason(answer), message=_message(answer))


def _reason(answer: Answer) -> str:
    """The provider's word for its no. The documents spell it variously; nothing hangs on it."""
    said = answer.object()
    return text(said.get("reason"), 100) or text(at(said, "response", "rmsg"), 100)


def _message(answer: Answer) -> str:
    said = answer.object()
    return text(said.get("message")) or _reason(answer)


def _invoice(raw: object) -> RemoteInvoice | None:
    """An invoice; None for what has no usable id."""
    reference = _id(raw)
    if not isinstance(raw, dict) or not VisaAcceptance.accepts(reference):
        return None
    amounts, customer = at(raw, "orderInformation", "amountDetails"), raw.get("customerInformation")
    currency, word = _currency(at(amounts, "currency")), text(raw.get("status"), 60)
    exponent = money.exponent_of(currency)
    return RemoteInvoice(
        reference=reference,
        number=text(at(raw, "invoiceInformation", "invoiceNumber"), 127) or reference,
        customer_name=text(at(customer, "name")) or text(at(customer, "company", "name")),
        customer_email=text(at(customer, "email"), 254),
        currency=currency,
        exponent=exponent,
        amount_minor=money.to_minor(at(amounts, "totalAmount"), exponent) if currency else None,
        balance_minor=money.to_minor(at(amounts, "balanceAmount"), exponent) if currency else None,
        status=VisaAcceptance.status_of(word),
        provider_status=word,
        issued_on=_issued_on(raw),
        due_on=day(at(raw, "invoiceInformation", "dueDate")),
        raw=raw,
    )


def _id(raw: object) -> str:
    """An entry's id; "" for none. Digits without quotes are taken, too."""
    stated = at(raw, "id")
    return str(stated) if isinstance(stated, str | int) and not isinstance(stated, bool) else ""


def _currency(stated: object) -> str:
    return stated if isinstance(stated, str) and re.fullmatch("[A-Z]{3}", stated) else ""


def _issued_on(raw: Mapping[str, Any]) -> date | None:
    """There is no issue date; the day it was made, else the first event of its history."""
    created = day(raw.get("createdDate"))
    history = raw.get("invoiceHistory")
    if created is not None or not isinstance(history, list):
        return created
    return min(filter(None, (day(at(event, "date")) for event in history)), default=None)
