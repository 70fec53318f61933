"""TEOS (CoreLedger): a cancellation is taken, never confirmed; only reading tells.

Facts come from the public documentation, https://github.com/CoreLedger-TEOS/docs (shown at
https://teos-docs.coreledger.net), and the Postman collection at
https://github.com/CoreLedger-TEOS/API
"""

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from json import dumps
from typing import Any, ClassVar
from urllib.parse import quote

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
    unexpected,
    utc_text,
)
from providers.errors import NotSent, OutcomeUnknown, ReadToDecide, Refused, TryLater
from providers.exchange import Answer, parse
from providers.money import whole

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ASSET_ID = re.compile(r"0x[0-9a-fA-F]{1,80}")
_PAGE_SIZE = 50
_TOO_MANY_REQUESTS = "13000"
_SPARK_FACTORS = {10**places: places for places in range(19)}
_NEVER = date(1, 1, 1)
"""How .NET writes a date that was not set."""

# What can have happened to a transaction, the last thing first: the states at
# https://github.com/CoreLedger-TEOS/docs/blob/main/docs/guides/transactions
_STEPS = (
    ("OnRevokedByUser", "revoked by the user"),
    ("OnRevokedByTxServer", "revoked by the transaction server"),
    ("OnRevokedByBlockchain", "revoked by the blockchain"),
    ("OnConfirmed", "confirmed"),
    ("OnCommitted", "committed"),
    ("OnSubmitted", "submitted"),
    ("OnCreated", "received, waiting for a signature"),
)


@dataclass(frozen=True, slots=True)
class _Asset:
    """What the amounts of an asset mean; `exponent` None when no decimal places express it."""

    currency: str
    exponent: int | None


_UNKNOWN_ASSET = _Asset("", None)


