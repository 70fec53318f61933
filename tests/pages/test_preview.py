"""The preview states what would happen; its form makes exactly that happen, once."""

from typing import Any

import pytest
from django.test import Client

from invoices.models import CancellationAttempt, CancellationBatch, Invoice
from invoices.preview import preview
from providers.models import ProviderAccount
from tests.factories import AccountFactory, InvoiceFactory, UserFactory
from tests.pages.scenes import (
    BATCHES,
    XSS,
    a_worker_runs,
    attempt,
    draft,
    form_of,
    invoices,
    login,
    running,
    text,
)

pytestmark = pytest.mark.django_db


def url(batch: CancellationBatch) -> str:
    return f"{BATCHES}{batch.pk}/preview/"


def prepared(client: Client, count: int = 2) -> CancellationBatch:
    user = login(client, "operator")
    return draft(user, *invoices(AccountFactory.create(), count))


def test_what_will_be_cancelled_is_counted_and_summed_by_account_and_currency(
    client: Client,
) -> None:
    user = login(client, "operator")
    one, other = AccountFactory.create(), AccountFactory.create(name="monite-nord")
    batch = draft(
        user,
        *invoices(one, 2, amount_minor=150_000),
        *invoices(one, 1, amount_minor=1240, currency="JPY", exponent=0),
        *invoices(one, 1, amount_minor=None),
        *invoices(other, 1, amount_minor=5, currency="KWD", exponent=3),
    )
    figures = preview(batch, {}, batch.requested_by)
    found = {(t.account, t.currency): (t.count, t.minor, t.not_stated) for t in figures.sums}
    assert found == {
        ("paypal-europe", "EUR"): (3, 300_000, 1),
        ("paypal-europe", "JPY"): (1, 1240, 0),
        ("monite-nord", "KWD"): (1, 5, 0),
    }
    page = text(client, url(batch))
    for stated in ("Cancel 5 invoices", "3,000.00 EUR", "1,240 JPY", "0.005 KWD", "not stated"):
        assert stated in page


def test_sums_are_exact_beyond_what_a_database_holds(client: Client) -> None:
    user = login(client, "operator")
    account, largest = AccountFactory.create(), 2**63 - 1
    batch = draft(
        user,
        *invoices(account, 3, amount_minor=largest),
        *invoices(account, 2, amount_minor=-7_000_000_001, currency="USD"),
    )
    euros, dollars = preview(batch, {}, batch.requested_by).sums
    assert (euros.minor, dollars.minor) == (3 * largest, -14_000_000_002)


def test_what_is_left_alone_is_said_rule_by_rule_with_a_sample_and_the_rest(
    client: Client,
) -> None:
    user = login(client, "operator")
    account = AccountFactory.create()
    taken = InvoiceFactory.create(account=account)
    attempt(running(user), taken, "queued")
    paid = invoices(account, 7, status="paid")
    batch = draft(user, taken, *paid, *invoices(account, 1, status="cancelled"))
    counts = {
        one.rule.code: (one.count, len(one.sample))
        for one in preview(batch, {}, batch.requested_by).ruled_out
    }
    assert counts == {"paid": (7, 5), "cancelled": (1, 1), "spoken_for": (1, 1)}
    page = text(client, url(batch))
    assert "It is paid; a paid invoice is refunded, not cancelled." in page
    assert "Another batch is already cancelling it." in page
    rest = f"{BATCHES}{batch.pk}/rows/?state=ineligible&code=paid"
    assert rest.replace("&", "&amp;") in page
    assert "1 to 7 of 7" in text(client, rest)


def test_nothing_eligible_offers_no_button(client: Client) -> None:
    user = login(client, "operator")
    batch = draft(user, *invoices(AccountFactory.create(), 2, status="paid"))
    page = text(client, url(batch))
    assert "Nothing to cancel" in page
    assert "btn-danger" not in page
    answer = client.post(url(batch), form_of(batch))
    assert "None of the selected invoices can be cancelled. Nothing was sent." in str(
        answer.content.decode()
    )


def test_consequences_and_options_are_those_of_the_chosen_providers(client: Client) -> None:
    page = text(client, url(prepared(client)))
    assert "The customer can no longer pay the invoice." in page
    assert 'name="option-paypal-notify_payer" aria-describedby' in page
    assert "Kantata" not in page


def test_what_an_option_means_is_said_beside_it_either_way(client: Client) -> None:
    batch = prepared(client)
    (effect,) = preview(batch, {}, batch.requested_by).effects
    assert not [one for one in effect.always if "mail" in one]
    page = text(client, url(batch))
    assert page.count("PayPal mails the customer") == 1
    assert "<b>Ticked:</b> PayPal mails the customer" in page
    assert "<b>Not ticked:</b> PayPal is told not to mail the customer" in page


