"""Kantata OX (formerly Mavenlink): one PUT cancels one invoice, and its answer shows the result.

Facts come from the published specification, https://app.mavenlink.com/oas/specification, and its
readable form at https://developer.kantata.com; what a cancellation does to a project stands at
https://knowledge.kantata.com/hc/en-us/articles/215314918
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
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
    Status,
    at,
    day,
    judge,
    judge_read,
    text,
    unexpected,
    utc_text,
)
from providers.errors import OutcomeUnknown, ReadToDecide
from providers.exchange import Answer
from providers.money import exponent_of, whole

_INCLUDE = "recipient,workspaces"
_PAGE_SIZE = 100
_LARGEST_PAGE = 200
_BASE_UNITS = {10**places: places for places in range(7)}


OWN_MEANING = (401, 404, 408, 429)
"""Statuses that mean what they say, whatever type of error the body names."""


class Kantata(Adapter):
    """One user's view of an account: the token acts as the user who made it.

    References are the internal ids, never the invoice numbers that people know. Kantata states no
    total, only a balance; see `_amount`.
    """

    code = "kantata"
    label = "Kantata OX"
    environments: ClassVar = {"production": "https://api.mavenlink.com/api/v1"}
    credential_fields = (
        CredentialField(
            "token",
            "Access token",
            secret=True,
            help=(
                "From the page of an application that an account administrator registered at "
                "app.mavenlink.com/oauth/applications. It acts as that user, who needs financial "
                "permission in every project whose invoices are cancelled. It does not expire."
            ),
        ),
    )
    reference_pattern = re.compile(r"[1-9][0-9]{0,9}")
    # The invoice schema at https://developer.kantata.com/tag/Invoices. A draft is told by the
    # separate field `draft`, and overdue is no status.
    statuses: ClassVar = {
        "new": Status.OPEN,
        "accepted payment": Status.PAID,
        "cancelled": Status.CANCELLED,
    }
    cancellable: ClassVar = frozenset({Status.OPEN})
    fetch_limit = 100
    # The specification: their servers give up on a request after three minutes.
    settle = 210.0
    # The limit is not published.
    rate_per_second = 2.0
    total_seconds = 60.0

    def cancel(
        self, references: Sequence[str], options: Mapping[str, bool]
    ) -> Mapping[str, CancelAnswer]:
        """Cancel one invoice; only an answer that shows it as cancelled is a yes.

        Raises `ReadToDecide` for 400 and 422 (there are no codes, and the texts are not stable),
        `Refused` ("not_found") for a 404, which may also mean that this user may not see the
        invoice, and the rest as `judge` does.
        """
        (reference,) = references
        path = f"/invoices/{self.segment(reference)}/cancel"
        answer = self._call("PUT", path, "cancel", references)
        for key, entry in _results(answer):
            if key == reference and at(entry, "status") == "cancelled":
                return {reference: CancelAnswer(confirmed=True, proven=True)}
        raise unexpected("Kantata's answer does not show the invoice as cancelled.", answer.status)

    def fetch(self, references: Sequence[str]) -> Found:
        """Read up to a hundred by one request.

        Kantata leaves out without a word what does not exist *or what this user may not see*:
        `missing` means either.
        """
        if not references:
            return Found({})
        only = ",".join(self.segment(one) for one in references)
        query = {"only": only, "include": _INCLUDE, "per_page": _LARGEST_PAGE}
        answer = self._call("GET", f"/invoices?{urlencode(query)}", "fetch", references)
        entries = _results(answer)
        wanted, stated = set(references), {key for key, _ in entries}
        found = {one.reference: one for one in _invoices(answer) if one.reference in wanted}
        unreadable, absent = frozenset(stated & wanted - found.keys()), frozenset(wanted - stated)
        # An entry that names no invoice may be any of those that seem to be absent.
        if (whole(answer.object().get("count")) or 0) > len(entries) or "" in stated:
            return Found(found, frozenset(), unreadable | absent)
        return Found(found, absent, unreadable)

    def list(self, updated_since: datetime | None = None) -> Iterator[Page]:
        """All invoices that this user may see, in the order of their ids.

        An invoice that changes meanwhile may come twice. Deleting a draft meanwhile may hide one
        invoice from this run.
        """
        query: dict[str, Any] = {"include": _INCLUDE, "order": "id:asc", "per_page": _PAGE_SIZE}
        if updated_since is not None:
            # The filter is exclusive and our text has whole seconds: rather one too many.
            query["updated_after"] = utc_text(updated_since - timedelta(seconds=1))
        number, more = 0, True
        while more:
            number += 1
            answer = self._call("GET", f"/invoices?{urlencode({**query, 'page': number})}", "list")
            entries, invoices = _results(answer), _invoices(answer)
            yield Page(invoices, unreadable=len(entries) - len(invoices))
            pages = whole(at(answer.object(), "meta", "page_count"))
            more = bool(entries) and (number < pages if pages else len(entries) == _PAGE_SIZE)

    def check(self) -> CheckResult:
        """Read one invoice: proves that the token is good and may see invoices at all."""
        answer = self._call("GET", "/invoices?per_page=1", "check")
        entries = _results(answer)
        count = whole(answer.object().get("count"))
        number = len(entries) if count is None else count
        return CheckResult(f"The token is accepted; its user can see {number} invoices.")

    @classmethod
    def consequences(cls, facts: Mapping[str, str], options: Mapping[str, bool]) -> tuple[str, ...]:
        """https://knowledge.kantata.com/hc/en-us/articles/215314918"""
        return (
            "The time, expenses and other items on the invoice become billable again.",
            "The invoice's post in the project's activity feed is marked as cancelled, where the "
            "project's participants, the client's included, can see it.",
            "Kantata cannot undo a cancellation; a new invoice has to be made instead.",
        )

    def _call(self, method: str, path: str, purpose: str, references: Sequence[str] = ()) -> Answer:
        headers = {"Authorization": f"Bearer {self.credentials['token']}"}
        answer = self.client.send(
            method, path, purpose=purpose, references=references, headers=headers
        )
        _judge(answer, purpose)
        return answer


