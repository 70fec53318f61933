"""Which of the five kinds of people may open which page."""

import pytest
from django.test import Client

from tests.factories import InvoiceFactory
from tests.pages.scenes import (
    BATCHES,
    CALLS,
    HISTORY,
    LIST,
    QUEUE,
    attempt,
    call,
    event,
    login,
    running,
)

pytestmark = pytest.mark.django_db

EVERYBODY = {"operator", "approver", "auditor", "support", "administrator"}
WHO = {
    "/admin/": EVERYBODY,
    LIST: EVERYBODY,
    f"{LIST}{{invoice}}/change/": EVERYBODY,
    BATCHES: EVERYBODY,
    f"{BATCHES}running/": EVERYBODY,
    f"{BATCHES}{{batch}}/change/": EVERYBODY,
    f"{BATCHES}{{batch}}/rows/": EVERYBODY,
    f"{BATCHES}{{batch}}/progress/": EVERYBODY,
    f"{BATCHES}{{batch}}/preview/": set(),
    QUEUE: {"operator", "approver", "auditor"},
    f"{QUEUE}{{parked}}/change/": {"operator", "approver", "auditor"},
    f"{QUEUE}{{parked}}/decide/": set(),
    CALLS: {"auditor"},
    f"{CALLS}{{call}}/change/": {"auditor"},
    f"{CALLS}{{call}}/payload/request/": {"auditor"},
    f"{CALLS}{{call}}/payload/answer/": {"auditor"},
    f"{CALLS}{{call}}/request.txt": {"auditor"},
    f"{CALLS}{{call}}/request-head.txt": {"auditor"},
    f"{CALLS}{{call}}/answer.txt": {"auditor"},
    f"{CALLS}{{call}}/answer-head.txt": {"auditor"},
    f"{LIST}{{invoice}}/compare/": {"auditor"},
    HISTORY: {"auditor", "administrator"},
    f"{HISTORY}{{event}}/change/": {"auditor", "administrator"},
}


@pytest.fixture
def ids(client: Client) -> dict[str, object]:
    user = login(client, "operator")
    made = attempt(running(user), InvoiceFactory.create(), "queued")
    other = InvoiceFactory.create(account=made.account)
    return {
        "parked": attempt(made.batch, other, "needs_review", code="vanished").pk,
        "invoice": made.invoice_id,
        "batch": made.batch_id,
        "call": call(made.invoice, made).pk,
        "event": event(made, "queued").pk,
    }


@pytest.mark.parametrize("role", sorted(EVERYBODY))
def test_each_page_opens_for_those_it_is_meant_for(
    client: Client, ids: dict[str, object], role: str
) -> None:
    login(client, role)
    for address, may in WHO.items():
        status = client.get(address.format(**ids)).status_code
        assert (status == 200) is (role in may), (address, status)
        assert status in (200, 403), (address, status)


@pytest.mark.parametrize("address", list(WHO))
def test_nobody_sees_anything_without_logging_in(
    client: Client, ids: dict[str, object], address: str
) -> None:
    client.logout()
    answer = client.get(address.format(**ids))
    assert answer.status_code == 302
    assert answer["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("role", sorted(EVERYBODY))
def test_no_page_takes_a_post_that_changes_a_record(
    client: Client, ids: dict[str, object], role: str
) -> None:
    login(client, role)
    for address in WHO:
        if address in ("/admin/", f"{BATCHES}running/") or "progress" in address:
            continue
        status = client.post(address.format(**ids), {"state": "paid", "_save": "1"}).status_code
        # 409: those who decide are told that this is no decision.
        assert status in (200, 403) or (status, "decide" in address) == (409, True), address
