"""What makes the simulator fast changes nothing: the SQL is Django's, the beginning the same."""

import logging
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection
from django.db.models import Exists, OuterRef, Q, QuerySet
from pytest_django import DjangoDbBlocker

from invoices.models import CancellationAttempt, CancellationBatch, HistoryEvent, Invoice
from providers.models import ProviderAccount
from tests.simulator.inserting import Inserts, kept_inserts
from tests.simulator.noting import noting_querysets
from tests.simulator.plans import Inexact, Plan, Plans
from tests.simulator.running import Simulator, simulator


def test_each_statement_is_the_one_that_django_makes(
    django_db_blocker: DjangoDbBlocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("scenarios are played in SQLite's memory, once is enough")
    monkeypatch.setattr(logging.getLogger("invoices"), "disabled", True)
    with django_db_blocker.unblock(), simulator(check_every=1) as stage:
        for seed in range(5):
            report = stage.play(seed)
            assert not report.violation, report.story()
        assert stage.plans.checked == stage.plans.used > 500


def test_a_statement_that_is_another_is_found_out(stage: Simulator) -> None:
    plans = Plans(check_every=1)
    with noting_querysets(plans):
        assert ProviderAccount.objects.filter(name="paypal-europe").exists()
        wrong = {
            number: plan and replace(plan, sql=plan.sql + " ")
            for number, plan in plans._plans.items()
        }
        plans._plans.update(wrong)
        with pytest.raises(Inexact):
            ProviderAccount.objects.filter(name="teos-ledger").exists()


def test_values_end_up_where_they_belong(stage: Simulator) -> None:
    stage.memory.restore()
    names = ["teos-ledger", "paypal-europe", "teos-ledger"]
    for name in names:
        assert ProviderAccount.objects.get(name=name).name == name
        found = ProviderAccount.objects.filter(Q(name=name) | Q(provider=name), paused_at=None)
        assert found.values_list("name", flat=True)[0] == name
    for wanted in (names[:1], names[:2], names, []):
        listed = ProviderAccount.objects.filter(name__in=wanted)
        assert {one.name for one in listed} == set(wanted)
        assert listed.count() == len(set(wanted))
        assert listed.exists() == bool(wanted)


def test_a_list_that_changes_later_does_not_change_the_queryset(stage: Simulator) -> None:
    wanted = {"teos-ledger"}
    found = ProviderAccount.objects.filter(name__in=wanted)
    wanted.add("paypal-europe")
    assert [one.name for one in found] == ["teos-ledger"]
    assert found.query is not None
    assert [one.name for one in found.all()] == ["teos-ledger"]


def test_what_cannot_be_noted_is_done_by_django(stage: Simulator) -> None:
    stage.memory.restore()
    accounts = ProviderAccount.objects.filter(name__icontains="TEOS%_")
    assert not accounts.exists()
    assert ProviderAccount.objects.filter(name__icontains="TEOS").exists()
    both = ProviderAccount.objects.filter(name="teos-ledger") | ProviderAccount.objects.filter(
        name="paypal-europe"
    )
    assert both.count() == 2
    assert ProviderAccount.objects.filter(rate_per_second__gt=0.5).count() == 5


def test_a_subquery_is_asked_with_its_own_values(stage: Simulator) -> None:
    stage.memory.restore()
    for name, expected in (("simulated0", True), ("nobody", False), ("simulated1", True)):
        mine = User.objects.filter(pk=OuterRef("pk"), username=name)
        assert User.objects.filter(Exists(mine)).exists() == expected


def test_no_plan_outlives_the_stage(stage: Simulator) -> None:
    plan = Plan()
    assert plan.fetch(()) == []
    assert not plan.is_any(())
    assert plan.change(()) == plan.count(()) == 0
    assert "_number" in QuerySet.__dict__


@pytest.mark.parametrize("seed", range(3))
def test_a_scenario_leaves_nothing_for_the_next(seed: int, stage: Simulator) -> None:
    stage.play(seed)
    assert stage.memory.differences()
    assert CancellationBatch.objects.exists()
    stage.memory._clear()
    assert not stage.memory.differences()
    assert not CancellationAttempt.objects.exists()
    assert not Invoice.objects.exists()


def test_what_is_on_record_stays_there_within_a_scenario(stage: Simulator) -> None:
    stage.play(1)
    assert HistoryEvent.objects.exists()
    for sql in ("DELETE FROM invoices_historyevent", "UPDATE invoices_historyevent SET code = 'x'"):
        with connection.cursor() as cursor, pytest.raises(IntegrityError, match="final"):
            cursor.execute(sql)


def test_transactions_begin_and_are_committed(stage: Simulator) -> None:
    commits = 0

    def commit() -> None:
        nonlocal commits
        commits += 1
        real()

    wrapper: Any = connection
    real = wrapper._commit
    with patch.object(wrapper, "_commit", commit):
        stage.play(1)
    assert commits


def test_an_insert_that_is_another_is_found_out(stage: Simulator) -> None:
    stage.memory.restore()
    inserts = Inserts(check_every=1)
    with kept_inserts(inserts):
        User.objects.bulk_create([User(username="one")])
        changed = {
            key: text and replace(text, sql=text.sql + " ") for key, text in inserts._texts.items()
        }
        inserts._texts.update(changed)
        with pytest.raises(Inexact):
            User.objects.bulk_create([User(username="two")])
    stage.memory._copy()
