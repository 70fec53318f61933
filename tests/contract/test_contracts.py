"""The contract, kept by each of the five."""

from typing import ClassVar

from tests.contract.contract import End, ProviderContract


class TestPayPal(ProviderContract):
    account_name: ClassVar = "paypal-europe"
    renews_credentials: ClassVar = True
    # PayPal has one issue for both: CANNOT_CANCEL_PAID_INVOICE.
    partly_paid_code: ClassVar = "paid"
    answers_with_body: ClassVar = False


class TestVisaAcceptance(ProviderContract):
    account_name: ClassVar = "visa-harbour"
    renews_credentials: ClassVar = True
    cancels_drafts: ClassVar = True


class TestMonite(ProviderContract):
    account_name: ClassVar = "monite-nord"
    renews_credentials: ClassVar = True
    reads_before: ClassVar = True
    answers_with_body: ClassVar = False


class TestKantata(ProviderContract):
    account_name: ClassVar = "kantata-studio"
    reads_before: ClassVar = True
    has_part_payments: ClassVar = False


class TestTeos(ProviderContract):
    account_name: ClassVar = "teos-ledger"
    reads_before: ClassVar = True
    has_part_payments: ClassVar = False
    has_drafts: ClassVar = False
    answer: ClassVar = End("cancelled", evidence="read_back")
