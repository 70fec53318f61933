"""What must hold at every provider, over real sockets, from the batch to the record.

Five classes inherit `ProviderContract` and state only where their provider differs. Waiting times
are shortened by PACE; nothing else is.
"""

import time
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

import pytest
from django.contrib.auth.models import User

from invoices import batches, drain
from invoices.models import (
    CancellationAttempt,
    CancellationBatch,
    HistoryEvent,
    Invoice,
    ProviderRequest,
    ProviderResponse,
)
from invoices.recorder import DirectRecorder
from providers.models import ProviderAccount
from providers.sandbox.running import SandboxServer
from tests.factories import AccountFactory, UserFactory, store

PACE = 0.001
PATIENCE_SECONDS = 20.0


@dataclass(frozen=True)
class End:
    """How an attempt ended: its state, code and evidence, and how many cancels arrived."""

    state: str
    code: str = ""
    cancels: int = 1
    evidence: str = ""


@pytest.mark.django_db
class ProviderContract:
    """Set-up, and one test for each thing that can happen."""

    account_name: ClassVar[str]
    reads_before: ClassVar[bool] = False
    """Whether every cancel is preceded by a read (one that covers many)."""
    renews_credentials: ClassVar[bool] = False
    """Whether a 401 is answered by a fresh token or signature."""
    answer: ClassVar[End] = End("cancelled", evidence="answer")
    cancels_drafts: ClassVar[bool] = False
    paid_code: ClassVar[str] = "paid"
    partly_paid_code: ClassVar[str] = "partially_paid"
    has_drafts: ClassVar[bool] = True
    has_part_payments: ClassVar[bool] = True
    answers_with_body: ClassVar[bool] = True

    @pytest.fixture(autouse=True)
    def _set_up(
        self, sandbox: SandboxServer, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.PACE = PACE
        monkeypatch.setattr("providers.http.READ_SECONDS", 0.4)
        self.sandbox = sandbox
        self.control = sandbox.control
        self.control.switch(teos_delay=0.05)
        self.account: ProviderAccount = AccountFactory.create(
            name=self.account_name, origin=sandbox.origin
        )
        self.operator: User = UserFactory.create(role="operator")
        self.reference = self.control.add_invoice(self.account_name)
        self.invoice = self.imported(self.reference)

    # --- what the tests do ------------------------------------------------------------------------

    def imported(self, reference: str) -> Invoice:
        """The invoice as an import stores it."""
        adapter = self.account.connect(DirectRecorder(self.account))
        remote = adapter.fetch([reference]).invoices[reference]
        adapter.client.close()
        return store(self.account, remote)

    def started(self) -> CancellationAttempt:
        """A confirmed batch of the one invoice, not drained yet."""
        batch = batches.freeze(self.operator, Invoice.objects.all(), "one invoice")
        key, digest = batch.confirm_key, batch.digest
        reasons = batches.Confirmation(key, digest, "duplicate", "", {})
        batches.confirm(batch, self.operator, reasons)
        return batch.attempts.get()

    def drained(self, attempt: CancellationAttempt) -> CancellationAttempt:
        """The attempt once nothing of it is due any more, or its account is paused."""
        gives_up = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < gives_up:
            drain.run(self.account.pk, 3.0)
            attempt.refresh_from_db()
            self.account.refresh_from_db()
            verified = attempt.state != "cancelled" or attempt.verified_at
            if self.account.is_paused or (attempt.finished_at and verified):
                break
            time.sleep(0.02)
        self.check_record()
        return attempt

    def fault(self, name: str, **how: Any) -> None:
        """Have the next cancel of the invoice end like this."""
        self.control.set_fault(name, self.account_name, self.reference, **how)

    def cancels(self) -> list[dict[str, Any]]:
        """What arrived at the provider to cancel the invoice."""
        return self.control.cancels(self.account_name, self.reference)

    def is_cancelled_there(self) -> bool:
        """The truth."""
        return bool(self.control.invoice(self.account_name, self.reference)["cancelled_by"])

    def ends(self, attempt: CancellationAttempt, end: End) -> None:
        """The attempt ended like this, and the invoice reads accordingly."""
        seen = End(attempt.state, attempt.code, len(self.cancels()), attempt.evidence)
        assert seen == end, attempt.message
        self.invoice.refresh_from_db()
        shows_cancelled = self.invoice.status == "cancelled"
        assert shows_cancelled == (attempt.state in ("cancelled", "already_cancelled"))
        batch = CancellationBatch.objects.get(pk=attempt.batch_id)
        assert (batch.state == "finished") == (attempt.finished_at is not None)

    def shows(self, status: str) -> None:
        """Our copy of the invoice comes to show the truth."""
        gives_up = time.monotonic() + PATIENCE_SECONDS
        while self.invoice.status != status and time.monotonic() < gives_up:
            drain.run(self.account.pk, 1.0)
            self.invoice.refresh_from_db()
        assert self.invoice.status == status

    def check_record(self) -> None:
        """Every request that arrived is on record with its answer, and every step in history."""
        arrived = {UUID(one["request_id"]): one for one in self.control.log() if one["request_id"]}
        stored = {one.pk: one for one in ProviderRequest.objects.all()}
        assert set(arrived) <= set(stored)
        answers = {one.request_id: one for one in ProviderResponse.objects.all()}
        assert set(answers) == set(stored)
        for key, response in answers.items():
            assert response.sent or key not in arrived
            entry = arrived.get(key)
            if entry and response.complete and entry["kind"] != "token" and entry["sent_sha256"]:
                assert response.body_sha256 == entry["sent_sha256"]
        self.check_history()

    def check_history(self) -> None:
        """The steps of each attempt hang together and end where the attempt is."""
        for attempt in CancellationAttempt.objects.all():
            at = "draft"
            steps = HistoryEvent.objects.filter(attempt=attempt, kind="attempt_state")
            for step in steps.order_by("id"):
                assert step.from_state == at
                at = step.to_state
            assert at == attempt.state

    # --- what the provider says -------------------------------------------------------------------

    def test_an_open_invoice_is_cancelled_and_verified(self) -> None:
        attempt = self.drained(self.started())
        self.ends(attempt, self.answer)
        assert attempt.verified_at is not None
        assert self.is_cancelled_there()

    def test_what_somebody_else_cancelled_is_not_claimed_as_ours(self) -> None:
        attempt = self.started()
        self.control.cancel_elsewhere(self.account_name, self.reference)
        sent = 0 if self.reads_before else 1
        self.ends(self.drained(attempt), End("already_cancelled", cancels=sent))

    def test_a_payment_after_the_preview_is_respected(self) -> None:
        attempt = self.started()
        self.control.pay(self.account_name, self.reference)
        self.ends(self.drained(attempt), self.turned_down(self.paid_code))
        self.shows("paid")

    def test_a_part_payment_after_the_preview_is_respected(self) -> None:
        if not self.has_part_payments:
            pytest.skip("this provider has no part payments")
        attempt = self.started()
        self.control.pay_part(self.account_name, self.reference)
        self.ends(self.drained(attempt), self.turned_down(self.partly_paid_code))

    def test_an_invoice_that_became_a_draft(self) -> None:
        if not self.has_drafts:
            pytest.skip("this provider has no drafts")
        attempt = self.started()
        self.control.change(self.account_name, self.reference, "draft")
        end = self.answer if self.cancels_drafts else self.turned_down("draft")
        self.ends(self.drained(attempt), end)

    def test_an_invoice_that_vanished(self) -> None:
        attempt = self.started()
        self.control.delete(self.account_name, self.reference)
        sent = 0 if self.reads_before else 1
        self.ends(self.drained(attempt), End("refused", "not_found", cancels=sent))

    def test_a_malformed_id_never_leaves(self) -> None:
        attempt = self.started()
        Invoice.objects.update(external_id="../../elsewhere\r\nX: y")
        before = len(self.control.log())
        attempt = self.drained(attempt)
        assert (attempt.state, attempt.code) == ("refused", "invalid")
        assert len(self.control.log()) == before

    def turned_down(self, status: str) -> End:
        """The end by a status that came between: seen before sending, or refused."""
        if self.reads_before:
            return End("skipped", status, cancels=0)
        return End("refused", status)

    # --- signing in -------------------------------------------------------------------------------

    def test_one_401_costs_a_renewal_where_there_is_something_to_renew(self) -> None:
        self.fault("401_once")
        attempt = self.drained(self.started())
        if self.renews_credentials:
            self.ends(attempt, End("cancelled", cancels=2, evidence="answer"))
        else:
            self.ends(attempt, End("queued", "credentials"))
            assert self.account.pause_code == "credentials"

    def test_a_401_for_ever_pauses_the_account(self) -> None:
        self.fault("401_forever")
        attempt = self.drained(self.started())
        sent = 2 if self.renews_credentials else 1
        self.ends(attempt, End("queued", "credentials", cancels=sent))
        assert self.account.pause_code == "credentials"
        assert not self.is_cancelled_there()

    def test_wrong_credentials_send_no_cancel(self) -> None:
        attempt = self.started()
        wrong = dict.fromkeys(self.account.credentials, "bm90LXJpZ2h0LWF0LWFsbC0wMDAwMDAwMDAwMDA=")
        self.account.set_credentials(wrong)
        self.account.save()
        attempt = self.drained(attempt)
        assert attempt.state == "queued"
        assert self.account.pause_code == "credentials"
        assert not self.is_cancelled_there()

    def test_a_403_is_a_refusal_and_pauses_the_account(self) -> None:
        self.fault("403")
        attempt = self.drained(self.started())
        self.ends(attempt, End("refused", "forbidden"))
        assert self.account.pause_code == "forbidden"

    # --- too many, and failing servers ------------------------------------------------------------

    @pytest.mark.parametrize("retry_after", [None, "1"])
    def test_a_429_is_waited_out(self, retry_after: str | None) -> None:
        self.fault("429_then_ok", retry_after=retry_after)
        attempt = self.drained(self.started())
        self.ends(attempt, End("cancelled", cancels=2, evidence=self.answer.evidence))

    def test_a_429_for_ever_ends_after_three_sends(self) -> None:
        self.fault("429_forever")
        attempt = self.drained(self.started())
        self.ends(attempt, End("failed", "rate_limited", cancels=3))

    @pytest.mark.parametrize("name", ["500_json", "500_html", "502", "503", "504", "408"])
    def test_a_failing_server_that_had_not_acted(self, name: str) -> None:
        self.fault(name)
        attempt = self.drained(self.started())
        self.ends(attempt, End("cancelled", cancels=2, evidence=self.answer.evidence))

    def test_a_failing_server_that_had_acted(self) -> None:
        self.fault("500_json", applied="after")
        attempt = self.drained(self.started())
        self.ends(attempt, End("cancelled", evidence="read_back"))

    # --- broken connections -----------------------------------------------------------------------

    @pytest.mark.parametrize(
        "name", ["read_timeout", "fin_after_request", "rst_after_request", "partial_status_line"]
    )
    def test_no_answer_and_the_provider_had_not_acted(self, name: str) -> None:
        self.fault(name)
        attempt = self.drained(self.started())
        self.ends(attempt, End("cancelled", cancels=2, evidence=self.answer.evidence))

    @pytest.mark.parametrize(
        "name", ["read_timeout", "fin_after_request", "rst_after_request", "partial_status_line"]
    )
    def test_no_answer_and_the_provider_had_acted(self, name: str) -> None:
        self.fault(name, applied="after")
        attempt = self.drained(self.started())
        self.ends(attempt, End("cancelled", evidence="read_back"))
        assert self.is_cancelled_there()

    @pytest.mark.parametrize("name", ["short_body", "chunked_cut", "oversize_body", "gzip_bomb"])
    def test_a_broken_body_after_the_provider_had_acted(self, name: str) -> None:
        self.fault(name, applied="after")
        attempt = self.drained(self.started())
        assert attempt.state == "cancelled"
        assert len(self.cancels()) == 1
        assert self.is_cancelled_there()

    def test_a_page_instead_of_an_answer_proves_nothing(self) -> None:
        self.fault("html_200")
        attempt = self.drained(self.started())
        self.ends(attempt, End("cancelled", cancels=2, evidence=self.answer.evidence))

    @pytest.mark.parametrize("name", ["302", "307"])
    def test_a_redirect_is_not_followed_and_pauses_the_account(self, name: str) -> None:
        self.fault(name)
        attempt = self.drained(self.started())
        assert (attempt.state, attempt.code) == ("unknown", "redirect")
        assert self.account.pause_code == "redirect"
        assert len(self.cancels()) == 1
        self.resume()
        attempt = self.drained(attempt)
        self.ends(attempt, End("cancelled", cancels=2, evidence=self.answer.evidence))

    def resume(self) -> None:
        """A person has looked."""
        ProviderAccount.objects.update(paused_at=None, pause_code="", pause_reason="")

    # --- who asked --------------------------------------------------------------------------------

    def test_nothing_is_sent_for_a_paused_account(self) -> None:
        attempt = self.started()
        ProviderAccount.objects.update(paused_at="2026-01-01T00:00:00Z", pause_code="person")
        assert self.drained(attempt).state == "queued"
        assert self.cancels() == []

    def test_nothing_is_sent_for_a_stopped_batch(self) -> None:
        attempt = self.started()
        batches.stop(attempt.batch, self.operator)
        self.ends(self.drained(attempt), End("withdrawn", "stopped", cancels=0))

    def test_no_secret_is_on_record(self) -> None:
        self.drained(self.started())
        secrets = [
            self.account.credentials[one.name].encode()
            for one in self.account.adapter_class.credential_fields
            if one.secret
        ]
        for request in ProviderRequest.objects.select_related("response"):
            kept = [request.url.encode(), request.headers, request.body]
            kept += [request.response.headers, request.response.body]
            assert not [one for one in secrets for part in kept if one in bytes(part)]
