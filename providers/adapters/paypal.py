"""PayPal Invoicing v2: one call per invoice, and a 204 that only a later read proves.

Sources: PayPal's reference "Invoices" (https://developer.paypal.com/docs/api/invoicing/v2/), the
authentication guide (https://developer.paypal.com/api/rest/authentication/) and the life cycle of
an invoice (https://docs.paypal.ai/growth/grow-business/invoicing/lifecycle).
"""

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, ClassVar
from urllib.parse import urlencode

from providers import money
from providers.adapters.base import (
    Adapter,
    CancelAnswer,
    CheckResult,
    CredentialField,
    Found,
    Option,
    Page,
    RemoteInvoice,
    Status,
    TokenCache,
    at,
    day,
    judge,
    judge_read,
    text,
    twice_on_401,
    unexpected,
)
from providers.errors import CredentialsRejected, NotSent, OutcomeUnknown, Refused, TryLater
from providers.exchange import Answer
from providers.http import Client

INVOICES = "/v2/invoicing/invoices"
SEARCH = "/v2/invoicing/search-invoices"
PAGE_SIZE = 100
LAST_PAGE = 1000
REACHABLE = PAGE_SIZE * LAST_PAGE
"""No query shows more: page_size ends at 100 and page at 1000 (reference, "List invoices")."""
FIRST_DAY = date(1998, 1, 1)
DAYS_AHEAD = timedelta(days=3660)

REFUSALS = {
    "CANNOT_CANCEL_DRAFT_INVOICE": ("draft", "a draft can be deleted at PayPal, not cancelled"),
    "CANNOT_CANCEL_SCHEDULED_INVOICE": ("scheduled", "it is scheduled and was not sent yet"),
    "CANNOT_CANCEL_PAID_INVOICE": ("paid", "it is paid, at least in part"),
    "CANNOT_CANCEL_REFUNDED_INVOICE": ("refunded", "it is refunded, at least in part"),
    "INVOICE_CANCELED_ALREADY": ("already_cancelled", "it is cancelled already"),
}
"""`details[].issue` of a 422 -> our code and why (reference, "Cancel sent invoice")."""

Ask = Callable[[int], "_Listing"]


@dataclass(frozen=True, slots=True)
class _Listing:
    """One page of a query. The totals are None where PayPal left them out."""

    entries: Sequence[object]
    pages: int | None
    rows: int | None


