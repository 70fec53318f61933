"""How the sandbox behaves where a provider's documents leave room.

Each switch is one question the public documentation does not answer, or a
figure a test wants smaller than the real one. The first choice is the default.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any


class UnknownSwitchError(ValueError):
    """A switch that does not exist, or a value it does not have."""


def _one_of(*choices: Any) -> Any:
    """A field that only takes one of ``choices``; the first is the default."""
    return field(default=choices[0], metadata={"choices": choices})


@dataclass(slots=True)
class Switches:
    """The behaviour of all five providers; times in seconds."""

    latency: float = 0.0
    """Added to every answer."""

    paypal_token_life: float = 32_400.0
    paypal_bearer_refusal: str = _one_of("invalid_token", "AUTHENTICATION_FAILURE")
    """The body of a 401: the gateway's shape or the invoicing one."""
    paypal_payment_pending: int = _one_of(422, 204)
    """What cancelling a PAYMENT_PENDING invoice answers; not documented."""

    visa_skew: float = 300.0
    """How far a signature's time may be from ours; the figure is not published."""
    visa_empty_list: int = _one_of(404, 200)
    visa_amounts: str = _one_of("number", "string")
    visa_invoicing_enabled: bool = True
    visa_pending_cancel: int = _one_of(400, 200)
    visa_list_created_date: bool = False

    monite_token_life: float = 86_400.0
    monite_missing_entity: int = _one_of(400, 422)
    monite_already_cancelled: int = _one_of(409, 400, 204)
    """204 carries the second cancel out: another credit note."""
    monite_partially_paid: str = _one_of("409", "paid")
    """The documents disagree: refused, or credited until it is ``paid``."""
    monite_edit_flow: str = _one_of("compliant", "non_compliant", "partially_compliant")
    monite_max_limit: int = 100

    kantata_already_cancelled: int = _one_of(422, 200, 400)
    kantata_balance_when_paid: str = _one_of("zero", "total")

    teos_delay: float = 0.4
    """From the 202 until the invoice reads Cancelled."""
    teos_read_lag: float = 0.0
    """How long a read still shows the state before the last change."""
    teos_cancel_answer: str = _one_of("202", "200", "201", "empty")
    teos_state: str = _one_of("name", "number", "unknown")
    teos_list: str = _one_of("envelope", "bare")
    teos_throttle_status: int = _one_of(429, 400)

    def set(self, **values: Any) -> None:
        """Changes the named switches; raises UnknownSwitchError and changes none otherwise."""
        known = {item.name: item for item in dataclasses.fields(self)}
        for name, value in values.items():
            if name not in known:
                raise UnknownSwitchError(f"there is no switch {name!r}")
            choices = known[name].metadata.get("choices")
            if choices and value not in choices:
                raise UnknownSwitchError(f"{name} is one of {choices}, not {value!r}")
        for name, value in values.items():
            setattr(self, name, value)

    def as_dict(self) -> dict[str, Any]:
        """All switches by name."""
        return dataclasses.asdict(self)
