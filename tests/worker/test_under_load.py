"""A worker in the middle of a batch: asked to stop, and with Redis as its queue."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django_q.models import OrmQ

from invoices import batches, drain
from invoices.models import CancellationBatch, Invoice, ProviderResponse
from invoices.models.attempt import State
from invoices.recorder import DirectRecorder
from providers.models import ProviderAccount
from providers.sandbox.running import SandboxServer
from tests.factories import AccountFactory, UserFactory, store
from tests.processes import MANAGE, environment, running, until

pytestmark = [
    pytest.mark.django_db(transaction=True, serialized_rollback=True),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

ACCOUNT = "monite-nord"
INVOICES = 60


@pytest.fixture
def account(sandbox: SandboxServer) -> ProviderAccount:
    """An account whose provider takes its time, with open invoices of which we know."""
    made: ProviderAccount = AccountFactory.create(
        name=ACCOUNT, origin=sandbox.origin, rate_per_second=20.0
    )
    references = [sandbox.control.add_invoice(ACCOUNT) for _ in range(INVOICES)]
    adapter = made.connect(DirectRecorder(made))
    for start in range(0, INVOICES, adapter.fetch_limit):
        found = adapter.fetch(references[start : start + adapter.fetch_limit])
        for remote in found.invoices.values():
            store(made, remote)
    adapter.client.close()
    return made


def started() -> CancellationBatch:
    """A confirmed batch of all invoices."""
    operator = UserFactory.create(role="operator")
    batch = batches.freeze(operator, Invoice.objects.all(), "all")
    reasons = batches.Confirmation(batch.confirm_key, batch.digest, "duplicate", "", {})
    return batches.confirm(batch, operator, reasons)


def cancelled(batch: CancellationBatch) -> int:
    return batch.attempts.filter(state=State.CANCELLED).count()


def test_a_stop_under_load_leaves_nothing_in_hand_and_nothing_in_doubt_unread(
    account: ProviderAccount, sandbox: SandboxServer, tmp_path: Path
) -> None:
    sandbox.control.switch(latency=0.3)
    ProviderAccount.objects.update(rate_per_second=5.0)
    batch = started()
    env = environment(tmp_path, sandbox.origin, PACE="0.01", DRAIN_SECONDS="5")
    with running(*MANAGE, "worker", env=env, log=tmp_path / "worker.log") as worker:
        until(lambda: cancelled(batch) >= 5, 30)
        assert worker.stop(45)
        assert worker.status == 0
    states = set(batch.attempts.values_list("state", flat=True))
    assert not states & {State.CLAIMED, State.SENDING}
    left = ProviderResponse.objects.filter(request__purpose="cancel", sent=True)
    assert left.count() == len(sandbox.control.log(kind="cancel"))
    assert cancelled(batch) < INVOICES

    sandbox.control.switch(latency=0.0)
    ProviderAccount.objects.update(rate_per_second=100.0)
    while drain.run(account.pk, 10):
        pass
    assert cancelled(batch) == INVOICES
    assert len(sandbox.control.log(kind="cancel")) == INVOICES


@contextmanager
def redis() -> Iterator[str]:
    """A server of our own on a socket that nobody else finds; its URL."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server on this machine")
    with tempfile.TemporaryDirectory(prefix="annul-redis-", dir="/tmp") as folder:
        socket = Path(folder) / "socket"
        command = [program, "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir"]
        with subprocess.Popen([*command, folder], stdout=subprocess.DEVNULL) as server:
            try:
                until(socket.exists)
                yield f"unix://{socket}?db=0"
            finally:
                server.terminate()


def test_with_redis_as_the_queue_nothing_passes_through_the_database_s_own(
    account: ProviderAccount, sandbox: SandboxServer, tmp_path: Path
) -> None:
    batch = started()
    OrmQ.objects.all().delete()
    with redis() as url:
        env = environment(tmp_path, sandbox.origin, PACE="0.01", REDIS_URL=url)
        with running(*MANAGE, "worker", env=env, log=tmp_path / "worker.log"):
            until(lambda: cancelled(batch) == INVOICES, 40)
    assert not OrmQ.objects.exists()
    assert len(sandbox.control.log(kind="cancel")) == INVOICES