def _judge(answer: Answer, purpose: str) -> None:
    """Errors come as `{"errors": [{"type": "oauth|system|validation", "message": ...}]}`."""
    kind, message = text(at(answer.object(), "errors", 0, "type")), _message(answer)
    reading = purpose in ("fetch", "list")
    if kind == "system" and 400 <= answer.status < 500 and answer.status not in OWN_MEANING:
        # E.g. "Your account has been canceled": about the account, it says nothing of an invoice.
        # Only a 404 keeps its own meaning whatever its type.
        raise (OutcomeUnknown if reading else ReadToDecide)(
            "account_problem",
            f"Kantata reports a problem with the account: {message}",
            provider_code=kind,
            status=answer.status,
            pause_account=True,
        )
    if answer.status == 404:
        known = "Kantata does not know the invoice, or the token's user has no permission to see it"
        message = f"{known}: {message}" if message else f"{known}."
    decide = judge_read if reading else judge
    decide(answer, provider_code=kind, message=message)


def _message(answer: Answer) -> str:
    said = answer.object()
    return text(at(said, "errors", 0, "message") or said.get("error_message"))


def _results(answer: Answer) -> Sequence[tuple[str, object]]:
    """Id and entry of each invoice that `results` names, in its order.

    The maps beside it also hold what came along by `include`, so they are never read as a list.
    Raises `OutcomeUnknown` when the answer is no such envelope.
    """
    said = answer.object()
    results = said.get("results")
    if not isinstance(results, list):
        raise unexpected("Kantata's answer was unreadable.", answer.status)
    # A result that names nothing is still counted, so that it shows up as unreadable.
    ids = [text(at(one, "id")) if at(one, "key") == "invoices" else "" for one in results]
    return [(one, at(said, "invoices", one)) for one in ids]


def _invoices(answer: Answer) -> Sequence[RemoteInvoice]:
    said = answer.object()
    read = (_invoice(key, entry, said) for key, entry in _results(answer))
    return [one for one in read if one is not None]


def _invoice(key: str, entry: object, said: Mapping[str, Any]) -> RemoteInvoice | None:
    """An entry in our words; None when no sense is in it."""
    if not isinstance(entry, dict) or text(entry.get("id")) != key or not Kantata.accepts(key):
        return None
    word, status = text(entry.get("status"), 60), _status(entry)
    if not word and status is Status.UNKNOWN:
        return None
    currency, unit = text(entry.get("currency"), 12), whole(entry.get("currency_base_unit"))
    places = _BASE_UNITS.get(unit) if unit is not None else None
    balance = whole(entry.get("balance_in_cents")) if currency and places is not None else None
    recipient = at(said, "users", text(entry.get("recipient_id")))
    workspace = at(said, "workspaces", text(at(entry, "workspace_ids", 0)))
    return RemoteInvoice(
        reference=key,
        number=text(entry.get("user_invoice_number") or entry.get("title"), 150),
        customer_name=text(at(recipient, "full_name")) or text(at(workspace, "title")),
        customer_email=text(at(recipient, "email_address"), 254),
        currency=currency,
        exponent=exponent_of(currency) if places is None else places,
        amount_minor=_amount(balance, status),
        balance_minor=balance,
        status=status,
        provider_status=f"{word} (draft)".strip() if entry.get("draft") is True else word,
        issued_on=day(entry.get("invoice_date")),
        due_on=day(entry.get("due_date")),
        raw=entry,
    )


def _status(entry: Mapping[str, Any]) -> Status:
    """A draft is a flag beside the status; where the two do not fit together, we do not know."""
    draft, status = entry.get("draft"), Kantata.status_of(text(entry.get("status"), 60))
    if draft is True:
        return Status.DRAFT if status in (Status.OPEN, Status.UNKNOWN) else Status.UNKNOWN
    return Status.UNKNOWN if status is Status.OPEN and draft is not False else status


def _amount(balance: int | None, status: Status) -> int | None:
    """The total, as far as the balance tells it; minor units.

    A payment always pays the whole invoice (https://developer.kantata.com, "External Payments"),
    so what is unpaid has its total as balance. Afterwards a balance of nought says nothing.
    """
    if status in (Status.OPEN, Status.DRAFT):
        return balance
    return balance or None if status in (Status.PAID, Status.CANCELLED) else None