class PayPal(Adapter):
    """Cancels sent or shared invoices. PayPal never says whether it mailed anybody."""

    code = "paypal"
    label = "PayPal"
    environments: ClassVar[Mapping[str, str]] = {
        "sandbox": "https://api-m.sandbox.paypal.com",
        "live": "https://api-m.paypal.com",
    }
    credential_fields = (
        CredentialField(
            "client_id",
            "Client ID",
            secret=False,
            help="Of the REST app in PayPal's developer dashboard, under Apps & Credentials.",
        ),
        CredentialField(
            "client_secret",
            "Secret",
            secret=True,
            help="Of the same app. Sandbox and live have different ones, and the app needs the"
            " Invoicing feature switched on.",
        ),
    )
    options = (
        Option("notify_payer", "Mail the customer", "PayPal mails its own text, also to the CCs."),
        Option("notify_merchant", "Mail the merchant", "PayPal mails a copy to the merchant."),
    )
    # At most 30 characters by the reference, e.g. INV2-7QX2-LM4D-9RTA-K3ZP.
    reference_pattern = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,28}[A-Za-z0-9])?")
    # https://docs.paypal.ai/growth/grow-business/invoicing/lifecycle. Overdue is no status of
    # PayPal's. PAID_EXTERNAL, REFUNDED_EXTERNAL and SHARED occur in newer references without a
    # meaning: they stay unknown here.
    statuses: ClassVar[Mapping[str, Status]] = {
        "DRAFT": Status.DRAFT,
        "SCHEDULED": Status.SCHEDULED,
        "SENT": Status.OPEN,
        "UNPAID": Status.OPEN,
        "PARTIALLY_PAID": Status.PARTIALLY_PAID,
        "PAYMENT_PENDING": Status.PAYMENT_PENDING,
        "PAID": Status.PAID,
        "MARKED_AS_PAID": Status.PAID,
        "PARTIALLY_REFUNDED": Status.REFUNDED,
        "REFUNDED": Status.REFUNDED,
        "MARKED_AS_REFUNDED": Status.REFUNDED,
        "CANCELLED": Status.CANCELLED,
        "AUTO_CANCELLED": Status.CANCELLED,
    }
    cancellable = frozenset({Status.OPEN})
    settle = 120.0
    rate_per_second = 5.0

    def __init__(
        self, client: Client, credentials: Mapping[str, str], settings: Mapping[str, str]
    ) -> None:
        super().__init__(client, credentials, settings)
        self._tokens = TokenCache()

    @classmethod
    def consequences(cls, facts: Mapping[str, str], options: Mapping[str, bool]) -> tuple[str, ...]:
        """Cancelling ends the invoice; who is told depends on the two options."""
        customer = (
            "PayPal mails the customer, and every CC address on the invoice, in its own words."
            if options.get("notify_payer")
            else "PayPal is told not to mail the customer or the CC addresses on the invoice."
        )
        merchant = (
            "PayPal mails you, the merchant, a copy."
            if options.get("notify_merchant")
            else "PayPal is told not to mail you, the merchant."
        )
        return (
            "The customer can no longer pay the invoice. This cannot be undone.",
            customer,
            merchant,
            "Your reason stays in this back office: PayPal shows the customer no note.",
        )

    def cancel(
        self, references: Sequence[str], options: Mapping[str, bool]
    ) -> Mapping[str, CancelAnswer]:
        """Cancel one invoice: https://developer.paypal.com/docs/api/invoicing/v2/#invoices_cancel.

        A 204 is PayPal's yes and holds no proof. Raises `Refused` with the code `paid`, `draft`,
        `scheduled`, `refunded` or `already_cancelled`, or any other `ProviderError`.
        """
        (reference,) = references
        answer = self._call(
            "POST",
            f"{INVOICES}/{self.segment(reference)}/cancel",
            purpose="cancel",
            references=references,
            body=_notification(options),
        )
        if answer.status == 204:
            return {reference: CancelAnswer(confirmed=True, proven=False)}
        _refuse(answer)
        raise unexpected(
            f"PayPal answered {answer.status} where only 204 says cancelled.", answer.status
        )

    def fetch(self, references: Sequence[str]) -> Found:
        """Read one invoice: https://developer.paypal.com/docs/api/invoicing/v2/#invoices_get."""
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
            raise unexpected("PayPal answered without the invoice asked for.", answer.status)
        return Found({reference: invoice})

    def list(self, updated_since: datetime | None = None) -> Iterator[Page]:
        """All invoices, as their list entries state them; these hold all that we keep.

        PayPal has no filter for changes, so `updated_since` changes nothing. Beyond what one
        query can reach, the invoices are searched for by slices of their invoice date.
        """
        first = self._listed(1)
        if first.rows is not None and first.rows > REACHABLE:
            yield from self._slices(FIRST_DAY, datetime.now(UTC).date() + DAYS_AHEAD)
        else:
            yield from _walk(self._listed, first)

    def check(self) -> CheckResult:
        """A token and the first entry of the list, which shows that Invoicing is switched on."""
        query = urlencode({"page": 1, "page_size": 1, "total_required": "true"})
        answer = self._call("GET", f"{INVOICES}?{query}", purpose="check")
        if answer.status == 403:
            raise Refused(
                "forbidden",
                "PayPal knows the app, but it may not use Invoicing. After switching the feature"
                " on, the old token has to expire first, which takes up to nine hours.",
                provider_code=_issues(answer),
                status=403,
                pause_account=True,
            )
        _judge_read(answer)
        rows = _listing(answer).rows
        visible = "" if rows is None else f" {rows} invoices are visible."
        return CheckResult(f"PayPal accepts the credentials.{visible}")

    def _slices(self, start: date, end: date) -> Iterator[Page]:
        ask = partial(self._found, start, end)
        first = ask(1)
        if first.rows is None or first.rows <= REACHABLE:
            yield from _walk(ask, first)
        elif start < end:
            middle = start + (end - start) // 2
            yield from self._slices(start, middle)
            yield from self._slices(middle + timedelta(days=1), end)
        else:
            raise unexpected(f"{first.rows} invoices of {start}: PayPal lists {REACHABLE} a day.")

    def _listed(self, page: int) -> _Listing:
        answer = self._call("GET", f"{INVOICES}?{_page_query(page)}", purpose="list")
        _judge_read(answer)
        return _listing(answer)

    def _found(self, start: date, end: date, page: int) -> _Listing:
        span = {"start": start.isoformat(), "end": end.isoformat()}
        body = json.dumps({"invoice_date_range": span}).encode()
        answer = self._call("POST", f"{SEARCH}?{_page_query(page)}", purpose="list", body=body)
        _judge_read(answer)
        return _listing(answer)

    def _call(
        self,
        method: str,
        path: str,
        *,
        purpose: str,
        references: Sequence[str] = (),
        body: bytes | None = None,
    ) -> Answer:
        token = ""

        def send() -> Answer:
            nonlocal token
            token = self._tokens.get(self._new_token)
            headers = {"Authorization": f"Bearer {token}"}
            if body is not None:
                headers["Content-Type"] = "application/json"
            return self.client.send(
                method, path, purpose=purpose, references=references, headers=headers, body=body
            )

        return twice_on_401(send, lambda: self._tokens.drop(token))

    def _new_token(self) -> tuple[str, float]:
        """A token and its life in seconds, by client id and secret.

        Without a token the call that needed it is not made, whatever became of the token request.
        So its failures are `NotSent` (code `no_token`), `TryLater` for 429, and
        `CredentialsRejected`; never `OutcomeUnknown`. When the call itself was answered with 401
        before, that 401 proves that it was not carried out.
        """
        pair = f"{self.credentials['client_id']}:{self.credentials['client_secret']}"
        basic = base64.b64encode(pair.encode()).decode()
        self.client.learn(basic)
        try:
            answer = self.client.send(
                "POST",
                "/v1/oauth2/token",
                purpose="token",
                headers={
                    "Authorization": f"Basic {basic}",
                    "Content-Type": "application/x-www-form-urlencoded",
                },
                body=b"grant_type=client_credentials",
            )
        except OutcomeUnknown as lost:
            raise NotSent("no_token", f"No token from PayPal: {lost.message}") from None
        token, lifetime = _token_in(answer)
        self.client.learn(token)
        return token, lifetime