class Teos(Adapter):
    """One tenant, by its API key.

    References are the invoices' UUIDs in lower case. Cancelling is safe to repeat: an invoice
    that is not `Open` is ignored, silently.
    """

    code = "teos"
    label = "TEOS"
    # https://github.com/CoreLedger-TEOS/docs/tree/main/docs/resources: which host a tenant is on
    # is told by CoreLedger. The version stands in the path, see `setting_fields`.
    environments: ClassVar = {
        "production": "https://teosapi.coreledger.net",
        "uat": "https://teos-uat.dev.coreledger.net",
        "development": "https://teos-dev2.dev.coreledger.net",
    }
    credential_fields = (
        CredentialField(
            "api_key",
            "API key",
            secret=True,
            help="Issued by CoreLedger to a tenant administrator; valid for one year.",
        ),
    )
    setting_fields = (
        SettingField(
            "version",
            "API version",
            default="v1.1",
            help="CoreLedger supports a version for about twelve months.",
            choices={"v1.1": "v1.1", "v1.0": "v1.0"},
        ),
    )
    reference_pattern = _UUID
    # https://github.com/CoreLedger-TEOS/docs/blob/main/docs/resources/using-the-teos-api/concepts/invoice.md
    # `Failed` (the payment's transaction failed) has no counterpart among ours and is `unknown`.
    statuses: ClassVar = {
        "Open": Status.OPEN,
        "Processing": Status.PAYMENT_PENDING,
        "Paid": Status.PAID,
        "Expired": Status.EXPIRED,
        "Cancelled": Status.CANCELLED,
    }
    cancellable: ClassVar = frozenset({Status.OPEN})
    cancel_limit = 50
    fetch_limit = 50
    settle = 60.0
    read_lag = 20.0
    # https://github.com/CoreLedger-TEOS/docs/blob/main/docs/overview/rate-limits.md: 300 a minute
    # per tenant, and calls made while throttled still count.
    rate_per_second = 4.0

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._assets: dict[str, _Asset] = {}
        self._assets_lock = threading.Lock()

    def cancel(
        self, references: Sequence[str], options: Mapping[str, bool]
    ) -> Mapping[str, CancelAnswer]:
        """Ask for up to fifty at once; no answer proves anything about any of them.

        https://github.com/CoreLedger-TEOS/docs/blob/main/docs/guides/invoices/cancel-invoices.md
        `advice` is the id of the transaction if the answer named one; see `transaction`. Raises
        `TryLater` when throttled, `ReadToDecide` for other refusals, a 404 included: it is about
        the address of the call, as unknown invoices are ignored.
        """
        ids = [self.segment(one) for one in references]
        body = dumps({"invoiceIds": ids}).encode()
        try:
            answer = self._call("POST", "Invoices/Cancel", "cancel", references, body)
        except Refused as error:
            if error.code != "not_found":
                raise
            raise ReadToDecide(
                "bad_address",
                f"TEOS does not know this address; is its version still served? {error.message}",
                provider_code=error.provider_code,
                status=error.status,
                pause_account=True,
            ) from error
        said = answer.object()
        if answer.body.strip() not in (b"", b"null") and answer.json() is None:
            # Empty is an answer that occurs; a page of HTML is somebody else's.
            raise unexpected("The answer is not TEOS's.", answer.status)
        transaction = text(said.get("Id") or said.get("id")).lower()
        advice = transaction if _UUID.fullmatch(transaction) else ""
        return {one: CancelAnswer(confirmed=False, proven=False, advice=advice) for one in ids}

    def fetch(self, references: Sequence[str]) -> Found:
        """Read up to fifty. Usually one request; more when TEOS cuts its pages shorter."""
        wanted = {self.segment(one) for one in references}
        found: dict[str, RemoteInvoice] = {}
        seen: set[str] = set()
        condition = f"Id in ({','.join(sorted(wanted))})"
        complete = not wanted
        for entries, last in self._pages(condition, "fetch", references) if wanted else ():
            fresh = {_id(entry) for entry in entries} - seen
            seen |= fresh
            found |= {one.reference: one for one in self._invoices(entries)}
            complete = last or wanted <= seen
            if complete or not fresh:
                break
        found = {key: one for key, one in found.items() if key in wanted}
        unreadable, absent = frozenset(seen & wanted - found.keys()), frozenset(wanted - seen)
        # An entry that names no invoice may be any of those that seem to be absent.
        if not complete or "" in seen:
            return Found(found, frozenset(), unreadable | absent)
        return Found(found, absent, unreadable)

    def list(self, updated_since: datetime | None = None) -> Iterator[Page]:
        """All invoices of the tenant, in the order of their ids, which no two share.

        One made meanwhile may push another onto the next page, which then comes twice.
        """
        condition = ""
        if updated_since is not None:
            condition = f"UpdatedOn gt {utc_text(updated_since - timedelta(seconds=1))}"
        before: Sequence[object] = ()
        for entries, _ in self._pages(condition, "list"):
            if entries and entries == before:
                raise unexpected("TEOS sent the same page twice.")
            before = entries
            invoices = self._invoices(entries)
            yield Page(invoices, unreadable=len(entries) - len(invoices))

    def check(self) -> CheckResult:
        """Ping, which a key that is not valid may not."""
        self._call("GET", "Ping", "check")
        return CheckResult("The API key is accepted.")

    def transaction(self, reference: str) -> str:
        """How far a transaction got, in words; "" when TEOS does not say.

        Advice only: it is decided by reading the invoice. Told by which moment is set, because
        the numbers that stand for states are published nowhere.
        """
        answer = self._call("GET", f"Transactions({self.segment(reference)})", "fetch")
        said = answer.object()
        for name, words in _STEPS:
            moment = day(said.get(name))
            if moment is not None and moment != _NEVER:
                return words
        return text(said.get("State"), 40)

    @classmethod
    def consequences(cls, facts: Mapping[str, str], options: Mapping[str, bool]) -> tuple[str, ...]:
        """https://github.com/CoreLedger-TEOS/docs/blob/main/docs/guides/invoices/cancel-invoices.md"""
        return (
            "TEOS takes the request and carries it out later, without telling. An invoice counts "
            "as cancelled only once reading it shows so, which takes seconds to minutes.",
            "TEOS silently ignores an invoice that is no longer open, for example because it was "
            "paid meanwhile; the batch then shows what became of it.",
            "TEOS offers no way to reopen a cancelled invoice.",
        )

    def _pages(
        self, condition: str, purpose: str, references: Sequence[str] = ()
    ) -> Iterator[tuple[Sequence[object], bool]]:
        """Pages of entries, each with whether it is the last one for certain.

        A link to the next page is taken as a sign only, and never followed: where it leads is
        the other side's choice. Without a count or a link, only an empty page is the end.
        """
        skip, more = 0, True
        while more:
            path = f"Invoices?{_query(condition, skip)}"
            entries, count, link = _page(self._call("GET", path, purpose, references))
            skip += len(entries)
            more = bool(entries) and (link or count is None or skip < count)
            yield entries, not more

    def _invoices(self, entries: Sequence[object]) -> Sequence[RemoteInvoice]:
        read = (self._invoice(entry) for entry in entries)
        return [one for one in read if one is not None]

    def _invoice(self, entry: object) -> RemoteInvoice | None:
        """An entry in our words; None when no sense is in it."""
        if not isinstance(entry, dict):
            return None
        reference, word = _id(entry), text(entry.get("Status"), 60)
        if not self.accepts(reference) or not word:
            return None
        asset = self._asset(text(entry.get("UniqueAssetId")))
        number, customer = _described(entry.get("Description"))
        sparks = whole(entry.get("DesiredAmount"))
        return RemoteInvoice(
            reference=reference,
            number=number or reference[:8],
            customer_name=customer,
            customer_email="",
            currency=asset.currency,
            exponent=asset.exponent or 0,
            amount_minor=None if asset.exponent is None else sparks,
            balance_minor=None,
            status=self.status_of(word),
            provider_status=word,
            issued_on=_moment(entry.get("CreatedOn")),
            due_on=_moment(entry.get("DueOn")),
            raw=entry,
        )

    def _asset(self, unique_id: str) -> _Asset:
        """What an asset's amounts mean, asked once.

        An asset that TEOS refuses to show leaves the amount open. Any other failure is passed on:
        an amount that is missing only now would look like one that has changed.
        """
        if not _ASSET_ID.fullmatch(unique_id):
            return _UNKNOWN_ASSET
        with self._assets_lock:
            if unique_id not in self._assets:
                self._assets[unique_id] = self._read_asset(unique_id)
            return self._assets[unique_id]

    def _read_asset(self, unique_id: str) -> _Asset:
        # https://github.com/CoreLedger-TEOS/docs/blob/main/docs/guides/assets/retrieve-an-asset-by-unique-asset-id.md
        key = quote(f"'{unique_id}'", safe="")
        fields = quote("Name,SparkFactor,CurrencyCode,UnitOfMeasureCode", safe="")
        try:
            answer = self._call("GET", f"Assets({key})?$select={fields}", "fetch")
        except OutcomeUnknown as error:
            if error.code != "read_failed":
                raise
            return _UNKNOWN_ASSET
        said = answer.object()
        if not said:
            raise unexpected("TEOS's answer about an asset was unreadable.", answer.status)
        factor = whole(said.get("SparkFactor"))
        # A currency's code is only there for cash; anything else goes by the asset's name.
        name = said.get("CurrencyCode") or said.get("Name")
        places = _SPARK_FACTORS.get(factor) if factor is not None else None
        return _Asset(text(name, 12), places)

    def _call(
        self,
        method: str,
        resource: str,
        purpose: str,
        references: Sequence[str] = (),
        body: bytes | None = None,
    ) -> Answer:
        version = self.settings["version"]
        if version not in self.setting_fields[0].choices:
            raise NotSent("bad_setting", "The API version of the account is not one we know.")
        headers = {"Authorization": f"Bearer {self.credentials['api_key']}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        answer = self.client.send(
            method,
            f"/odata/{version}/{resource}",
            purpose=purpose,
            references=references,
            headers=headers,
            body=body,
        )
        _judge(answer, purpose)
        return answer


