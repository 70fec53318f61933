"""One of everything, with a text of choice wherever text is stored."""

import hashlib
from dataclasses import dataclass
from datetime import date, timedelta
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.utils import timezone

from invoices.models import (
    ApprovalRule,
    CallSubject,
    CancellationAttempt,
    CancellationBatch,
    HistoryEvent,
    Invoice,
    InvoiceSnapshot,
    PastedList,
    ProviderRequest,
    ProviderResponse,
    ReviewDecision,
    SavedView,
    SyncRun,
)
from invoices.models.evidence import pack_headers
from providers.models import ProviderAccount
from tests.factories import AccountFactory, InvoiceFactory, UserFactory

PLAIN = "Plain words"
ROLES = {
    "o": "operator",
    "p": "approver",
    "a": "auditor",
    "s": "support",
    "d": "administrator",
    "r": "superuser",
    "n": "nobody",
}
"""The letters of the table. `nobody` may log in and has no role."""


@dataclass(frozen=True)
class World:
    """Who is in it, and the keys of what addresses are about."""

    people: dict[str, User]
    ids: dict[str, object]

    def cookies(self, letter: str) -> SimpleCookie:
        """Those of a browser in which this role is logged in."""
        client = Client()
        client.force_login(self.people[letter])
        client.get("/admin/")
        return client.cookies


def build(text: str = PLAIN, elsewhere: str = "") -> World:
    """Made by what users and providers can enter, and by what they cannot.

    `elsewhere` stands in place of it in what belongs to the first account, and in what `o` typed.
    """
    people = {letter: _person(role, text) for letter, role in ROLES.items()}
    other = _person("operator", text, "2")
    resting = _account(text, "2 ")
    _pause(resting, text)
    text = elsewhere or text
    account = _account(text)
    free, live, parked, done = (_invoice(account, text, number) for number in range(4))
    own, foreign = (_batch(who, "running", text) for who in (people["o"], other))
    finished = _batch(people["o"], "finished", text)
    paused = _batch(people["o"], "paused", text)
    queued = _attempt(own, live, "queued", text)
    decided = _attempt(foreign, parked, "needs_review", text)
    _attempt(finished, done, "failed", text)
    drafts = {
        f"{whose}_draft": _draft(who, free, text)
        for whose, who in (("own", people["o"]), ("foreign", other))
    }
    waiting = {
        name: _awaiting(who, free, text)
        for name, who in (("own_awaiting", people["o"]), ("awaiting", other))
    }
    call = _call(account, live, queued, text)
    event = _event(queued, people["o"], text)
    _event(decided, people["o"], text)
    _propose(decided, other, text)
    ids: dict[str, object] = {
        "own_view": _view(people["o"], text).pk,
        "foreign_view": _view(other, text).pk,
        "list": _pasted(people["o"], live, text).pk,
        "account": account.pk,
        "resting": resting.pk,
        "invoice": live.pk,
        "own": own.pk,
        "foreign": foreign.pk,
        "finished": finished.pk,
        "paused": paused.pk,
        "parked": decided.pk,
        "call": call.pk,
        "event": event.pk,
        "export": _export(people["a"], text).pk,
        "run": _run(account, people["o"], text).pk,
        "user": other.pk,
        "root": people["r"].pk,
        "type": ContentType.objects.get_for_model(User).pk,
        "rule": _rule(account, text).pk,
        **{name: batch.pk for name, batch in (drafts | waiting).items()},
    }
    return World(people, ids)


def _view(owner: User, text: str) -> SavedView:
    return SavedView.objects.create(
        owner=owner, name=text[:40], query=urlencode({"q": text})[:1000]
    )


def _pasted(owner: User, invoice: Invoice, text: str) -> PastedList:
    made = PastedList.objects.create(owner=owner, entries=2, repeated=0, unmatched=[text])
    made.rows.create(invoice=invoice, entry=text[:150])
    made.rows.create(invoice=invoice, entry=text[:150])
    return made


def _person(role: str, text: str, suffix: str = "") -> User:
    made: User = UserFactory.create(
        username=f"{role}{suffix} {text}"[:150],
        first_name=text[:150],
        last_name=text[:150],
        email=text[:254],
        is_superuser=role == "superuser",
        role=role if role not in ("superuser", "nobody") else None,
    )
    return made


def _account(text: str, prefix: str = "") -> ProviderAccount:
    account: ProviderAccount = AccountFactory.create(
        name=f"{prefix}{text}"[:80],
        provider="paypal",
        environment=text[:32],
        base_url=text[:300],
        credentials={"client_id": text, "client_secret": text},
        api_settings={"send": text, text[:40]: text},
        facts={text[:40]: text},
        last_error=text[:300],
        last_error_at=timezone.now(),
    )
    return account


