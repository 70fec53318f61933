"""One account, one drainer at a time, by the database's clock."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from django.db.models.functions import Now

from invoices.lease import Lease
from providers.models import ProviderAccount
from tests.factories import AccountFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> ProviderAccount:
    made: ProviderAccount = AccountFactory.create()
    return made


def held(account: ProviderAccount, seconds: float = 60.0) -> Lease:
    lease = Lease(account.pk, seconds)
    assert lease.acquire()
    return lease


def pass_by(account: ProviderAccount) -> None:
    """Let the lease expire, by the database's clock."""
    past = Now() - timedelta(seconds=1)
    ProviderAccount.objects.filter(pk=account.pk).update(lease_expires_at=past)


def test_only_one_holds_it(account: ProviderAccount) -> None:
    first = held(account)
    assert not Lease(account.pk, 60).acquire()
    first.release()
    assert held(account).is_good()


def test_an_expired_one_is_taken_over_and_cannot_be_renewed(account: ProviderAccount) -> None:
    first = held(account)
    pass_by(account)
    second = held(account)
    assert not first.renew()
    assert not first.is_good()
    with transaction.atomic():
        assert (first.is_held(), second.is_held()) == (False, True)


def test_releasing_a_lost_one_does_not_take_it_from_its_new_holder(
    account: ProviderAccount,
) -> None:
    first = held(account)
    pass_by(account)
    second = held(account)
    first.release()
    assert second.renew()


def test_an_expired_one_is_not_renewed_even_when_nobody_took_it(account: ProviderAccount) -> None:
    first = held(account)
    pass_by(account)
    assert not first.renew()


def test_no_first_byte_leaves_in_its_last_seconds(
    account: ProviderAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease, now = held(account), time.monotonic()
    monkeypatch.setattr("invoices.lease.time.monotonic", lambda: now + 50)
    assert lease.is_good()
    monkeypatch.setattr("invoices.lease.time.monotonic", lambda: now + 56)
    assert not lease.is_good()


def test_a_machine_that_slept_has_lost_it_though_its_own_clock_stood_still(
    account: ProviderAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease, now = held(account), time.time()
    monkeypatch.setattr("invoices.lease.time.time", lambda: now + 3600)
    assert not lease.is_good()


@pytest.mark.parametrize("seconds", [2.0, 6.0, 30.0, 120.0])
def test_it_is_renewed_long_before_it_ends(
    seconds: float, account: ProviderAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease, now = held(account, seconds), time.monotonic()
    assert not lease.is_due()
    monkeypatch.setattr("invoices.lease.time.monotonic", lambda: now + seconds * 0.5)
    assert lease.is_due()
    assert lease.is_good()


def test_it_tells_the_time_of_the_database(account: ProviderAccount) -> None:
    lease = held(account)
    row = ProviderAccount.objects.annotate(at=Now()).get(pk=account.pk)
    assert abs(lease.now() - row.at) < timedelta(seconds=5)
    lease._offset = timedelta(hours=1)
    assert lease.now() > datetime.now(UTC) + timedelta(minutes=50)
