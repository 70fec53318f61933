"""Monite receivables: a cancel answers 204 with nothing in it, so reading has to confirm it.

Facts come from Monite's OpenAPI description, published with its SDK at
https://github.com/team-monite/monite-sdk (packages/sdk-react/src/api/schema.json), and from the
guides at https://docs.monite.com that are linked where they matter.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from json import dumps
from typing import Any, ClassVar
from urllib.parse import urlencode

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
    TokenCache,
    at,
    day,
    judge,
    judge_read,
    text,
    twice_on_401,
    unexpected,
)
from providers.errors import CredentialsRejected, NotSent, OutcomeUnknown, TryLater
from providers.exchange import Answer
from providers.money import exponent_of, whole

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PAGE_SIZE = 100
_SHORT_LIFE = 60.0
"""Seconds that a token without a stated life is trusted."""


class Monite(Adapter):
    """One entity's receivables, by a partner token (`client_credentials`).

    References are the receivables' UUIDs in lower case: one spelling per invoice, so that no
    invoice can stand in our books twice. There is no filter on the time of the last change, so
    `list` always reads everything.
    """

    code = "monite"
    label = "Monite"
    # https://docs.monite.com/api/concepts/versioning: /v1 never changes, the header does.
    environments: ClassVar = {
        "sandbox": "https://api.sandbox.monite.com/v1",
        "production-eu": "https://api.monite.com/v1",
        "production-na": "https://us.api.monite.com/v1",
    }
    credential_fields = (
        CredentialField(
            "client_id",
            "Client id",
            secret=False,
            help="From the Monite partner portal. Each environment has its own.",
        ),
        CredentialField(
            "client_secret",
            "Client secret",
            secret=True,
            help="Belongs to the client id; shown only once by the Monite partner portal.",
        ),
        CredentialField(
            "entity_id",
            "Entity id",
            secret=False,
            help="The UUID of the company in Monite whose invoices these are.",
        ),
    )
    setting_fields = (
        SettingField(
            "version",
            "API version",
            default="2024-05-25",
            help="Sent as the x-monite-version header with every request.",
            choices={"2024-05-25": "2024-05-25", "2024-01-31": "2024-01-31"},
        ),
    )
    reference_pattern = _UUID
    # ReceivablesStatusEnum in
    # https://github.com/team-monite/monite-sdk/blob/main/packages/sdk-react/src/api/schema.json
    # Left out on purpose, so `unknown`: accepted, declined and expired are words for quotes;
    # failed (an e-invoice that could not be issued) and deleted have no counterpart among ours.
    statuses: ClassVar = {
        "draft": Status.DRAFT,
        "issuing": Status.SCHEDULED,
        "recurring": Status.SCHEDULED,
        "issued": Status.OPEN,
        "overdue": Status.OPEN,
        "partially_paid": Status.PARTIALLY_PAID,
        "paid": Status.PAID,
        "uncollectible": Status.WRITTEN_OFF,
        "canceled": Status.CANCELLED,
    }
    # The same schema lets issued and overdue be cancelled. Crediting the rest of a partially paid
    # invoice may leave it `paid` instead of `canceled`, so that one is not offered.
    cancellable: ClassVar = frozenset({Status.OPEN})
    fetch_limit = 50
    settle = 120.0
    # https://docs.monite.com/api/concepts/rate-limiting allows 30 a second.
    rate_per_second = 20.0

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._token = TokenCache()

    def cancel(
        self, references: Sequence[str], options: Mapping[str, bool]
    ) -> Mapping[str, CancelAnswer]:
        """Cancel one receivable; a 204 is Monite's yes, without proof in it.

        Raises `NotSent` ("no_token") when no token was to be had, `ReadToDecide` for 400, 409 and
        422 (Monite publishes no codes that tell "already cancelled" from "not allowed"), and the
        rest as `judge` does. No part of the API makes a repeated call harmless.
        """
        (reference,) = references
        path = f"/receivables/{self.segment(reference)}/cancel"
        answer = self._call("POST", path, "cancel", references)
        if answer.status != 204:
            raise unexpected("Monite answered the cancellation in an unknown way.", answer.status)
        return {reference: CancelAnswer(confirmed=True, proven=False)}

    def fetch(self, references: Sequence[str]) -> Found:
        """Read up to fifty by one request; Monite leaves unknown ids out without a word."""
        if not references:
            return Found({})
        ids = [("id__in", self.segment(one)) for one in references]
        query = urlencode([("type", "invoice"), ("limit", str(_PAGE_SIZE)), *ids])
        entries, more = self._page(query, "fetch", references)
        wanted = set(references)
        named = {text(at(entry, "id")).lower() for entry in entries}
        seen = named & wanted
        invoices = {one.reference: one for one in map(_invoice, entries) if one is not None}
        found = {key: one for key, one in invoices.items() if key in wanted}
        absent = frozenset(wanted - seen)
        unreadable = frozenset(seen - found.keys())
        # An entry that names no invoice may be any of those that seem to be absent.
        if more or "" in named:
            return Found(found, frozenset(), unreadable | absent)
        return Found(found, absent, unreadable)

    def list(self, updated_since: datetime | None = None) -> Iterator[Page]:
        """All invoices, oldest first. `updated_since` is ignored: Monite has no such filter."""
        first = {"type": "invoice", "limit": _PAGE_SIZE, "sort": "created_at", "order": "asc"}
        query, seen = urlencode(first), set[str]()
        while query:
            entries, more = self._page(query, "list")
            invoices = [one for one in map(_invoice, entries) if one is not None]
            yield Page(invoices, unreadable=len(entries) - len(invoices))
            if more in seen:
                raise unexpected("Monite's pages go round in a circle.")
            seen.add(more)
            # With a token every other parameter is ignored, except the limit.
            query = urlencode({"limit": _PAGE_SIZE, "pagination_token": more}) if more else ""

    def check(self) -> CheckResult:
        """Sign in and read the entity's settings, which say what a cancellation will do.

        Fact `receivable_edit_flow`: `compliant`, `non_compliant`, `partially_compliant`, or
        `unknown`. See https://docs.monite.com/docs/invoice-compliance-modes
        """
        answer = self._call("GET", f"/entities/{self._entity()}/settings", "check")
        settings = answer.object()
        if not settings:
            raise unexpected("Monite's settings of the entity were unreadable.", answer.status)
        flow = text(settings.get("receivable_edit_flow"), 40) or "unknown"
        return CheckResult(
            f"Signed in. Invoice compliance mode of the entity: {flow}.",
            {"receivable_edit_flow": flow},
        )

    @classmethod
    def consequences(cls, facts: Mapping[str, str], options: Mapping[str, bool]) -> tuple[str, ...]:
        """Whether the customer hears of it hangs on one setting of the entity.

        https://docs.monite.com/docs/invoice-compliance-modes
        """
        return (
            _CREDIT_NOTE.get(facts.get("receivable_edit_flow", ""), _CREDIT_NOTE_UNKNOWN),
            "The customer can no longer view or pay a cancelled invoice.",
            "Monite cannot undo a cancellation.",
        )

    def _page(
        self, query: str, purpose: str, references: Sequence[str] = ()
    ) -> tuple[Sequence[object], str]:
        """One page's entries, and the token of the next page or ""."""
        answer = self._call("GET", f"/receivables?{query}", purpose, references)
        page = answer.object()
        entries = page.get("data")
        if not isinstance(entries, Sequence) or isinstance(entries, str):
            raise unexpected("Monite's list of invoices was unreadable.", answer.status)
        return entries, text(page.get("next_pagination_token"), 5000)

    def _call(self, method: str, path: str, purpose: str, references: Sequence[str] = ()) -> Answer:
        """Send with a token, after a 401 once more with a new one; return a 2xx only."""
        entity, tokens = self._entity(), [""]

        def send() -> Answer:
            tokens[0] = self._token.get(self._sign_in)
            headers = {
                "Authorization": f"Bearer {tokens[0]}",
                "X-Monite-Version": self.settings["version"],
                "X-Monite-Entity-Id": entity,
            }
            return self.client.send(
                method, path, purpose=purpose, references=references, headers=headers
            )

        answer = twice_on_401(send, lambda: self._token.drop(tokens[0]))
        _judge(answer, purpose)
        return answer

    def _sign_in(self) -> tuple[str, float]:
        """A new token and its life in seconds, by
        https://docs.monite.com/api/access-tokens/post-auth-token

        Whatever goes wrong here, the request that wanted the token was not sent, and the error
        says so: `NotSent` ("no_token"), `TryLater` or `CredentialsRejected`.
        """
        answer = self._ask_for_token()
        status, message = answer.status, _message(answer) or f"HTTP {answer.status}"
        if status == 429:
            raise TryLater(
                "Monite asks for fewer sign-ins.", retry_after=answer.retry_after, status=status
            )
        if status == 401 or (status in (400, 403, 422) and answer.object()):
            raise CredentialsRejected(f"Monite rejected the credentials: {message}", status=status)
        token = answer.object().get("access_token")
        if status != 200 or not isinstance(token, str) or not token:
            raise _no_token(f"Monite handed out no token: {message}", status=status)
        self.client.learn(token)
        return token, float(whole(answer.object().get("expires_in")) or _SHORT_LIFE)

    def _ask_for_token(self) -> Answer:
        # The schema forbids additional properties: nothing but these three.
        payload = {
            "grant_type": "client_credentials",
            "client_id": self.credentials["client_id"],
            "client_secret": self.credentials["client_secret"],
        }
        headers = {
            "Content-Type": "application/json",
            "X-Monite-Version": self.settings["version"],
        }
        body = dumps(payload).encode()
        try:
            return self.client.send(
                "POST", "/auth/token", purpose="token", headers=headers, body=body
            )
        except OutcomeUnknown as error:
            raise _no_token(
                f"Signing in to Monite failed: {error.message}",
                status=error.status,
                pause_account=error.pause_account,
            ) from error

    def _entity(self) -> str:
        """The entity's id, checked before it gets near a URL or a header."""
        entity = self.credentials["entity_id"].strip().lower()
        if not _UUID.fullmatch(entity):
            raise CredentialsRejected("The entity id of the account is not a UUID.")
        return entity


