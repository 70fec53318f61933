"""Stand-ins for the five adapters: their limits, their settling times, and a language of our own.

What each provider's answers prove is kept; how they are worded is the adapters' own tests' affair.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from json import dumps
from typing import Any, ClassVar

from providers.adapters import ADAPTERS
from providers.adapters.base import (
    Adapter,
    CancelAnswer,
    CheckResult,
    Found,
    Page,
    RemoteInvoice,
    Status,
    at,
    judge,
    judge_read,
    text,
    twice_on_401,
    unexpected,
)
from providers.errors import NotSent, OutcomeUnknown, Refused
from providers.exchange import Answer, OutgoingRequest
from providers.http import Client
from providers.identity import uuid7

Heard = Answer | NotSent | OutcomeUnknown


class Awaited(BaseException):
    """The adapter is at a request whose end is not known yet. Nothing of ours may catch this."""

    def __init__(self, request: OutgoingRequest) -> None:
        super().__init__()
        self.request = request


class Replay(Client):
    """Gives an adapter the answers heard so far, and stops it at the first one still to come.

    So an adapter's code can be run from its beginning as often as it takes, without a thread that
    waits: it does nothing but send and judge.
    """

    def __init__(self) -> None:
        # Not super(): nothing of the real client is wanted.
        self._heard: Iterator[Heard] = iter(())

    def rewind(self, heard: Sequence[Heard]) -> None:
        """What the next run will hear."""
        self._heard = iter(heard)

    def send(self, method: str, path: str, **how: Any) -> Answer:
        heard = next(self._heard, None)
        if heard is None:
            references = tuple(how["references"])
            body = how.get("body") or b""
            raise Awaited(
                OutgoingRequest(uuid7(), how["purpose"], method, path, (), body, references)
            )
        if isinstance(heard, Answer):
            return heard
        raise heard

    def learn(self, secret: str) -> None:
        """Nothing is secret here."""

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class Manner:
    """What a provider's yes is worth, whether its no says why, and what a 401 is answered by."""

    confirmed: bool = True
    proven: bool = False
    says_why: bool = False
    renews: bool = False


MANNERS = {
    "paypal": Manner(says_why=True, renews=True),
    "visa_acceptance": Manner(proven=True, renews=True),
    "monite": Manner(renews=True),
    "kantata": Manner(proven=True),
    "teos": Manner(confirmed=False),
}


class StandIn(Adapter):
    """One adapter for all five; `manner` and the limits differ."""

    manner: ClassVar[Manner]
    reference_pattern = re.compile(r"INV-\d+")
    statuses: ClassVar[Mapping[str, Status]] = {str(one): one for one in Status}

    def __init__(
        self, client: Client, credentials: Mapping[str, str], settings: Mapping[str, str]
    ) -> None:
        client.close()
        self.replay = Replay()
        super().__init__(self.replay, credentials, settings)

    def cancel(
        self, references: Sequence[str], options: Mapping[str, bool]
    ) -> Mapping[str, CancelAnswer]:
        body = dumps([self.segment(one) for one in references]).encode()
        answer = self._call("POST", "cancel", references, body)
        issue = text(answer.object().get("issue"))
        if self.manner.says_why and issue in ("already_cancelled", "paid"):
            raise Refused(issue, "The provider says so.", status=answer.status)
        judge(answer, provider_code=issue)
        if not self.manner.confirmed:
            if answer.json() is None and answer.body:
                raise unexpected("A page.", answer.status)
            return {one: CancelAnswer(confirmed=False, proven=False) for one in references}
        (reference,) = references
        if answer.object() != {"id": reference, "status": "cancelled"}:
            raise unexpected("Not what a success says.", answer.status)
        return {reference: CancelAnswer(confirmed=True, proven=self.manner.proven)}

    def fetch(self, references: Sequence[str]) -> Found:
        answer = self._call("GET", "fetch", references)
        judge_read(answer)
        said = answer.object().get("invoices")
        if not isinstance(said, list):
            raise unexpected("No list of invoices.", answer.status)
        read = [(text(at(one, "id")), remote_invoice(one)) for one in said]
        found = {key: one for key, one in read if one is not None}
        stated = {key for key, _ in read}
        wanted = set(references)
        return Found(found, frozenset(wanted - stated), frozenset(stated & wanted - found.keys()))

    def list(self, updated_since: datetime | None = None) -> Iterator[Page]:
        """Nobody imports here."""
        return iter(())

    def check(self) -> CheckResult:
        judge_read(self._call("GET", "check"))
        return CheckResult("It answers.")

    @classmethod
    def consequences(cls, facts: Mapping[str, str], options: Mapping[str, bool]) -> tuple[str, ...]:
        return ()

    def _call(
        self, method: str, purpose: str, references: Sequence[str] = (), body: bytes = b""
    ) -> Answer:
        def send() -> Answer:
            return self.client.send(
                method, f"/{purpose}", purpose=purpose, references=references, body=body
            )

        return twice_on_401(send, lambda: None) if self.manner.renews else send()


def remote_invoice(said: object) -> RemoteInvoice | None:
    """An invoice as the made-up provider words it; None where it makes no sense."""
    amount, status = at(said, "amount"), StandIn.status_of(text(at(said, "status")))
    if not isinstance(amount, int):
        return None
    return RemoteInvoice(
        reference=text(at(said, "id")),
        number=text(at(said, "id")),
        customer_name="Sample customer",
        customer_email="",
        currency="EUR",
        exponent=2,
        amount_minor=amount,
        balance_minor=amount,
        status=status,
        provider_status=str(status),
        issued_on=None,
        due_on=None,
        raw={},
    )


def _stand_in(real: type[Adapter]) -> type[Adapter]:
    copied = (
        *("code", "label", "environments", "credential_fields", "settle", "read_lag"),
        *("cancel_limit", "fetch_limit", "rate_per_second", "total_seconds"),
    )
    facts = {name: getattr(real, name) for name in copied}
    return type(f"StandInFor{real.__name__}", (StandIn,), {**facts, "manner": MANNERS[real.code]})


STAND_INS: dict[str, type[Adapter]] = {code: _stand_in(real) for code, real in ADAPTERS.items()}
