"""A sandbox with an account for each group of cases, and the addresses at which nothing answers."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from zlib import crc32

from django.contrib.auth.models import User
from django.utils import timezone

from invoices import batches
from invoices.models import CancellationBatch, Invoice, remote_values
from invoices.recorder import DirectRecorder
from providers.adapters.base import RemoteInvoice
from providers.models import ProviderAccount
from providers.sandbox import BASE_PATHS, CREDENTIALS, PROVIDERS, SandboxServer, running
from providers.sandbox.control import Control
from providers.sandbox.dialects.teos_documents import ASSETS
from tests.factories import AccountFactory, UserFactory
from tests.faults.cases import ALERT, BETWEEN, NONE, ONCE, SEEN, Case
from tests.faults.hurry import LATER, PATIENCE, TEOS_DELAY

AT_ONCE = 24
HOLD_SECONDS = 6.0 * PATIENCE
WIDE = 3
"""Invoices that share the calls of a wide case."""
FAILING_READS = (
    *("500_json", "503", "html_200", "json_not_object"),
    *("fin_after_request", "short_body", "bad_gzip"),
)
WORLD = {"paid": "pay", "cancelled_elsewhere": "cancel_elsewhere"}
ASSET = next(iter(ASSETS))
"""TEOS's currencies; without one of its own an invoice gets any of them."""
NO_HOST = "https://no-such-host.invalid"


@dataclass(frozen=True)
class Actor:
    """One invoice that a case is about."""

    case: Case
    reference: str


@dataclass(frozen=True)
class Scene:
    """An account, a batch, and the cases that are played with them at the same time."""

    account: ProviderAccount
    batch: CancellationBatch
    actors: list[Actor]
    log_from: int

    @property
    def case(self) -> Case:
        """The case, or any of them."""
        return self.actors[0].case


class Stage:
    """Sets up scenes. Used by several threads."""

    def __init__(self, server: SandboxServer, dead: dict[str, str]) -> None:
        self.server = server
        self.control: Control = server.control
        self._dead = dead
        self._numbers = count(1)
        self._templates: dict[str, RemoteInvoice] = {}
        self.operator: User = UserFactory.create(role="operator")

    @property
    def origins(self) -> list[str]:
        """Every address that an account may have."""
        return [self.server.origin, *self.server.tls_origins.values(), *self._dead.values()]

    def scene(self, cases: list[Case]) -> Scene:
        """A confirmed batch with an invoice for each case (of a wide one several), faults armed."""
        account = self._account(cases[0])
        name, repeat = account.name, WIDE if cases[0].wide else 1
        log = self.control.log()
        log_from = log[-1]["seq"] if log else 0
        same = {"asset": ASSET, "description": "Services"}
        extra = same if account.provider == "teos" else {}
        actors = [
            Actor(case, self.control.add_invoice(name, self._own_id(case), extra=extra))
            for case in cases
            for _ in range(repeat)
        ]
        self._import(account, actors)
        batch = self._confirmed(account)
        for actor in actors[::repeat]:
            self._arm(name, actor)
        self._send_elsewhere(account, cases[0])
        return Scene(account, batch, actors, log_from)

    def _own_id(self, case: Case) -> str | None:
        """Mostly none, so that accounts share their ids; but PayPal answers for one that somebody
        else has that it is forbidden, and what vanishes shall be nobody's."""
        if case.provider != "paypal" or not case.fault.endswith("vanished"):
            return None
        return f"INV2-GONE-{next(self._numbers):08d}"

    def heal(self, account: ProviderAccount) -> None:
        """From now on the account's address is good."""
        account.base_url = self.server.origin + BASE_PATHS[account.provider]
        account.save(update_fields=["base_url"])

    # --- accounts and invoices --------------------------------------------------------------------

    def _account(self, case: Case) -> ProviderAccount:
        number = next(self._numbers)
        credentials = _credentials(case.provider, number)
        name = f"{case.provider}-{number}"
        self.control.add_account(name, case.provider, credentials)
        account: ProviderAccount = AccountFactory.create(
            name=name,
            provider=case.provider,
            origin=self.server.origin,
            credentials=credentials,
            concurrency=WIDE if case.alone else AT_ONCE,
        )
        return account

    def _import(self, account: ProviderAccount, actors: list[Actor]) -> None:
        remote = self._template(account, actors[0].reference)
        old = timezone.now() - timedelta(days=1)
        Invoice.objects.bulk_create(
            Invoice(
                account=account,
                external_id=actor.reference,
                synced_at=old if actor.case.fault in (*SEEN, *BETWEEN) else timezone.now(),
                **remote_values(replace(remote, number=actor.reference)),
            )
            for actor in actors
        )

    def _template(self, account: ProviderAccount, reference: str) -> RemoteInvoice:
        """An open invoice as this provider states it; all of them differ in their ids only."""
        if account.provider not in self._templates:
            adapter = account.connect(DirectRecorder(account))
            self._templates[account.provider] = adapter.fetch([reference]).invoices[reference]
            adapter.client.close()
        return self._templates[account.provider]

    def _confirmed(self, account: ProviderAccount) -> CancellationBatch:
        batch = batches.freeze(self.operator, Invoice.objects.filter(account=account), "a scene")
        key, digest = batch.confirm_key, batch.digest
        confirmation = batches.Confirmation(key, digest, "duplicate", "", {})
        return batches.confirm(batch, self.operator, confirmation)

    # --- what goes wrong --------------------------------------------------------------------------

    def _arm(self, name: str, actor: Actor) -> None:
        case, reference = actor.case, None if actor.case.wide else actor.reference
        if case.fault in SEEN:
            self.control.change(name, actor.reference, SEEN[case.fault])
        elif case.fault in BETWEEN:
            self.control.set_fault(
                "none", name, reference, kind="fetch", world=BETWEEN[case.fault], world_when="after"
            )
        elif not _is_of_the_connection(case):
            self._arm_cancel(name, reference, case)
        elif case.world in WORLD:
            self.control.change(name, actor.reference, WORLD[case.world])
        self._arm_reading(name, reference, case)

    def _arm_cancel(self, name: str, reference: str | None, case: Case) -> None:
        forever = case.fault.endswith("_forever")
        wide_calls = WIDE if case.wide and case.provider != "teos" else 1
        self.control.set_fault(
            case.fault,
            name,
            reference,
            times=None if forever else wide_calls,
            applied=case.applied,
            delay=LATER,
            hold=HOLD_SECONDS,
            world=WORLD.get(case.world),
            # What was carried out cannot be paid afterwards: then the change came first.
            world_when="before" if case.applied == "after" or case.fault in NONE else "after",
        )

    def _arm_reading(self, name: str, reference: str | None, case: Case) -> None:
        if case.read == "works":
            return
        failing = FAILING_READS[crc32(str(case).encode()) % len(FAILING_READS)]
        self.control.set_fault(
            "stale_once" if case.read == "stale_once" else failing,
            name,
            reference,
            kind="fetch",
            times={"fails_three": 3, "stale_once": 1, "always_fails": None}[case.read],
            once_seen=None if case.fault in SEEN else "cancel",
        )

    def _send_elsewhere(self, account: ProviderAccount, case: Case) -> None:
        """Some faults are an address, or a state of the account."""
        name = case.fault.removesuffix(ONCE)
        changes: dict[str, object] = {}
        if name in self._dead:
            changes["base_url"] = self._dead[name] + BASE_PATHS[case.provider]
        elif name.startswith("tls_"):
            listener = name.removeprefix("tls_")
            changes["base_url"] = self.server.tls_origins[listener] + BASE_PATHS[case.provider]
        elif name == "breaker_open":
            until = timezone.now() + timedelta(seconds=0.3)
            changes = {"resting_until": until, "resting_reason": "breaker", "breaker_trips": 1}
        elif name == "rate_wait":
            changes["rate_per_second"] = 2.0
        ProviderAccount.objects.filter(pk=account.pk).update(**changes or {"name": account.name})
        account.refresh_from_db()