_CREDIT_NOTE = {
    "compliant": (
        "Monite issues a credit note for the outstanding amount and sends it to the customer."
    ),
    "non_compliant": "Monite issues no credit note.",
}
_CREDIT_NOTE_UNKNOWN = (
    "Monite may issue a credit note for the outstanding amount and send it to the customer: it is "
    "not known what this entity's invoice compliance mode does. Test the connection to read the "
    "mode; unless it was changed, a credit note is issued and sent."
)


def _no_token(message: str, *, status: int | None = None, pause_account: bool = False) -> NotSent:
    return NotSent("no_token", message, status=status, pause_account=pause_account)


def _message(answer: Answer) -> str:
    """Monite's own words: `error.message`, a validation message, or a bare `message`."""
    said = answer.object()
    own = at(said, "error", "message") or at(said, "detail", 0, "msg") or said.get("message")
    return text(own)


def _judge(answer: Answer, purpose: str) -> None:
    said = answer.object()
    code = text(at(said, "error", "type") or at(said, "detail", 0, "type"))
    decide = judge_read if purpose in ("fetch", "list") else judge
    decide(answer, provider_code=code, message=_message(answer))


def _invoice(entry: object) -> RemoteInvoice | None:
    """An entry of the list in our words; None when it is no invoice, or no sense is in it."""
    if not isinstance(entry, dict) or entry.get("type") != "invoice":
        return None
    reference, word = text(entry.get("id")).lower(), text(entry.get("status"), 60)
    if not Monite.accepts(reference) or not word:
        return None
    currency = text(entry.get("currency"), 12)
    return RemoteInvoice(
        reference=reference,
        number=text(entry.get("document_id"), 150),
        customer_name=text(entry.get("counterpart_name")),
        customer_email=text(at(entry, "counterpart_contact", "email"), 254),
        currency=currency,
        exponent=exponent_of(currency),
        # Both are minor units already; the total may be absent and is then not guessed.
        amount_minor=whole(entry.get("total_amount")) if currency else None,
        balance_minor=whole(entry.get("amount_due")) if currency else None,
        status=Monite.status_of(word),
        provider_status=word,
        issued_on=day(entry.get("issue_date")),
        due_on=day(entry.get("due_date")),
        raw=entry,
        credited=word == "paid" and not _is_paid_in_full(entry),
    )


def _is_paid_in_full(entry: Mapping[str, Any]) -> bool:
    """Whether money alone has paid it.

    By Monite's guide to credit notes, crediting what is left of a partly paid invoice makes it
    `paid`, too, and a cancellation credits.
    """
    total, paid = whole(entry.get("total_amount")), whole(entry.get("amount_paid"))
    return total is not None and paid is not None and paid >= total
