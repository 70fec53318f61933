"""One worker process with one drain in it, which may be struck at any statement it makes."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from django.conf import settings
from django.db import DatabaseError, OperationalError, connection

from invoices.drain import Drain
from invoices.lease import Lease
from providers.adapters.base import Adapter
from providers.models import ProviderAccount
from tests.simulator.flights import Flights, World, maker


class Killed(BaseException):
    """The process is gone at this very point. Nothing of ours may catch this."""


class Stage(Enum):
    """How far its drain is."""

    NEW = "begins"
    TURNING = "takes a turn"
    ENDING = "ends"
    GONE = "is gone"


Blow = Literal["kill", "freeze", "database", "commit"]


@dataclass
class Strike:
    """What happens to a process after so many more of its statements (or commits)."""

    blow: Blow
    after: int


class Process:
    """Does what `invoices.drain.run` does, in steps. `skew`: by how much its clock is off."""

    def __init__(self, name: str, account_id: int, world: World, skew: float) -> None:
        self.name = name
        self.skew = skew
        self.stage = Stage.NEW
        self.busy = False
        self.dead = False
        self.frozen_until = 0.0
        self.strike: Strike | None = None
        self.flights: Flights | None = None
        self.lease = Lease(account_id, settings.DRAIN_LEASE_SECONDS)
        self._account_id = account_id
        self._world = world
        self._drain: Drain
        self._adapter: Adapter

    def advance(self) -> None:
        """The next piece of its work. What the database refuses ends the drain, as in `run`."""
        try:
            self._advance()
        except Killed:
            self.die()
        except DatabaseError:
            self._end_badly()

    def die(self) -> None:
        """At once, with all that it had in memory."""
        self.dead = True
        self.stage = Stage.GONE
        self.strike = None
        self.flights = None

    def _advance(self) -> None:
        match self.stage:
            case Stage.NEW:
                self._begin()
            case Stage.TURNING:
                if not self._drain.turn():
                    self.stage = Stage.ENDING
            case Stage.ENDING:
                self._drain.end()
                self._release()
            case Stage.GONE:
                pass

    def _begin(self) -> None:
        account = ProviderAccount.objects.get(pk=self._account_id)
        if account.is_paused or not self.lease.acquire():
            self.stage = Stage.GONE
            return
        self._drain = Drain(account, self.lease, maker(self._world, self._keep))
        adapter = self._drain.connect()
        if adapter is None:
            self._release()
            return
        self._drain.begin(adapter, settings.DRAIN_SECONDS)
        self.stage = Stage.TURNING

    def _keep(self, flights: Flights) -> None:
        self.flights = flights

    def _release(self) -> None:
        self._world.releasing(self.lease)
        self.lease.release()
        self.stage = Stage.GONE
        self.flights = None

    def _end_badly(self) -> None:
        steps: list[Callable[[], None]] = [self._release]
        if self.stage is Stage.TURNING:
            steps.insert(0, self._drain.end)
        for step in steps:
            try:
                step()
            except Killed:
                self.die()
                return
            except DatabaseError:
                continue
        self.stage = Stage.GONE
        self.flights = None

    # --- being struck -----------------------------------------------------------------------------

    def before_statement(self, stand_still: Callable[["Process"], None]) -> None:
        """Called before each statement it sends to the database."""
        strike = self.strike
        if strike is None or strike.blow == "commit":
            return
        strike.after -= 1
        if strike.after > 0 or (strike.blow == "freeze" and connection.in_atomic_block):
            return
        self.strike = None
        if strike.blow == "kill":
            self.dead = True
            raise Killed
        if strike.blow == "database":
            raise OperationalError("the connection was lost")
        stand_still(self)

    def after_commit(self) -> None:
        """Called when a transaction of its own was committed; the news of it may be lost."""
        if self.strike is not None and self.strike.blow == "commit":
            self.strike.after -= 1
            if self.strike.after <= 0:
                self.strike = None
                raise OperationalError("the connection was lost at commit")
