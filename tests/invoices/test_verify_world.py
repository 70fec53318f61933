"""The command that compares the record with the provider's log, and that it can fail."""

import json
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from invoices.models import (
    CancellationAttempt,
    CancellationBatch,
    HistoryEvent,
    ProviderRequest,
    ProviderResponse,
)
from providers.models import ProviderAccount
from providers.sandbox import SandboxServer, running
from tests.engine.scene import PACE, Scene
from tests.factories import AccountFactory
from tests.unguarded import unguarded

pytestmark = pytest.mark.django_db


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "provider.jsonl"


@pytest.fixture
def server(log: Path, settings: Settings) -> Iterator[SandboxServer]:
    settings.PACE = PACE
    with running(log=log) as started:
        settings.PROVIDER_EXTRA_ORIGINS = [started.origin]
        yield started


@pytest.fixture
def scene(server: SandboxServer) -> Scene:
    """Two invoices cancelled, one after a lost answer; a third by somebody else."""
    made = Scene(server, invoices=3)
    made.control.set_fault("500_json", made.name, made.references[0], applied="after")
    made.control.cancel_elsewhere(made.name, made.references[2])
    made.drained(made.started())
    return made


def verified(log: Path, *arguments: str) -> str:
    out = StringIO()
    call_command("verify_world", "--provider-log", str(log), *arguments, stdout=out)
    return out.getvalue()


def objections(log: Path, *arguments: str) -> str:
    out = StringIO()
    with pytest.raises(CommandError) as ended:
        call_command("verify_world", "--provider-log", str(log), *arguments, stdout=out)
    assert ended.value.returncode == 1
    return out.getvalue()


def test_a_true_record_passes(scene: Scene, log: Path) -> None:
    assert "3 attempts, 3 cancels" in verified(log)


def test_another_account_is_not_compared(scene: Scene, log: Path) -> None:
    ProviderAccount.objects.update(name="another-name")
    assert "not at another-name" in objections(log)
    assert "0 attempts, 0 cancels" in verified(log, "--account", "visa-harbour")


def _deny(scene: Scene) -> None:
    mine = CancellationAttempt.objects.filter(invoice__external_id=scene.references[0])
    mine.update(state="already_cancelled", evidence="")


def _refuse(scene: Scene) -> None:
    mine = CancellationAttempt.objects.filter(invoice__external_id=scene.references[1])
    mine.update(state="refused", evidence="")


def _forget_a_step(scene: Scene) -> None:
    events = HistoryEvent._base_manager.filter(to_state="sending")
    with unguarded():
        events._raw_delete(events.db)


def _alter_an_answer(scene: Scene) -> None:
    with unguarded():
        ProviderResponse._base_manager.update(body_sha256="0" * 64)


def _keep_a_secret(scene: Scene) -> None:
    secret = scene.account.credentials["client_secret"].encode()
    with unguarded():
        ProviderRequest._base_manager.update(body=b"x" + secret)


def _stand_still(scene: Scene) -> None:
    CancellationAttempt.objects.update(state="sending", lease_token=None, evidence="")


def _slow_down(scene: Scene) -> None:
    ProviderAccount.objects.update(rate_per_second=0.01)
    scene.control.switch(latency=0.0)
    for _ in range(12):
        scene.account.connect(_Silent()).check()


def _forget_an_account(scene: Scene) -> None:
    CancellationBatch.accounts.through._default_manager.all().delete()


def _note_another_account(scene: Scene) -> None:
    other = AccountFactory.create(name="monite-nord")
    CancellationBatch.objects.get().accounts.add(other)


class _Silent:
    """A recorder that keeps nothing: its calls are not on record, and no cancels."""

    def before(self, request: Any) -> None:
        pass

    def gate(self) -> None:
        pass

    def after(self, exchange: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("lie", "name"),
    [
        (_deny, "ends are true"),
        (_refuse, "ends are true"),
        (_forget_a_step, "history is whole"),
        (_alter_an_answer, "answers are kept as sent"),
        (_keep_a_secret, "no secret is kept"),
        (_stand_still, "nothing stands still"),
        (_slow_down, "the rate is kept"),
        (_forget_an_account, "accounts are noted"),
        (_note_another_account, "accounts are noted"),
    ],
)
def test_a_record_that_is_not_true_is_found_out(
    scene: Scene, log: Path, lie: Callable[[Scene], None], name: str
) -> None:
    lie(scene)
    assert f"{name}: " in objections(log)


def _twice(entries: list[dict[str, Any]], cancel: dict[str, Any]) -> None:
    entries.append({**cancel, "seq": 9001, "started": cancel["started"]})


def _never_read(entries: list[dict[str, Any]], cancel: dict[str, Any]) -> None:
    again = {**cancel, "seq": 9001, "request_id": "0" * 32, "started": cancel["finished"] + 0.0001}
    entries.append(again)


def _about_another(entries: list[dict[str, Any]], cancel: dict[str, Any]) -> None:
    entries.append({**cancel, "ids": ["INV2-0000-0000-0000-0000"]})


@pytest.mark.parametrize(
    ("lie", "name"),
    [
        (_twice, "no two cancels at once"),
        (_twice, "calls are on record"),
        (_never_read, "no blind resend"),
        (_never_read, "calls are on record"),
        (_about_another, "calls are on record"),
    ],
)
def test_what_arrived_and_should_not_have_is_found_out(
    scene: Scene,
    log: Path,
    lie: Callable[[list[dict[str, Any]], dict[str, Any]], None],
    name: str,
) -> None:
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    lie(entries, [one for one in entries if one["kind"] == "cancel" and one["finished"]][-1])
    log.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    assert f"{name}: " in objections(log)


@pytest.mark.parametrize("text", ["no json\n", "[]\n", "{}\n"])
def test_a_log_that_cannot_be_read_is_told_politely(log: Path, text: str) -> None:
    log.write_text(text)
    with pytest.raises(CommandError, match="cannot be read") as ended:
        verified(log)
    assert ended.value.returncode == 2
