"""How long the pages take at a size: view, queries and template, as a signed-in person gets them.

The list of invoices is measured beside the same model under Django's stock ModelAdmin with
`icontains`, which is what it would be without `invoices.search`.
"""

import statistics
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.test import Client, RequestFactory

from invoices.models import (
    CallSubject,
    CancellationAttempt,
    CancellationBatch,
    HistoryEvent,
    Invoice,
    ProviderRequest,
    ProviderResponse,
)
from tests.bench.figures import Figure, Size, at_most, milliseconds, p95
from tests.bench.stage import operator
from tests.factories import UserFactory

INVOICES = "/admin/invoices/invoice/"
CALLS = "/admin/invoices/providerrequest/"
STOCK_TIMES = 3
FAR_BEHIND = 1_000_000
"""Rows."""


def searches(size: Size) -> Iterator[Figure]:
    """The list with each kind of term, beside the stock list, in turns."""
    user = operator()
    client, ours, stock = signed_in(user), {}, {}
    for kind, typed in terms().items():
        ours[kind] = p95(milliseconds(partial(page, client, INVOICES, q=typed), size.times))
        slow = milliseconds(partial(stock_page, user, typed), STOCK_TIMES, warm_up=1)
        stock[kind] = statistics.median(slow)
        ratio = stock[kind] / ours[kind]
        yield Figure(f"list, search for {kind}, p95: stock", ours[kind], "ms", stock[kind], ratio)
    yield at_most("list, worst search, p95", max(ours.values()), "ms", 100)
    least = min(stock[kind] / ours[kind] for kind in ours if kind != "nothing")
    yield Figure("list, least gain of a search", least, "x", goal=">= 20x", met=least >= 20)


def terms() -> dict[str, str]:
    """A dozen kinds of what people type, for a database made by seed_scale."""
    middle = Invoice.objects.order_by("pk")[Invoice.objects.count() // 2]
    return {
        "nothing": "",
        "exact number": middle.number,
        "provider id": middle.external_id,
        "part of a number": middle.number[-6:],
        "middle of a name": "ogist",
        "two words": "müller bakery",
        "name and form": "schafer optics gmbh",
        "e-mail domain": "@billing.example",
        "rare e-mail": middle.customer_email,
        "two letters": "mu",
        "amount": middle.amount_text.split()[0],
        "no such thing": "zzqqxx",
    }


def stock_page(user: User, typed: str) -> None:
    """What Django's own list would do."""
    request = RequestFactory().get(INVOICES, {"q": typed} if typed else {})
    request.user = user
    response: Any = STOCK.changelist_view(request)
    response.render()


class StockAdmin(admin.ModelAdmin[Invoice]):
    """As one would write it in a minute."""

    list_display = ("number", "account", "customer_name", "amount_minor", "status", "due_on")
    list_select_related = ("account",)
    list_filter = ("account", "status", "currency")
    search_fields = ("number", "external_id", "customer_name", "customer_email", "amount_minor")
    ordering = ("-issued_on", "-id")
    list_per_page = 50

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever measures."""
        return True


STOCK = StockAdmin(Invoice, admin.AdminSite())


def filters(size: Size) -> Iterator[Figure]:
    """Filters and sorts, each with each."""
    client, slowest, where = signed_in(operator()), 0.0, ""
    account = Invoice.objects.first().account_id  # type: ignore[union-attr]
    filters: list[dict[str, Any]] = [
        {},
        {"account": account},
        {"status": "open"},
        {"status": "cancelled"},
        {"account": account, "status": "open"},
        {"currency": "KWD"},
        {"due": "overdue"},
        {"due": "7"},
        {"status": "expired", "currency": "JPY"},
    ]
    for chosen in filters:
        for order in ("", "1", "-1", "4", "-4", "6"):
            query = {**chosen, **({"o": order} if order else {})}
            asked = partial(page, client, INVOICES, **query)
            took = p95(milliseconds(asked, max(3, size.times // 2)))
            if took > slowest:
                slowest, where = took, str(query)
    yield at_most(f"filters x sorts, worst p95 {where}", slowest, "ms", 60)


def history(size: Size) -> Iterator[Figure]:
    """An invoice with fifty attempts of four calls each."""
    client = signed_in(auditor())
    invoice = Invoice.objects.filter(attempts=None).order_by("pk")[0]
    give_history(invoice, attempts=50)
    took = milliseconds(lambda: page(client, f"{INVOICES}{invoice.pk}/change/"), size.times)
    yield at_most("invoice with 50 attempts x 4 calls, p95", p95(took), "ms", 60)


def give_history(invoice: Invoice, attempts: int) -> None:
    """As if it had been tried that often: the rows of other attempts, said of this one."""
    models = list(CancellationAttempt.objects.select_related("batch").order_by("pk")[:attempts])
    for number, attempt in enumerate(models):
        calls = list(ProviderRequest.objects.filter(subjects__attempt=attempt))
        answers = list(ProviderResponse.objects.filter(request__in=calls))
        events = list(HistoryEvent.objects.filter(invoice=attempt.invoice_id, attempt=attempt))
        attempt.batch = CancellationBatch.objects.create(
            requested_by_id=attempt.batch.requested_by_id, state="finished", reason="duplicate"
        )
        attempt.batch.accounts.add(attempt.account_id)
        attempt.pk, attempt.invoice = None, invoice
        attempt._state.adding = True
        attempt.save()
        copies = {call.pk: type(call.pk)(int=call.pk.int ^ (number + 1 << 40)) for call in calls}
        for call in calls:
            call.pk = copies[call.pk]
        for answer in answers:
            answer.request_id = copies[answer.request_id]
        for event in events:
            event.pk, event.invoice, event.attempt = None, invoice, attempt
            event.batch = attempt.batch
        ProviderRequest.objects.bulk_create(calls)
        ProviderResponse.objects.bulk_create(answers)
        HistoryEvent.objects.bulk_create(events)
        CallSubject.objects.bulk_create(
            CallSubject(request=call, invoice=invoice, attempt=attempt) for call in calls
        )


def calls(size: Size) -> Iterator[Figure]:
    """The auditors' list of calls: its first page, and one far behind it."""
    client = signed_in(auditor())
    took = milliseconds(lambda: page(client, CALLS), size.times)
    yield at_most("auditors' list of calls, page 1, p95", p95(took), "ms", 60)
    rows = min(FAR_BEHIND, ProviderRequest.objects.count() // 2)
    behind = ProviderRequest.objects.order_by("-pk").values_list("pk", flat=True)[rows]
    took = milliseconds(lambda: page(client, CALLS, before=behind), size.times)
    yield at_most(f"auditors' list of calls, after {rows:,}, p95", p95(took), "ms", 60)


def auditor() -> User:
    """Somebody who may read everything."""
    made: User = UserFactory.create(username=f"bench-{time.time_ns()}", role="auditor")
    return made


def signed_in(user: User) -> Client:
    """A browser of that person."""
    client = Client()
    client.force_login(user)
    return client


def page(client: Client, path: str, **query: Any) -> None:
    """Ask for a page and take all of it."""
    response = client.get(path, {name: value for name, value in query.items() if value != ""})
    if response.status_code != 200:
        raise SystemExit(f"{path} {query}: {response.status_code}")
