"""Two people more: `l`, an operator, and `m`, an auditor, limited to the account that rests.

All that the table of addresses names is of the other account. They have a little of their own.
"""

from dataclasses import dataclass
from http.cookies import SimpleCookie
from uuid import UUID

from django.contrib.auth.models import User

from backoffice import people
from invoices import approval_rules
from invoices.models import ApprovalRule, CancellationBatch, HistoryEvent
from providers.models import ProviderAccount
from tests.factories import UserFactory, limit
from tests.security import world as making
from tests.security.world import PLAIN, World, build

LIMITED = {"l": "o", "m": "a"}
"""Each with the letter of somebody of the same role who is not limited."""

NOT_OF_AN_ACCOUNT = {"user", "root", "type", "resting"}
"""What of the table's keys they see like everybody."""

MISSING = 900_000_001
NO_CALL = UUID("01900000-0000-7000-8000-00000000dead")


@dataclass(frozen=True)
class Limits:
    """The world, with keys of their own beside those of the table."""

    world: World
    foreign: dict[str, object]
    missing: dict[str, object]
    own: dict[str, object]

    def cookies(self, letter: str) -> SimpleCookie:
        """Those of a browser in which this person is logged in."""
        return self.world.cookies(letter)


def limited(elsewhere: str = "") -> Limits:
    """The world of the table, and them; `elsewhere` is every text of the other account."""
    world = build(PLAIN, elsewhere)
    other, mine = _accounts(world)
    for letter, like in LIMITED.items():
        role = making.ROLES[like]
        person: User = UserFactory.create(username=f"limited {role}", role=role)
        world.people[letter] = limit(person, mine)
    foreign = {name: key for name, key in world.ids.items() if name not in NOT_OF_AN_ACCOUNT}
    foreign["mixed"] = _write_of_both(world, other, mine, elsewhere or PLAIN).pk
    return Limits(
        world,
        foreign,
        {name: NO_CALL if isinstance(key, UUID) else MISSING for name, key in foreign.items()},
        _theirs(world, mine),
    )


def _theirs(world: World, account: ProviderAccount) -> dict[str, object]:
    """A little of everything at the account that is theirs."""
    who, auditor = world.people["l"], world.people["m"]
    live, parked, free = (making._invoice(account, PLAIN, number) for number in (70, 71, 72))
    batch = making._batch(who, "running", PLAIN)
    queued = making._attempt(batch, live, "queued", PLAIN)
    waiting = making._attempt(batch, parked, "needs_review", PLAIN)
    making._event(queued, who, PLAIN)
    making._event(waiting, who, PLAIN)
    batch.record(who, "draft", "running", PLAIN)
    call = making._call(account, live, queued, PLAIN)
    return {
        "invoice": live.pk,
        "free": free.pk,
        "batch": batch.pk,
        "draft": making._draft(who, free, PLAIN).pk,
        "awaiting": making._awaiting(world.people["o"], free, PLAIN).pk,
        "parked": waiting.pk,
        "call": call.pk,
        "rule": making._rule(account, PLAIN).pk,
        "run": making._run(account, who, PLAIN).pk,
        "export": making._export(auditor, PLAIN).pk,
    }


def _accounts(world: World) -> list[ProviderAccount]:
    found = ProviderAccount.objects.in_bulk()
    return [
        next(one for one in found.values() if one.pk == world.ids[name])
        for name in ("account", "resting")
    ]


def _write_of_both(
    world: World, other: ProviderAccount, mine: ProviderAccount, text: str
) -> CancellationBatch:
    """What tells of the other account although it is about none, or about both."""
    root = world.people["r"]
    mixed = making._batch(root, "running", text)
    for number, account in ((80, mine), (81, other)):
        said, state = (PLAIN, "needs_review") if account == mine else (text, "queued")
        made = making._attempt(mixed, making._invoice(account, said, number), state, said)
        making._event(made, root, said)
    mixed.record(root, "draft", "running", text)
    people.change(root, world.people["s"], [], None, [other])
    rule = ApprovalRule.objects.create(measure="count", threshold=10, account=other)
    for moved_to in (mine, None):
        rule.account = moved_to
        approval_rules.store(rule, root)
    for kind in ("evidence_exported", "view_changed"):
        HistoryEvent.objects.create(kind=kind, actor=root, to_state="begun", detail=text)
    return mixed
