"""Plays cases through the real engine, many at once, and compares each end with the rules."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from zlib import crc32

from django.db import connections
from django.db.models import Q
from django.utils import timezone

from invoices import accounts, batches, drain
from invoices.models import CancellationAttempt, ProviderResponse
from invoices.models.attempt import WORKING, State
from providers.models import ProviderAccount
from tests.faults.cases import HELD_BACK, ONCE, Case
from tests.faults.hurry import LATER, PATIENCE, hurried
from tests.faults.rules import End, Expected, expected
from tests.faults.stage import AT_ONCE, Scene, Stage, opened

AS_MANY = 64
"""Cases of one account at the same time: few enough for a read to come in time."""
SCENES_AT_ONCE = 2
ALONE_AT_ONCE = 8
PATIENCE_SECONDS = 90.0 * PATIENCE
ARRIVAL_SECONDS = 20.0 * PATIENCE
SPELL_SECONDS = 15.0
FIRST_SPELL_SECONDS = 0.03
ENOUGH_READS = 3
"""Of a state that stays: a read that always fails is tried every day, for ever or for a week."""


@dataclass(frozen=True)
class Result:
    """How a case ended; `wrong` says what is not as expected."""

    case: Case
    end: str
    cancels: int
    wrong: list[str] = field(default_factory=list)


@dataclass
class Report:
    """All results, the invariants that did not hold, and the time it took."""

    results: list[Result] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def failures(self) -> list[Result]:
        """The cases that ended otherwise than expected."""
        return [one for one in self.results if one.wrong]


def run(cases: Iterable[Case], inspect: Callable[[Stage], list[str]]) -> Report:
    """Play them all; `inspect` compares the whole record with the provider's log in the end."""
    report, started = Report(), time.monotonic()
    chosen = sorted(set(cases))
    with opened() as stage:
        for wide in (False, True):
            with hurried(stage.origins, str(stage.server.ca_bundle), wide=wide):
                report.results += _play_all(stage, [case for case in chosen if case.wide is wide])
        with hurried(stage.origins, str(stage.server.ca_bundle), wide=False):
            report.violations = inspect(stage)
    report.seconds = time.monotonic() - started
    return report


def grouped(cases: Sequence[Case]) -> list[list[Case]]:
    """Cases that may share an account, a list for each account.

    Mixed, so that no account has only calls that hang: they would keep all of its threads.
    """
    groups: dict[tuple[str, ...], list[list[Case]]] = defaultdict(list)
    for case in sorted(cases, key=lambda case: crc32(str(case).encode())):
        stopped = case.world == "stopped"
        family = "redirect" if case.pauses else "stopped" if stopped else "shared"
        chunks = groups[family, case.provider]
        if not chunks or len(chunks[-1]) >= (AT_ONCE if stopped else AS_MANY):
            chunks.append([])
        chunks[-1].append(case)
    return [chunk for chunks in groups.values() for chunk in chunks]


def _play_all(stage: Stage, cases: Sequence[Case]) -> list[Result]:
    alone = [[case] for case in cases if case.alone]
    shared = grouped([case for case in cases if not case.alone])
    results = []
    for groups, at_once in ((shared, SCENES_AT_ONCE), (alone, ALONE_AT_ONCE)):
        with ThreadPoolExecutor(at_once) as pool:
            for played in pool.map(lambda group: _with_own_connection(stage, group), groups):
                results += played
    return results


def _with_own_connection(stage: Stage, cases: list[Case]) -> list[Result]:
    try:
        return play(stage, cases)
    finally:
        connections.close_all()


def play(stage: Stage, cases: list[Case]) -> list[Result]:
    """One scene from its set-up to its end."""
    scene = stage.scene(cases)
    stopper = _stopper(stage, scene) if scene.case.world == "stopped" else None
    if _heals(scene.case):
        _try_once(scene)
        stage.heal(scene.account)
    paused_by = _work_off(scene)
    if stopper:
        stopper.join()
    return _results(stage, scene, paused_by)


# --- letting time pass ----------------------------------------------------------------------------


def _work_off(scene: Scene) -> set[str]:
    """Drain until all is at its end; the codes by which the account was paused meanwhile."""
    paused_by: set[str] = set()
    gives_up = time.monotonic() + PATIENCE_SECONDS
    account = scene.account
    while time.monotonic() < gives_up:
        drain.run(account.pk, SPELL_SECONDS)
        account.refresh_from_db()
        if account.is_paused:
            paused_by.add(account.pause_code)
            if scene.case.alone:
                _finish_stopped(scene)
            if scene.case.fault == "401_forever":
                break
            accounts.resume(account, None)
        if _is_over(scene):
            break
        _bring_forward(scene)
    return paused_by


