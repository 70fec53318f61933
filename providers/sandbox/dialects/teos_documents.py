"""TEOS's invoice, asset and transaction.

Sources: TEOS documentation, concepts "Invoice", "Asset" and "Transaction",
guide "Retrieve a transaction by ID".
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from providers.sandbox.world import Account, Invoice, utc_now

NO_ADDRESS = "0x" + "0" * 40
NO_GUID = "00000000-0000-0000-0000-000000000000"
NEVER = "0001-01-01T00:00:00Z"


def _asset(serial: int, name: str, factor: str, **more: str) -> dict[str, Any]:
    return {
        "UniqueAssetId": f"0x096d45a5c311f13c97fca{serial:04d}",
        "Name": name,
        "SparkFactor": factor,
        **more,
    }


_ROWS = (
    _asset(1, "Euro", "100000", CurrencyCode="EUR", UnitOfMeasureCode="EUR"),
    _asset(2, "US Dollar", "100", CurrencyCode="USD", UnitOfMeasureCode="USD"),
    _asset(3, "Pound Sterling", "100", CurrencyCode="GBP", UnitOfMeasureCode="GBP"),
    _asset(4, "円", "1", CurrencyCode="JPY", UnitOfMeasureCode="JPY"),
    _asset(5, "دينار كويتي", "1000", CurrencyCode="KWD", UnitOfMeasureCode="KWD"),
    _asset(6, "Warehouse points", "100", UnitOfMeasureCode="H87"),
    _asset(7, "Thirds of a barrel", "3", UnitOfMeasureCode="BLL"),
)
ASSETS: dict[str, dict[str, Any]] = {row["UniqueAssetId"]: row for row in _ROWS}
"""Cash assets have a CurrencyCode; points have none; the last one's factor is no power of ten."""

_BY_CURRENCY = {row["CurrencyCode"]: row for row in _ROWS if "CurrencyCode" in row}
POINTS, THIRDS = _ROWS[5], _ROWS[6]


def asset_for(invoice: Invoice, rng: random.Random) -> dict[str, Any]:
    """The cash asset of the invoice's currency; sometimes points or an awkward one."""
    odd = rng.random()
    if odd < 0.04:
        return POINTS
    return THIRDS if odd < 0.06 else _BY_CURRENCY.get(invoice.currency, POINTS)


def sparks(invoice: Invoice) -> str:
    """The amount in the asset's smallest part, as text."""
    factor = int(ASSETS[invoice.extra["asset"]]["SparkFactor"])
    whole, rest = divmod(invoice.amount * factor, 10**invoice.exponent)
    return str(invoice.extra.get("sparks", whole + bool(rest)))


def body(invoice: Invoice, select: list[str]) -> dict[str, Any]:
    """An invoice; only the properties in ``select`` if any."""
    whole = {
        "Id": invoice.id,
        "Status": invoice.status,
        "UniqueAssetId": invoice.extra["asset"],
        "DesiredAmount": sparks(invoice),
        "TargetAddress": "0x71ea8b6b06b5a832817eb574b4fed3defb41046e",
        "SenderAddress": "0x" + "5a" * 20 if invoice.paid else NO_ADDRESS,
        "Description": invoice.extra["description"],
        "CreatedBy": "37514be7-d096-4bb8-95da-edb03b723bb2",
        "CreatedOn": stamp(invoice.created),
        "UpdatedOn": stamp(invoice.updated),
        "DueOn": f"{invoice.due_on}T00:00:00Z" if invoice.due_on else None,
        "TransactionId": "5a4db0c5-0000-4000-8000-000000000bad" if invoice.paid else NO_GUID,
    }
    return {name: value for name, value in whole.items() if not select or name in select}


def stamp(moment: datetime) -> str:
    """Milliseconds, UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


NUMBERS = {
    "Received": "0",
    "Submitted": "1",
    "Committed": "2",
    "Confirmed": "3",
    "RevokedByUser": "4",
    "RevokedByTxServer": "5",
    "RevokedByBlockchain": "6",
}
"""No official table of numbers exists; only "3" appears in a published example."""


@dataclass(slots=True)
class Transaction:
    """What a 202 promises: Received until it ends."""

    id: str
    created: str
    state: str = "Received"
    ended: str = NEVER

    @classmethod
    def new(cls, account: Account, identity: str) -> Self:
        """A transaction of the account, just received."""
        made = cls(identity, stamp(utc_now()))
        account.extra["transactions"][identity] = made
        return made

    def end(self, state: str) -> None:
        """Confirmed or one of the three kinds of revoked."""
        self.state = state
        self.ended = stamp(utc_now())

    def as_dict(self, spelling: str) -> dict[str, Any]:
        """The transaction object, its state by name, by number or by a word nobody knows."""
        confirmed = self.ended if self.state == "Confirmed" else NEVER
        revoked = {f"On{state}": NEVER for state in NUMBERS if state.startswith("Revoked")}
        if f"On{self.state}" in revoked:
            revoked[f"On{self.state}"] = self.ended
        return {
            "Id": self.id,
            "State": {"name": self.state, "number": NUMBERS[self.state]}.get(spelling, "Moot"),
            "BlockchainTransactionId": None,
            "CorrelationId": self.id,
            "Type": "ActivateAsset",
            "OnCreated": self.created,
            "OnUpdated": self.ended if self.ended != NEVER else self.created,
            "OnSubmitted": confirmed,
            "OnCommitted": confirmed,
            "OnConfirmed": confirmed,
            **revoked,
            "SignedBy": None,
            "CreatedBy": "37514be7-d096-4bb8-95da-edb03b723bb2",
        }