def test_accounts_for_which_it_means_something_else_are_told_apart(client: Client) -> None:
    user = login(client, "operator")
    one = AccountFactory.create(name="monite-nord")
    other = AccountFactory.create(
        name="monite-sud",
        provider="monite",
        credentials={
            "client_id": "a",
            "client_secret": "b",
            "entity_id": "c",
        },
    )
    ProviderAccount.objects.filter(pk=one.pk).update(facts={"receivable_edit_flow": "compliant"})
    batch = draft(user, *invoices(one, 1), *invoices(other, 1))
    effects = preview(batch, {}, batch.requested_by).effects
    assert sorted(effect.accounts for effect in effects) == [("monite-nord",), ("monite-sud",)]


def test_it_says_how_long_sending_takes_at_the_accounts_rate(client: Client) -> None:
    batch = prepared(client, 30)
    ProviderAccount.objects.update(rate_per_second=0.2)
    page = text(client, url(batch))
    assert "Sending takes about 2 minutes at the accounts’ rates." in page or (
        "Sending takes about 3 minutes" in page
    )


def test_stale_copies_are_said_to_be_read_again(client: Client) -> None:
    batch = prepared(client)
    assert preview(batch, {}, batch.requested_by).stale == 0
    Invoice.objects.update(synced_at="2020-01-01T00:00:00Z")
    assert preview(batch, {}, batch.requested_by).stale == 2
    assert "2 were last read more than ten minutes ago" in text(client, url(batch))


def test_a_paused_account_and_a_missing_worker_are_warned_of(client: Client) -> None:
    batch = prepared(client)
    ProviderAccount.objects.update(paused_at="2026-01-01T00:00:00Z", pause_reason="Audit week")
    page = text(client, url(batch))
    assert "paypal-europe is paused.</strong>" in page
    assert "Reason: Audit week" in page
    assert "No worker is running." in page
    a_worker_runs()
    assert "No worker is running." not in text(client, url(batch))


def test_confirming_starts_the_batch_and_leads_to_its_page(client: Client) -> None:
    batch = prepared(client)
    answer = client.post(url(batch), form_of(batch, note=" ticket 118 "))
    assert (answer.status_code, answer["Location"]) == (303, f"{BATCHES}{batch.pk}/change/")
    batch.refresh_from_db()
    assert (batch.state, batch.reason, batch.note) == ("running", "duplicate", "ticket 118")
    assert batch.options["paypal"] == {"notify_payer": False, "notify_merchant": False}


def test_ticked_options_are_kept_with_the_batch(client: Client) -> None:
    batch = prepared(client)
    client.post(url(batch), form_of(batch, **{"option-paypal-notify_payer": "on"}))
    batch.refresh_from_db()
    assert batch.options["paypal"] == {"notify_payer": True, "notify_merchant": False}


def test_the_same_form_twice_starts_one_batch_and_says_so(client: Client) -> None:
    batch = prepared(client)
    client.post(url(batch), form_of(batch))
    again = client.post(url(batch), form_of(batch), follow=True)
    page = again.content.decode()
    assert "was already started. Nothing was started a second time." in page
    assert again.redirect_chain[-1][0] == f"{BATCHES}{batch.pk}/change/"
    assert CancellationBatch.objects.count() == 1
    assert CancellationAttempt.objects.count() == 2


def test_going_back_to_the_preview_leads_to_the_running_batch(client: Client) -> None:
    batch = prepared(client)
    client.post(url(batch), form_of(batch))
    page = client.get(url(batch), follow=True).content.decode()
    assert "was already started" in page


@pytest.mark.parametrize(
    "changes",
    [
        {"digest": "0" * 64},
        {"digest": ""},
        {"key": "00000000-0000-0000-0000-000000000000"},
        {"key": "no key"},
        {"key": ""},
        {"key": "\0"},
    ],
)
def test_a_form_that_is_not_this_preview_starts_nothing(
    client: Client, changes: dict[str, str]
) -> None:
    batch = prepared(client)
    answer = client.post(url(batch), form_of(batch, **changes))
    assert answer.status_code == 409
    assert "This is not the preview that was shown. Nothing was sent." in answer.content.decode()
    batch.refresh_from_db()
    assert batch.state == "draft"


