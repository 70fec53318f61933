"""No page asks the database more often when there is more to show."""

from datetime import timedelta
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backoffice import seeding
from invoices.models import (
    ApprovalRule,
    CallSubject,
    CancellationAttempt,
    CancellationBatch,
    HistoryEvent,
    Invoice,
    PastedList,
    ProviderRequest,
    ProviderResponse,
    ReviewDecision,
    SavedView,
    SyncRun,
)
from invoices.models.evidence import pack_headers
from providers.models import ProviderAccount
from tests.security.pages import PAGES, Page
from tests.security.world import World, build

pytestmark = pytest.mark.django_db

FEW, MANY = 10, 1000
TOGETHER = 60
"""More than a page of what there are never thousands of: accounts, people, invoices of a call."""

SHOWN = [one for one in PAGES if "r" in one.opens_for]
FOUND = [
    "/admin/invoices/invoice/?q=berger",
    "/admin/invoices/invoice/?q=batch+{own}",
    "/admin/invoices/invoice/?status=cancelled&o=4",
    "/admin/invoices/invoice/?attempt=cancelled&rows=100",
    "/admin/invoices/cancellationbatch/?state=finished",
    "/admin/invoices/cancellationbatch/{own}/rows/?state=cancelled",
    "/admin/invoices/providerrequest/?q=RE-2024-0000006",
    "/admin/invoices/historyevent/?batch={own}",
    "/admin/auth/user/?role=operator",
]
ADDRESSES = sorted({*(one.address for one in SHOWN), *FOUND})

_numbers = count(1)