def _is_of_the_connection(case: Case) -> bool:
    name = case.fault.removesuffix(ONCE)
    known = ("dns", "refused", "connect_timeout", "breaker_open", "rate_wait", "deadline_passed")
    return name in (*known, ALERT) or name.startswith("tls_")


def _credentials(provider: str, number: int) -> dict[str, str]:
    """Made-up credentials of an account of its own."""
    name = next(name for name, code in PROVIDERS.items() if code == provider)
    own = f"5a4db0c5-0000-4000-9000-{number:012x}"
    unique = ("client_id", "key_id", "entity_id", "token", "api_key")
    return {key: own if key in unique else value for key, value in CREDENTIALS[name].items()}


@contextmanager
def dead_addresses() -> Iterator[dict[str, str]]:
    """Fault to an address of this machine at which nothing comes about."""
    with ExitStack() as stack:
        refusing = stack.enter_context(socket.socket())
        refusing.bind(("127.0.0.1", 0))
        yield {
            "dns": NO_HOST,
            "refused": f"https://127.0.0.1:{refusing.getsockname()[1]}",
            "connect_timeout": f"https://127.0.0.1:{_crowded(stack)}",
            "deadline_passed": f"https://127.0.0.1:{_mute(stack)}",
        }


def _crowded(stack: ExitStack) -> int:
    """A port whose queue of connections is full: further ones are neither taken nor refused."""
    server = stack.enter_context(socket.socket())
    server.bind(("127.0.0.1", 0))
    server.listen(0)
    address: tuple[str, int] = server.getsockname()
    for _ in range(3):
        waiting = stack.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(address)
    return address[1]


def _mute(stack: ExitStack) -> int:
    """A port that takes connections and never says a word of TLS."""
    server = stack.enter_context(socket.socket())
    server.bind(("127.0.0.1", 0))
    server.listen(128)
    port: int = server.getsockname()[1]
    return port


@contextmanager
def opened() -> Iterator[Stage]:
    """A sandbox of its own, with TLS, and everything else that a scene needs."""
    with running(tls=True, teos_delay=TEOS_DELAY) as server, dead_addresses() as dead:
        yield Stage(server, dead)