def test_one_previews_key_does_not_start_another(client: Client) -> None:
    user = login(client, "operator")
    account = AccountFactory.create()
    one, other = (draft(user, *invoices(account, 1)) for _ in range(2))
    assert client.post(url(one), form_of(other)).status_code == 409


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reason": ""}, "Choose a reason. Nothing was sent."),
        ({"reason": "because"}, "Choose a reason. Nothing was sent."),
        ({"reason": "other", "note": " "}, "Say in the note what the other reason is."),
        ({"note": "x" * 2001}, "longer than 2,000 characters"),
    ],
)
def test_what_was_typed_is_kept_when_something_is_missing(
    client: Client, changes: dict[str, str], said: str
) -> None:
    batch = prepared(client)
    typed = {"note": "my words", "option-paypal-notify_payer": "on", **changes}
    answer = client.post(url(batch), form_of(batch, **typed))
    page = answer.content.decode()
    assert answer.status_code == 409
    assert said in page
    assert typed["note"][:50] in page
    assert 'aria-describedby="option-paypal-notify_payer-help" checked' in page


def test_a_selection_that_changed_is_shown_anew_before_anything_runs(client: Client) -> None:
    batch = prepared(client)
    first = batch.attempts.order_by("pk")[0].invoice
    Invoice.objects.filter(pk=first.pk).update(status="paid")
    typed = {"note": "my words", "option-paypal-notify_payer": "on"}
    answer = client.post(url(batch), form_of(batch, **typed), follow=True)
    page = answer.content.decode()
    assert "1 of the selected invoices changed since this preview was made." in page
    assert "my words" in page
    assert '<option value="duplicate" selected>' in page
    assert 'aria-describedby="option-paypal-notify_payer-help" checked' in page
    assert "Cancel 1 invoice?" in page
    fresh = CancellationBatch.objects.get(state="draft")
    assert answer.redirect_chain[-1][0] == url(fresh)
    assert not CancellationBatch.objects.filter(state="running").exists()


def test_keeping_the_invoices_discards_the_draft(client: Client) -> None:
    batch = prepared(client)
    page = client.post(f"{BATCHES}{batch.pk}/discard/", follow=True).content.decode()
    assert "Nothing was cancelled and nothing was sent." in page
    batch.refresh_from_db()
    assert batch.state == "discarded"
    answer = client.post(url(batch), form_of(batch), follow=True).content.decode()
    assert "is discarded. Nothing was sent." in answer


def test_discarding_by_a_link_is_refused(client: Client) -> None:
    batch = prepared(client)
    assert client.get(f"{BATCHES}{batch.pk}/discard/").status_code == 403


@pytest.mark.parametrize("role", ["operator", "approver", "auditor", "support", "administrator"])
def test_only_the_person_who_prepared_it_may_see_or_confirm_a_preview(
    client: Client, role: str
) -> None:
    batch = prepared(client)
    login(client, role)
    assert client.get(url(batch)).status_code == 403
    assert client.post(url(batch), form_of(batch)).status_code == 403
    assert client.post(f"{BATCHES}{batch.pk}/discard/").status_code == 403
    batch.refresh_from_db()
    assert batch.state == "draft"


def test_who_lost_the_permission_meanwhile_is_refused(client: Client) -> None:
    batch = prepared(client)
    batch.requested_by.groups.clear()
    assert client.post(url(batch), form_of(batch)).status_code == 403


def test_without_the_token_against_forgery_nothing_starts() -> None:
    client = Client(enforce_csrf_checks=True)
    batch = prepared(client)
    assert client.post(url(batch), form_of(batch)).status_code == 403
    batch.refresh_from_db()
    assert batch.state == "draft"


@pytest.mark.parametrize("pk", ["0", "99999", "9" * 30])
def test_a_preview_that_is_not_there_is_not_found(client: Client, pk: str) -> None:
    login(client, "operator")
    for page in ("preview", "rows", "progress", "control", "discard"):
        assert client.get(f"{BATCHES}{pk}/{page}/").status_code == 404


def test_names_stay_text(client: Client) -> None:
    user = login(client, "operator")
    account = AccountFactory.create(
        name=XSS[:60],
        provider="paypal",
        credentials={
            "client_id": "a",
            "client_secret": "b",
        },
    )
    facts: dict[str, Any] = {"number": XSS, "customer_name": XSS, "currency": "<img>"}
    batch = draft(
        user, *invoices(account, 1, **facts), *invoices(account, 1, status="paid", **facts)
    )
    for page in (url(batch), f"{BATCHES}{batch.pk}/rows/"):
        shown = text(client, page)
        assert "<script>alert" not in shown
        assert "<img>" not in shown


def test_a_superuser_confirms_only_an_own_preview(client: Client) -> None:
    batch = prepared(client)
    client.force_login(UserFactory.create(is_superuser=True))
    assert client.post(url(batch), form_of(batch)).status_code == 403