def _judge(answer: Answer, purpose: str) -> None:
    """https://github.com/CoreLedger-TEOS/docs/blob/main/docs/overview/handling-errors/index.md"""
    said = answer.object()
    code = text(said.get("code"))
    if answer.status == 429 or (400 <= answer.status < 500 and code == _TOO_MANY_REQUESTS):
        wait = reset_seconds(answer.headers.get("x-rate-limit-reset", ""))
        raise TryLater(
            "TEOS asks for fewer calls; the limit is shared by everything of the tenant.",
            retry_after=answer.retry_after if wait is None else wait,
            status=answer.status,
        )
    detail = text(at(said, "details", 0, "message"))
    message = ": ".join(part for part in (text(said.get("message")), detail) if part)
    decide = judge_read if purpose in ("fetch", "list") else judge
    decide(answer, provider_code=code, message=message)


def reset_seconds(value: str, now: datetime | None = None) -> float | None:
    """Seconds until an X-Rate-Limit-Reset moment, within [1, 3600]; None when it is none.

    The moment is UTC in ISO 8601 with seven decimals, e.g. `2026-11-20T09:00:00.1234567Z`.
    """
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    left = (moment - (now or datetime.now(UTC))).total_seconds()
    return min(3600.0, max(1.0, left))


def _query(condition: str, skip: int) -> str:
    options = {
        "$filter": condition,
        "$orderby": "Id",
        "$top": str(_PAGE_SIZE),
        "$skip": str(skip) if skip else "",
        "$count": "true",
    }
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in options.items() if value)


def _page(answer: Answer) -> tuple[Sequence[object], int | None, bool]:
    """Entries, the count of all if stated, and whether a next page is linked.

    The documentation shows a bare array, the collection's tests read an envelope.
    """
    said = answer.json()
    if isinstance(said, list):
        return said, None, False
    entries = at(said, "value")
    if not isinstance(entries, list):
        raise unexpected("TEOS's list of invoices was unreadable.", answer.status)
    return entries, whole(said.get("@odata.count")), bool(said.get("@odata.nextLink"))


def _id(entry: object) -> str:
    return text(at(entry, "Id")).lower()


def _moment(value: object) -> date | None:
    found = day(value)
    return None if found == _NEVER else found


def _described(description: object) -> tuple[str, str]:
    """Number and customer out of the description, which is free text or JSON.

    TEOS has no fields for either; whoever makes the invoice may put them there.
    """
    words = text(description, 20_000)
    said = parse(words.encode())
    if isinstance(said, dict):
        return text(said.get("number"), 150), text(said.get("customer"))
    return ("" if isinstance(said, list) else words[:150]), ""