_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")
_LIFETIME = 600.0
"""Seconds that a token is used when PayPal does not say how long it lives."""


def _token_in(answer: Answer) -> tuple[str, float]:
    if answer.status == 429:
        raise TryLater("PayPal asks for fewer calls.", retry_after=answer.retry_after, status=429)
    error = text(at(answer.object(), "error") or at(answer.object(), "name"))
    # The token endpoint has the shape of OAuth, gateways before it that of the other endpoints;
    # OAuth lets a server reject a client by 400 as well (RFC 6749, section 5.2).
    rejected = error in ("invalid_client", "unauthorized_client", "NOT_AUTHORIZED")
    if answer.status == 401 or (rejected and answer.status in (400, 403)):
        raise CredentialsRejected(
            f"PayPal rejected the client ID and secret: {error or 'HTTP 401'}",
            status=answer.status,
        )
    token, lifetime = at(answer.object(), "access_token"), at(answer.object(), "expires_in")
    if answer.status != 200 or not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise NotSent(
            "no_token",
            f"No token from PayPal: HTTP {answer.status} {error}".rstrip(),
            provider_code=error[:100],
            status=answer.status,
            pause_account=300 <= answer.status < 400,
        )
    return token, _seconds(lifetime)


def _seconds(value: object) -> float:
    plain = money.whole(value)
    return _LIFETIME if plain is None or plain <= 0 else float(min(plain, 86_400))


def _notification(options: Mapping[str, bool]) -> bytes:
    """Both switches always: left out, PayPal would mail the customer.

    Left out, `additional_recipients` means every CC address on the invoice, so an empty array is
    sent when the customer is not to be told. The schema allows it (0 to 100 entries); that PayPal
    then mails none of them is not stated anywhere.
    """
    content: dict[str, object] = {
        "send_to_recipient": bool(options.get("notify_payer")),
        "send_to_invoicer": bool(options.get("notify_merchant")),
    }
    if not content["send_to_recipient"]:
        content["additional_recipients"] = []
    return json.dumps(content).encode()