def _pause(account: ProviderAccount, text: str) -> None:
    account.paused_at = account.resting_until = timezone.now()
    account.pause_code, account.pause_reason = text[:32], text[:300]
    account.resting_reason = text[:32]
    account.save()


def _invoice(account: ProviderAccount, text: str, number: int) -> Invoice:
    invoice: Invoice = InvoiceFactory.create(
        account=account,
        external_id=f"{number}{text}"[:64],
        number=f"{number} {text}"[:150],
        customer_name=text[:300],
        customer_email=text[:254],
        currency=text[:12],
        provider_status=text[:60],
        search_text=f" {number} {text} ".lower(),
        issued_on=date(2030, 1, 1),
        due_on=date(2030, 2, 1),
    )
    raw = b'{"note": "%s"}' % text.encode()
    InvoiceSnapshot.objects.create(invoice=invoice, raw=raw, read_at=timezone.now())
    return invoice


def _batch(who: User, state: str, text: str) -> CancellationBatch:
    return CancellationBatch.objects.create(
        requested_by=who,
        state=state,
        reason="other",
        note=text,
        answer_note=text,
        selection=text[:500],
        digest=text[:64],
        options={"paypal": {"send_to_recipient": True}},
        selected_count=1,
        confirmed_at=timezone.now(),
        finished_at=timezone.now() if state == "finished" else None,
    )


def _draft(who: User, invoice: Invoice, text: str) -> CancellationBatch:
    batch = _batch(who, "draft", text)
    CancellationBatch.objects.filter(pk=batch.pk).update(confirmed_at=None, reason="")
    _attempt(batch, invoice, "draft", text)
    return batch


def _awaiting(who: User, invoice: Invoice, text: str) -> CancellationBatch:
    batch = _draft(who, invoice, text)
    CancellationBatch.objects.filter(pk=batch.pk).update(
        state="awaiting_approval",
        reason="other",
        confirmed_at=timezone.now(),
        needs_approval=True,
        approval_reasons=[text],
        approval_digest=text[:64],
        approval_key=uuid4(),
        expires_at=timezone.now() + timedelta(hours=1),
    )
    return batch


def _rule(account: ProviderAccount, text: str) -> ApprovalRule:
    return ApprovalRule.objects.create(
        account=account, measure="total", threshold=10_000, currency=text[:12], exponent=2
    )


def _attempt(
    batch: CancellationBatch, invoice: Invoice, state: str, text: str
) -> CancellationAttempt:
    batch.accounts.add(invoice.account_id)
    return CancellationAttempt.objects.create(
        batch=batch,
        invoice=invoice,
        account=invoice.account,
        state=state,
        code=text[:40],
        message=text[:300],
        frozen_status=invoice.status,
        frozen_amount_minor=invoice.amount_minor,
        frozen_currency=text[:12],
        frozen_exponent=2,
        frozen_customer=text[:300],
        due_at=timezone.now() if state == "queued" else None,
        finished_at=timezone.now() if state in ("failed", "needs_review") else None,
    )


def _call(
    account: ProviderAccount, invoice: Invoice, attempt: CancellationAttempt, text: str
) -> ProviderRequest:
    body = b'{"note": "%s", %s' % (text.encode(), text.encode())
    digest = hashlib.sha256(body).hexdigest()
    sides = {"headers": pack_headers([(text, text)]), "body": body, "body_sha256": digest}
    request = ProviderRequest.objects.create(
        account=account, purpose="cancel", method=text[:8], url=f"https://x/{text}", **sides
    )
    CallSubject.objects.create(request=request, invoice=invoice, attempt=attempt)
    ProviderResponse.objects.create(
        request=request,
        sent=True,
        status=None,
        complete=False,
        fault=text[:32],
        detail=text[:500],
        correlation_id=text[:100],
        duration_ms=7,
        **sides,
    )
    return request


def _event(attempt: CancellationAttempt, who: User, text: str) -> HistoryEvent:
    facts: dict[str, Any] = dict.fromkeys(("from_state", "to_state"), text[:20])
    return HistoryEvent.objects.create(
        kind="attempt_state",
        actor=who,
        account=attempt.account,
        batch=attempt.batch,
        attempt=attempt,
        invoice=attempt.invoice,
        code=text[:40],
        detail=text[:500],
        address=text[:45],
        **facts,
    )


def _export(who: User, text: str) -> HistoryEvent:
    return HistoryEvent.objects.create(
        kind="evidence_exported", actor=who, to_state="begun", code=text[:40], detail=text[:500]
    )


def _propose(attempt: CancellationAttempt, who: User, text: str) -> None:
    ReviewDecision.objects.create(
        attempt=attempt, outcome="failed", reason=text[:1000], proposed_by=who
    )


def _run(account: ProviderAccount, who: User, text: str) -> SyncRun:
    return SyncRun.objects.create(
        account=account,
        requested_by=who,
        state="failed",
        error=text[:500],
        external_ids=[text],
        finished_at=timezone.now(),
    )