def _bring_forward(scene: Scene) -> None:
    """What is due in hours is due now; but never before the last request has settled.

    A no settles nothing by our record; whoever says it and acts later has then acted.
    """
    now = timezone.now()
    mine = CancellationAttempt.objects.filter(batch=scene.batch)
    lately = now - timedelta(seconds=2 * LATER)
    said_no = Q(state=State.REFUSED, due_at__isnull=False, finished_at__gt=lately)
    if mine.filter(Q(settled_at__gt=now) | said_no).exists():
        time.sleep(0.1)
        return
    waiting = mine.filter(due_at__gt=now + timedelta(seconds=1))
    if not waiting.update(due_at=now):
        time.sleep(0.02)


def _is_over(scene: Scene) -> bool:
    """Whether nothing is due any more, or nothing else will come of it."""
    mine = CancellationAttempt.objects.filter(batch=scene.batch)
    for_ever = Q(state__in=(State.NEEDS_REVIEW, State.CANCELLED), reads__gte=ENOUGH_READS)
    open_ends = mine.filter(Q(state__in=WORKING) | Q(due_at__isnull=False) & ~for_ever)
    return not open_ends.exists()


def _heals(case: Case) -> bool:
    """Whether the account's address becomes good after the first failure."""
    once = case.fault.endswith(ONCE) and case.fault != "401_once"
    return once or case.fault == "deadline_passed"


def _try_once(scene: Scene) -> None:
    """Until the first call has failed, so that a next one may go well."""
    gives_up = time.monotonic() + PATIENCE_SECONDS
    tried = ProviderResponse.objects.filter(request__account=scene.account)
    while time.monotonic() < gives_up:
        drain.run(scene.account.pk, FIRST_SPELL_SECONDS)
        # At the end of so short a spell a call may have been held back: that was no try.
        if tried.exclude(fault="not_running").exists():
            return


def _stopper(stage: Stage, scene: Scene) -> threading.Thread:
    """A person who stops the batch as soon as all of its cancels have arrived."""
    thread = threading.Thread(target=_stop, args=(stage, scene), daemon=True)
    thread.start()
    return thread


def _stop(stage: Stage, scene: Scene) -> None:
    wanted = {actor.reference for actor in scene.actors}
    gives_up = time.monotonic() + ARRIVAL_SECONDS
    try:
        while wanted and time.monotonic() < gives_up:
            time.sleep(0.02)
            for entry in stage.control.log(
                scene.log_from, kind="cancel", account=scene.account.name
            ):
                wanted -= set(entry["ids"])
        _finish_stopped(scene)
    finally:
        connections.close_all()


def _finish_stopped(scene: Scene) -> None:
    """Stop the batch if that belongs to the case and was not done yet."""
    scene.batch.refresh_from_db()
    if scene.case.world == "stopped" and scene.batch.state in ("running", "paused"):
        try:
            batches.stop(scene.batch, scene.batch.requested_by)
        except batches.BatchRefused:
            return  # It had come to its end at the same moment.
    batches.finish_if_done(scene.batch.pk)


# --- comparing ------------------------------------------------------------------------------------


def _results(stage: Stage, scene: Scene, paused_by: set[str]) -> list[Result]:
    attempts = {
        one.invoice.external_id: one for one in scene.batch.attempts.select_related("invoice")
    }
    log = stage.control.log(scene.log_from, account=scene.account.name)
    cancels: dict[str, int] = defaultdict(int)
    for entry in log:
        for reference in entry["ids"] if entry["kind"] == "cancel" else ():
            cancels[reference] += 1
    scene_wrong = _about_account(scene, paused_by, [one["kind"] for one in log])
    return [
        _result(actor.case, attempts[actor.reference], cancels[actor.reference], scene_wrong)
        for actor in scene.actors
    ]


def _result(case: Case, attempt: CancellationAttempt, cancels: int, wrong: list[str]) -> Result:
    end = End(attempt.state, attempt.code, attempt.evidence)
    return Result(case, str(end), cancels, [*wrong, *_differences(expected(case), end, cancels)])


def _differences(wanted: Expected, end: End, cancels: int) -> list[str]:
    wrong = []
    if end not in wanted.ends:
        ends = " or ".join(sorted(map(str, wanted.ends)))
        wrong.append(f"ended as {end}, not as {ends}")
    if not wanted.least <= cancels <= wanted.most:
        wrong.append(f"{cancels} cancels arrived, not {wanted.least} to {wanted.most}")
    return wrong


def _about_account(scene: Scene, paused_by: set[str], kinds: list[str]) -> list[str]:
    """What concerns the account as a whole."""
    case = scene.case
    wrong = []
    unpaused = case.may_go_unpaused and not paused_by
    if paused_by != ({case.pauses} - {""}) and not unpaused:
        wrong.append(f"paused by {sorted(paused_by)}, not by {case.pauses or 'nothing'}")
    calls = [kind for kind in kinds if kind != "token"]
    if case.fault == "breaker_open" and calls[:1] == ["cancel"]:
        wrong.append("the first call after the breaker opened was a cancel")
    if case.fault in HELD_BACK and ProviderAccount.objects.get(pk=scene.account.pk).resting_reason:
        wrong.append("the account still rests")
    return wrong