def _refuse(answer: Answer) -> None:
    """Raise what an answer other than 2xx means for a cancellation."""
    issues, debug = _issues(answer), text(at(answer.object(), "debug_id"), 60)
    reference = f" (debug id {debug})" if debug else ""
    known = {issue for issue in issues.split(" ") if issue in REFUSALS}
    if answer.status == 422 and len(known) == 1:
        code, reason = REFUSALS[known.pop()]
        message = f"PayPal refused: {reason}{reference}."
        raise Refused(code, message, provider_code=issues[:100], status=422)
    said = " ".join(dict.fromkeys((_name(answer), issues)))
    judge(answer, provider_code=issues, message=said + reference)


def _judge_read(answer: Answer) -> None:
    judge_read(answer, provider_code=_issues(answer), message=_name(answer))


def _name(answer: Answer) -> str:
    said = answer.object()
    return text(said.get("name") or said.get("error"), 100) or f"HTTP {answer.status}"


def _issues(answer: Answer) -> str:
    """Every `details[].issue`, or the error's name where there are no details."""
    details = answer.object().get("details")
    found = [text(at(one, "issue"), 60) for one in details] if isinstance(details, list) else []
    return " ".join(dict.fromkeys(issue for issue in found if issue)) or _name(answer)


def _page_query(page: int) -> str:
    return urlencode({"page": page, "page_size": PAGE_SIZE, "total_required": "true"})


def _listing(answer: Answer) -> _Listing:
    said = answer.object()
    rows, pages = _count(said.get("total_items")), _count(said.get("total_pages"))
    entries = said.get("items", [] if rows == 0 else None)
    if not isinstance(entries, list):
        raise unexpected("PayPal answered without a list of invoices.", answer.status)
    return _Listing(entries, pages, rows)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _walk(ask: Ask, listing: _Listing) -> Iterator[Page]:
    """All pages of a query, up to the last by PayPal's own count, else up to an empty one."""
    number = 1
    while listing.entries:
        yield _page(listing.entries)
        if listing.pages is not None and number >= listing.pages:
            return
        if number == LAST_PAGE:
            raise unexpected(f"PayPal lists no more than {REACHABLE} invoices by one query.")
        number += 1
        listing = ask(number)


def _page(entries: Sequence[object]) -> Page:
    read = [_invoice(entry) for entry in entries]
    invoices = [invoice for invoice in read if invoice is not None]
    return Page(invoices, unreadable=len(read) - len(invoices))


def _invoice(raw: object) -> RemoteInvoice | None:
    """An invoice, full or condensed; None for what has no usable id."""
    reference = at(raw, "id")
    if not isinstance(raw, dict) or not isinstance(reference, str):
        return None
    if not PayPal.accepts(reference):
        return None
    currency, billing = _currency(raw), at(raw, "primary_recipients", 0, "billing_info")
    exponent, word = money.exponent_of(currency), text(raw.get("status"), 60)
    return RemoteInvoice(
        reference=reference,
        number=text(at(raw, "detail", "invoice_number"), 127),
        customer_name=_customer(billing),
        customer_email=text(at(billing, "email_address"), 254),
        currency=currency,
        exponent=exponent,
        amount_minor=_minor(raw.get("amount"), currency, exponent),
        balance_minor=_minor(raw.get("due_amount"), currency, exponent),
        status=PayPal.status_of(word),
        provider_status=word,
        issued_on=day(at(raw, "detail", "invoice_date")),
        due_on=day(at(raw, "detail", "payment_term", "due_date")),
        raw=raw,
    )


def _currency(raw: Mapping[str, Any]) -> str:
    stated = at(raw, "amount", "currency_code") or at(raw, "detail", "currency_code")
    return stated if isinstance(stated, str) and re.fullmatch("[A-Z]{3}", stated) else ""


def _minor(amount: object, currency: str, exponent: int) -> int | None:
    """Minor units of an amount in the invoice's currency; None where it is in another one."""
    if not currency or at(amount, "currency_code") not in (None, currency):
        return None
    return money.to_minor(at(amount, "value"), exponent)


def _customer(billing: object) -> str:
    parts = (at(billing, "name", "given_name"), at(billing, "name", "surname"))
    names = (
        at(billing, "business_name"),
        at(billing, "name", "full_name"),
        " ".join(filter(None, map(text, parts))),
    )
    return next(filter(None, map(text, names)), "")
