"""Made-up invoices with a full record, by the million: to measure Annul at a size.

Everything follows from a row's number, so two databases of one size hold the same rows. Nothing
was sent for any of it, and none of it is sealed.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any
from uuid import UUID

from django.contrib.auth.models import Group, User
from django.core.management.color import no_style
from django.db import connection, models, transaction
from django.db.models import Max

from invoices import bulk
from invoices.models import (
    CallSubject,
    CancellationAttempt,
    CancellationBatch,
    HistoryEvent,
    Invoice,
    ProviderRequest,
    ProviderResponse,
)
from invoices.models.evidence import pack_headers
from invoices.search import searchable
from providers.adapters import ADAPTERS
from providers.models import ProviderAccount

CHUNK = 10_000
"""Invoices written by one transaction."""
BATCH_SIZE = 500
CALLS = ("fetch", "cancel", "fetch", "fetch")
"""Of each attempt: the read before, the cancel, and two that verify it."""
STEPS = (
    ("draft", "queued"),
    ("queued", "claimed"),
    ("claimed", "sending"),
    ("sending", "cancelled"),
)

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 1_000
FAMILY = re.findall(
    r"\S+",
    "Abel Berger Castro Dietrich Eklund Fontaine Grimaldi Hoffmann Iversen Jansen Kowalski "
    "Lindqvist Moreau Novák Okafor Petrov Quintero Rossi Schäfer Takahashi Ünal Vargas Weiß "
    "Xavier Yıldız Zieliński Müller Nguyen Ström Öberg",
)
TRADE = re.findall(
    r"\S+",
    "Trading Logistics Bakery Interiors Shipping Energy Robotics Publishing Textiles Catering "
    "Optics Printing Dental Consulting Motors Gardens Software Ceramics Acoustics Brewing",
)
FORM = ("GmbH", "Ltd", "S.A.", "AB", "B.V.", "Inc.", "Oy", "s.r.o.")
DOMAINS = ("billing.example", "mail.example", "post.example", "accounts.example", "pay.example")
CURRENCIES = (("EUR", 2), ("USD", 2), ("EUR", 2), ("GBP", 2), ("USD", 2), ("JPY", 0), ("KWD", 3))
UNTOUCHED = ("open", "open", "open", "open", "paid", "paid", "partially_paid", "draft", "expired")
REQUEST_HEADERS = pack_headers(
    [
        ("User-Agent", "Annul/0.1"),
        ("Accept", "application/json"),
        ("Content-Type", "application/json"),
        ("Authorization", "Bearer [masked, 97 characters, sha256 8c1f...]"),
    ]
)
RESPONSE_HEADERS = pack_headers(
    [("Content-Type", "application/json"), ("Cache-Control", "no-store"), ("Connection", "close")]
)
REQUEST_BODY = b'{"send_to_invoicer":false,"send_to_recipient":false,"note":""}'
ANSWERS = {
    "cancel": b"",
    "fetch": b'{"status":"CANCELLED","detail":{"currency_code":"EUR"},"amount":{"value":"1"}}',
}
SHA256 = {body: hashlib.sha256(body).hexdigest() for body in (b"", REQUEST_BODY, *ANSWERS.values())}


Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Start:
    """The first free primary keys, and whose rows they are."""

    invoice: int
    attempt: int
    batch: int
    accounts: Sequence[int]
    operator: int


def seed(numbers: range, say: Callable[[int], None]) -> None:
    """Add these invoices, three attempts for every four of them, four calls for each attempt.

    A row follows from its number: what was there from an earlier call ends where `numbers` begin,
    at a multiple of BATCH_SIZE. `say` is told how many invoices are there so far.
    """
    start = Start(
        invoice=_next(Invoice),
        attempt=_next(CancellationAttempt),
        batch=_next(CancellationBatch),
        accounts=accounts(),
        operator=operator().pk,
    )
    for first in range(numbers.start, numbers.stop, CHUNK):
        chunk = range(first, min(numbers.stop, first + CHUNK))
        with transaction.atomic():
            for model, rows in _tables(chunk, start):
                _write(model, rows)
        say(chunk.stop)
    _advance_sequences()
    with connection.cursor() as cursor:
        # Plans are made by these figures, and the first query must not wait for them.
        cursor.execute("ANALYZE")


def accounts() -> list[int]:
    """One for each provider; without credentials, so that nothing can be sent for them."""
    made = [
        ProviderAccount.objects.get_or_create(
            name=f"scale-{code}",
            defaults={
                "provider": code,
                "environment": next(iter(adapter.environments)),
                "rate_per_second": 5.0,
            },
        )
        for code, adapter in ADAPTERS.items()
    ]
    return [account.pk for account, _ in made]


def operator() -> User:
    """Who is said to have asked for all of it; cannot sign in."""
    user, made = User.objects.get_or_create(username="scale-operator")
    if made:
        user.set_unusable_password()
        user.save()
        user.groups.add(Group.objects.get(name="operator"))
    return user


def _write(model: type[models.Model], rows: Iterator[Row]) -> None:
    first = next(rows, None)
    if first is not None:
        rest = _rest(model, first)
        values = ([*row.values(), *rest.values()] for row in chain([first], rows))
        bulk.write(model, [*first, *rest], values)


def _rest(model: type[models.Model], row: Row) -> Row:
    """What the columns that are not measured get: each the default of its field."""
    return {
        field.attname: field.get_default()
        for field in model._meta.concrete_fields
        if field.attname not in row and not field.primary_key and not field.has_db_default()
    }


def _tables(numbers: range, start: Start) -> Iterator[tuple[type[models.Model], Iterator[Row]]]:
    """What is written for these invoices, in an order that foreign keys allow."""
    attempted = [n for n in numbers if n % 4]
    yield Invoice, (_invoice(n, start) for n in numbers)
    yield CancellationBatch, (_batch(n, start) for n in numbers if n % BATCH_SIZE == 0)
    yield CancellationBatch.accounts.through, _noted(attempted, start)
    yield CancellationAttempt, (_attempt(n, start) for n in attempted)
    yield ProviderRequest, (row for n in attempted for row in _requests(n, start))
    yield ProviderResponse, (row for n in attempted for row in _responses(n))
    yield CallSubject, (row for n in attempted for row in _subjects(n, start))
    yield HistoryEvent, (row for n in attempted for row in _events(n, start))


def _invoice(n: int, start: Start) -> Row:
    dice = _dice(n)
    name = f"{FAMILY[dice % 30]} {TRADE[dice // 30 % 20]} {FORM[dice // 600 % 8]}"
    email = f"{FAMILY[dice % 30][:1].lower()}{n}@{DOMAINS[min(dice // 7 % 7, 4)]}"
    number, external_id = f"RE-{2024 + n % 3}-{n:07d}", _external_id(n)
    currency, exponent = CURRENCIES[dice // 11 % 7]
    status = "cancelled" if n % 4 else UNTOUCHED[dice // 13 % 9]
    issued = FIRST.date() + timedelta(days=dice // 17 % DAYS)
    return {
        "id": start.invoice + n,
        "account_id": _account(n, start),
        "external_id": external_id,
        "number": number,
        "customer_name": name,
        "customer_email": email,
        "currency": currency,
        "exponent": exponent,
        "amount_minor": _amount(n),
        "balance_minor": _amount(n) if status == "open" else 0,
        "status": status,
        "provider_status": status.upper(),
        "issued_on": issued,
        "due_on": issued + timedelta(days=30),
        "synced_at": _moment(n),
        "search_text": searchable(number, external_id, name, email),
    }


def _batch(n: int, start: Start) -> Row:
    return {
        "id": start.batch + n // BATCH_SIZE,
        "state": "finished",
        "requested_by_id": start.operator,
        "reason": "duplicate",
        "note": "",
        "options": {},
        "selection": "Made up to measure",
        "selected_count": BATCH_SIZE * 3 // 4,
        "digest": f"{n:064x}",
        "confirm_key": UUID(int=n),
        "created_at": _moment(n),
        "confirmed_at": _moment(n),
        "finished_at": _moment(n) + timedelta(hours=9),
    }


def _noted(attempted: Sequence[int], start: Start) -> Iterator[Row]:
    """Which accounts each batch has to do with."""
    pairs = {(start.batch + n // BATCH_SIZE, _account(n, start)) for n in attempted}
    for batch, account in sorted(pairs):
        yield {"cancellationbatch_id": batch, "provideraccount_id": account}


def _attempt(n: int, start: Start) -> Row:
    done = _moment(n) + timedelta(minutes=1)
    return {
        "id": start.attempt + n,
        "batch_id": start.batch + n // BATCH_SIZE,
        "invoice_id": start.invoice + n,
        "account_id": _account(n, start),
        "state": "cancelled",
        "code": "",
        "message": "",
        "evidence": "answer",
        "frozen_status": "open",
        "frozen_amount_minor": _amount(n),
        "frozen_currency": "EUR",
        "frozen_exponent": 2,
        "frozen_customer": "",
        "sends": 1,
        "unsent": 0,
        "reads": 0,
        "doubted": False,
        "verified_at": done,
        "finished_at": done,
    }


def _requests(n: int, start: Start) -> Iterator[Row]:
    url = f"https://provider.example/v2/invoicing/invoices/{_external_id(n)}"
    for step, purpose in enumerate(CALLS):
        body = REQUEST_BODY if purpose == "cancel" else b""
        yield {
            "id": _request_id(n, step),
            "account_id": _account(n, start),
            "created_at": _moment(n, step),
            "purpose": purpose,
            "method": "POST" if purpose == "cancel" else "GET",
            "url": url,
            "headers": REQUEST_HEADERS,
            "body": body,
            "body_sha256": SHA256[body],
        }


def _responses(n: int) -> Iterator[Row]:
    for step, purpose in enumerate(CALLS):
        body = ANSWERS[purpose]
        yield {
            "request_id": _request_id(n, step),
            "received_at": _moment(n, step),
            "sent": True,
            "status": 204 if purpose == "cancel" else 200,
            "headers": RESPONSE_HEADERS,
            "body": body,
            "body_sha256": SHA256[body],
            "complete": True,
            "fault": "",
            "detail": "",
            "correlation_id": f"{n:08x}{step:x}",
            "duration_ms": 150,
        }


def _subjects(n: int, start: Start) -> Iterator[Row]:
    for step in range(len(CALLS)):
        yield {
            "request_id": _request_id(n, step),
            "invoice_id": start.invoice + n,
            "attempt_id": start.attempt + n,
        }


def _events(n: int, start: Start) -> Iterator[Row]:
    for step, (old, new) in enumerate(STEPS):
        yield {
            "at": _moment(n, step),
            "kind": "attempt_state",
            "account_id": _account(n, start),
            "batch_id": start.batch + n // BATCH_SIZE,
            "attempt_id": start.attempt + n,
            "invoice_id": start.invoice + n,
            "from_state": old,
            "to_state": new,
            "code": "",
            "detail": "",
            "address": "",
        }


def _amount(n: int) -> int:
    return 500 + _dice(n) % 2_000_000


def _dice(n: int) -> int:
    """A number that looks thrown, always the same for the same row."""
    return ((n + 1) * 0x9E3779B97F4A7C15 >> 20) & 0xFFFF_FFFF


def _external_id(n: int) -> str:
    dice = f"{_dice(n) ^ 0x5DEECE66:08X}"
    return f"INV2-{dice[:4]}-{dice[4:]}-{n // 10_000:04d}-{n % 10_000:04d}"


def _account(n: int, start: Start) -> int:
    return start.accounts[_dice(n) // 3 % len(start.accounts)]


def _moment(n: int, step: int = 0) -> datetime:
    return FIRST + timedelta(seconds=n * 60, milliseconds=step * 200)


def _request_id(n: int, step: int) -> UUID:
    """As `providers.identity.uuid7`: ordered by time."""
    milliseconds = int(_moment(n, step).timestamp() * 1000)
    return UUID(int=milliseconds << 80 | 0x7 << 76 | 0x8 << 60 | n << 4 | step)


def _next(model: type[models.Model]) -> int:
    return int(model._default_manager.aggregate(last=Max("pk"))["last"] or 0) + 1


def _advance_sequences() -> None:
    """The keys above were given, not drawn: let the next one that is drawn be a free one."""
    counted = [Invoice, CancellationAttempt, CancellationBatch]
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), counted):
            cursor.execute(statement)