class Growing:
    """A world in which there is one of everything, and then more of everything."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ids: dict[str, Any] = dict(world.ids)
        self.seeded = 0
        self.account = ProviderAccount.objects.get(pk=self.ids["account"])

    def grow(self, rows: int) -> None:
        """By so many rows of each kind that there can be many of."""
        seeding.seed(range(self.seeded, self.seeded + rows), lambda _: None)
        self.seeded += -(-rows // seeding.BATCH_SIZE) * seeding.BATCH_SIZE
        self._attempts(self._invoices(rows))
        self._batches(rows)
        self._one_invoice(rows)
        self._kept(rows)
        self._few(min(rows, TOGETHER))

    def _invoices(self, rows: int) -> list[Invoice]:
        return Invoice.objects.bulk_create(
            Invoice(
                account=self.account,
                external_id=f"more-{next(_numbers)}",
                number=f"M-{next(_numbers)}",
                currency="EUR",
                amount_minor=100,
                status="open",
                search_text=" more",
            )
            for _ in range(rows)
        )

    def _attempts(self, invoices: list[Invoice]) -> None:
        """Of the batch that runs, of a preview, of one that waits, and of what needs review."""
        for name, state in (
            ("own", "cancelled"),
            ("finished", "failed"),
            ("own_draft", "draft"),
            ("awaiting", "draft"),
        ):
            batch = CancellationBatch.objects.get(pk=self.ids[name])
            CancellationAttempt.objects.bulk_create(_attempt(batch, one, state) for one in invoices)
        foreign = CancellationBatch.objects.get(pk=self.ids["foreign"])
        proposer = foreign.requested_by
        parked = CancellationAttempt.objects.bulk_create(
            _attempt(foreign, one, "needs_review") for one in invoices
        )
        ReviewDecision.objects.bulk_create(
            ReviewDecision(attempt=one, outcome="failed", reason="x", proposed_by=proposer)
            for one in parked
        )
        request = ProviderRequest.objects.get(pk=self.ids["call"])
        CallSubject.objects.bulk_create(
            CallSubject(request=request, invoice=one.invoice, attempt=one)
            for one in parked[:TOGETHER]
        )

    def _batches(self, rows: int) -> None:
        user = self.world.people["o"]
        for state in ("running", "finished", "awaiting_approval"):
            waits = state == "awaiting_approval"
            CancellationBatch.objects.bulk_create(
                CancellationBatch(
                    requested_by=user,
                    state=state,
                    reason="duplicate",
                    selected_count=1,
                    confirmed_at=timezone.now(),
                    needs_approval=waits,
                    approval_reasons=["many"] if waits else [],
                    approval_digest="0" * 64 if waits else "",
                    approval_key=uuid4() if waits else None,
                    expires_at=timezone.now() + timedelta(hours=1) if waits else None,
                )
                for _ in range(rows)
            )

    def _one_invoice(self, rows: int) -> None:
        """Attempts, calls and events of one and the same invoice."""
        invoice = Invoice.objects.get(pk=self.ids["invoice"])
        batches = CancellationBatch.objects.filter(state="finished", attempts=None)[:rows]
        attempts = CancellationAttempt.objects.bulk_create(
            _attempt(one, invoice, "failed") for one in batches
        )
        calls = ProviderRequest.objects.bulk_create(
            ProviderRequest(
                account=self.account,
                purpose="cancel",
                method="POST",
                url="https://x/",
                headers=pack_headers([]),
                body=b"",
                created_at=timezone.now(),
            )
            for _ in attempts
        )
        ProviderResponse.objects.bulk_create(
            ProviderResponse(
                request=one,
                sent=True,
                status=500,
                headers=pack_headers([]),
                body=b"",
                complete=True,
                duration_ms=1,
            )
            for one in calls
        )
        CallSubject.objects.bulk_create(
            CallSubject(request=call, invoice=invoice, attempt=made)
            for call, made in zip(calls, attempts, strict=True)
        )
        HistoryEvent.objects.bulk_create(
            HistoryEvent(
                kind=kind,
                actor=self.world.people["a"],
                account=self.account,
                batch_id=made.batch_id,
                attempt=made,
                invoice=invoice,
                to_state=state,
            )
            for made in attempts
            for kind, state in (("attempt_state", "failed"), ("payload_viewed", ""))
        )

    def _kept(self, rows: int) -> None:
        """What people ask for and keep."""
        auditor = self.world.people["a"]
        HistoryEvent.objects.bulk_create(
            HistoryEvent(kind="evidence_exported", actor=auditor, to_state="begun", detail="x")
            for _ in range(rows)
        )
        SyncRun.objects.bulk_create(
            SyncRun(account=self.account, requested_by=auditor, state="finished")
            for _ in range(rows)
        )
        pasted = PastedList.objects.get(pk=self.ids["list"])
        pasted.rows.bulk_create(
            pasted.rows.model(pasted=pasted, invoice=one, entry=one.number)
            for one in Invoice.objects.filter(account=self.account).order_by("-pk")[:rows]
        )

    def _few(self, rows: int) -> None:
        operators = Group.objects.get(name="operator")
        for _ in range(rows):
            name = f"{next(_numbers)}"
            user = User.objects.create(username=f"person-{name}", is_staff=True)
            user.groups.add(operators)
            SavedView.objects.create(owner=user, name=name, query="q=x", shared_with=operators)
            SavedView.objects.create(owner=self.world.people["r"], name=name, query="q=y")
            ProviderAccount.objects.create(
                name=f"account-{name}", provider="paypal", environment="live", rate_per_second=5.0
            )
            ApprovalRule.objects.create(
                account=self.account,
                measure="total",
                threshold=next(_numbers),
                currency="EUR",
                exponent=2,
            )


def _attempt(batch: CancellationBatch, invoice: Invoice, state: str) -> CancellationAttempt:
    return CancellationAttempt(
        batch=batch,
        invoice=invoice,
        account_id=invoice.account_id,
        state=state,
        evidence="answer" if state == "cancelled" else "",
        frozen_status="open",
        frozen_amount_minor=100,
        frozen_currency="EUR",
        frozen_exponent=2,
        frozen_customer="",
        finished_at=None if state == "draft" else timezone.now(),
    )


def asked(client: Client, world: World, address: str) -> int:
    """How many queries a page takes, once what it remembers is forgotten."""
    cache.clear()
    with CaptureQueriesContext(connection) as made:
        answer = client.get(address.format(**world.ids))
    assert answer.status_code in (200, 286, 302), (address, answer.status_code)
    return len(made)


def test_the_number_of_queries_does_not_grow_with_the_rows() -> None:
    world = build()
    growing = Growing(world)
    client = Client()
    client.force_login(world.people["r"])
    client.get("/admin/")  # Which renews the session.
    growing.grow(FEW)
    few = {address: asked(client, world, address) for address in ADDRESSES}
    growing.grow(MANY)
    many = {address: asked(client, world, address) for address in ADDRESSES}
    grown = {one: (few[one], many[one]) for one in ADDRESSES if many[one] > few[one]}
    assert grown == {}


def test_the_pages_are_those_of_the_matrix() -> None:
    assert len(SHOWN) > 40
    assert all(isinstance(one, Page) for one in SHOWN)
