"""Making invoices: ids shared by accounts, customers of all scripts, every status.

Everything follows from the seed; dates are relative to today.
"""

from __future__ import annotations

import random
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

from providers.sandbox.dialects.base import Dialect
from providers.sandbox.world import EXPONENTS, Account, Invoice, utc_now

CUSTOMERS = (
    "Alder & Finch Ltd",
    "Müller & Söhne GmbH, Düsseldorf",
    "株式会社さくら商事",
    "شركة النور للتجارة",
    "Bäckerei Großmann 🥐",
    '<script>alert("invoice")</script> & Co.',
    "Société Générale d'Éclairage",
    "Ingenieurgesellschaft für außergewöhnlich lange Firmennamen " + "und Söhne " * 18 + "KG",
    "Łódź Żagle Sp. z o.o.",
    "Ana Ruiz",
    "Ελληνικά Πλοία Α.Ε.",
    "O'Brien \\ Partners; DROP TABLE",
    "Zoë Nuñez",
    "北京光明科技有限公司",
    "=HYPERLINK(1+1) Trading",
    "Nordlicht Reederei",
    "הספרייה הלאומית",
    "Ørsted Fjord A/S",
    "Ines Okafor",
    "e\u0301le\u0300ve Decomposed",
)
"""Names a search, a page or an export has to survive."""

CURRENCIES = ("EUR", "USD", "EUR", "GBP", "JPY", "EUR", "USD", "KWD")
OPEN_OF_20 = 13
"""65 % of the seeded invoices can be cancelled."""

_PAYPAL_LETTERS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"


def external_id(kind: str, index: int, seed: int) -> str:
    """The id of the ``index``-th invoice of every account that uses this kind of id."""
    if kind == "number":
        return str(2_670_000 + seed % 1000 * 10_000_000 + index)
    rng = random.Random(f"{seed}:{kind}:{index}")  # noqa: S311 - made-up ids
    if kind == "uuid":
        return str(uuid.UUID(int=rng.getrandbits(128), version=4))
    letters = "".join(rng.choices(_PAYPAL_LETTERS, k=16))
    return "INV2-" + "-".join(letters[start : start + 4] for start in range(0, 16, 4))


def fill(account: Account, dialect: Dialect, count: int, seed: int) -> None:
    """Gives an account ``count`` invoices."""
    rng = random.Random(f"{seed}:{account.name}")  # noqa: S311 - made-up invoices
    for index in range(count):
        account.add(_seeded(account, dialect, index, rng, seed))
    account.made = max(account.made, count)
    for number, status in enumerate(dialect.beside(account) if count else ()):
        identity = external_id(dialect.id_kind, -1 - number, seed)
        account.add(make(account, dialect, identity, status=status, rng=rng))


def _seeded(
    account: Account, dialect: Dialect, index: int, rng: random.Random, seed: int
) -> Invoice:
    currency = rng.choice(CURRENCIES)
    status = _status(dialect, index)
    made = make(
        account,
        dialect,
        external_id(dialect.id_kind, index, seed),
        status=status,
        currency=currency,
        amount=rng.randint(1, 5000) * 10 ** max(2, EXPONENTS[currency]) + rng.randint(0, 99),
        customer=CUSTOMERS[(index + rng.randint(0, 1)) % len(CUSTOMERS)],
        serial=index + 1,
        age_days=rng.randint(0, rng.choice((30, 400))),
        terms_days=rng.choice((0, 14, 30, 30, 60)),
        rng=rng,
    )
    if rng.random() < 0.1:
        made.email = None
    return made


def _status(dialect: Dialect, index: int) -> str:
    place = index % 20
    if place < OPEN_OF_20:
        return dialect.open_share[place % len(dialect.open_share)]
    closed = dialect.closed_share
    return closed[(index // 20 * (20 - OPEN_OF_20) + place - OPEN_OF_20) % len(closed)]


def make(
    account: Account,
    dialect: Dialect,
    identity: str,
    *,
    status: str = "open",
    currency: str = "EUR",
    exponent: int | None = None,
    amount: int = 12_345,
    customer: str = "Example & Söhne GmbH",
    email: str | None = "billing@customer.example",
    number: str | None = None,
    serial: int = 0,
    age_days: int = 10,
    terms_days: int = 30,
    paid: int | None = None,
    extra: dict[str, Any] | None = None,
    rng: random.Random | None = None,
) -> Invoice:
    """One invoice; ``status`` neutral or in the provider's word, ``amount`` in minor units."""
    rng = rng or random.Random(identity)  # noqa: S311 - made-up invoices
    created = _morning(age_days) + timedelta(seconds=rng.randint(0, 36_000))
    suggested = f"{account.name[:2].upper()}-{created.year}-{serial or account.made:05d}"
    invoice = Invoice(
        id=identity,
        number=number or dialect.number_for(account, identity, suggested),
        status=dialect.words.get(status, status),
        currency=currency,
        exponent=EXPONENTS.get(currency, 2) if exponent is None else exponent,
        amount=amount,
        customer=customer,
        email=email,
        created=created,
        updated=created,
        paid=_paid(status, amount) if paid is None else paid,
        issued_on=created.date(),
        due_on=_due(created.date(), terms_days),
        extra=dict(extra or {}),
    )
    if status in ("cancelled", "auto_cancelled"):
        invoice.cancelled = created + timedelta(hours=1)
    dialect.status_set(invoice, status)
    dialect.complete(account, invoice, rng)
    return invoice


def _morning(age_days: int) -> datetime:
    today = utc_now().astimezone(UTC).date()
    return datetime(today.year, today.month, today.day, tzinfo=UTC) - timedelta(days=age_days + 1)


def _due(issued: date, terms_days: int) -> date | None:
    return issued + timedelta(days=terms_days) if terms_days else None


def _paid(status: str, amount: int) -> int:
    if status in ("paid", "paid_outside", "refunded", "refunded_outside"):
        return amount
    return amount // 3 if status in ("partially_paid", "partially_refunded") else 0
