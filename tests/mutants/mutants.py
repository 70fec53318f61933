"""Mistakes that an engine like this could have, each as a patch of the real code."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import PropertyMock, patch

from invoices import batches, intents, judging, outcomes, settling
from invoices.calls import Calls
from invoices.judging import Verdict
from invoices.models.attempt import CancellationAttempt, State
from invoices.outcomes import Decision, Standing
from providers.errors import OutcomeUnknown, ProviderError

Mutant = Callable[[], Any]


def no_intent_row() -> Any:
    """A request leaves without having been put on record."""
    return patch.object(intents, "write_requests", lambda *_: None)


def timeout_is_failure() -> Any:
    """No answer is taken for "not done"."""

    def decided(standing: Standing, error: ProviderError) -> Decision | None:
        lost = isinstance(error, OutcomeUnknown) and error.code in ("timeout", "connection_lost")
        return Decision(State.FAILED, error.code) if lost else None

    return _after_error(decided)


def server_error_is_unsent() -> Any:
    """A 5xx is taken for a proof that nothing was done, and the cancel is sent again."""

    def decided(standing: Standing, error: ProviderError) -> Decision | None:
        failed = isinstance(error, OutcomeUnknown) and error.code == "server_error"
        return Decision(State.QUEUED, error.code, due_in=1.0) if failed else None

    return _after_error(decided)


def already_is_never_ours() -> Any:
    """What is found cancelled is somebody else's doing, whatever we sent before."""
    decision = Decision(State.ALREADY_CANCELLED)
    return patch.object(outcomes, "_found_cancelled", lambda _: decision)


def already_is_always_ours() -> Any:
    """What is found cancelled is our doing, even if we never asked for it."""
    decision = Decision(State.CANCELLED, evidence="read_back", verified=True)
    return patch.object(outcomes, "_found_cancelled", lambda _: decision)


def no_first_byte_gate() -> Any:
    """Nobody looks at the lease at the first byte."""
    return patch.object(Calls, "gate", lambda _: None)


@contextmanager
def no_lease_token_on_record() -> Iterator[None]:
    """Whoever comes late writes over what another drain has in hand."""
    real = settling.Settling._write_group

    def unguarded(self: settling.Settling, group: list[Verdict]) -> None:
        with patch.object(Verdict, "lease", PropertyMock(return_value=None)):
            real(self, group)

    with patch.object(settling.Settling, "_write_group", unguarded):
        yield


def withdraw_at_any_time() -> Any:
    """A stop withdraws what has been sent, too."""
    real = batches.finish_if_done

    def finish(batch_id: int) -> bool:
        rows = CancellationAttempt.objects.filter(batch_id=batch_id, batch__state="stopping")
        for state in (State.SENDING, State.UNKNOWN):
            held = list(rows.filter(state=state))
            CancellationAttempt.objects.move(held, replace(batches.WITHDRAW, expected=state))
        return real(batch_id)

    return patch.object(batches, "finish_if_done", finish)


def no_settle() -> Any:
    """The first read that shows the invoice open counts, however early it was taken."""
    real = judging.standing_of

    def settled(*given: Any, **named: Any) -> Standing:
        standing = real(*given, **named)
        return standing if standing.settled is None else replace(standing, settled=True)

    return patch.object(judging, "standing_of", settled)


def expired_lease_is_resent() -> Any:
    """What a drain that is gone had in hand is simply done again."""
    decision = Decision(State.QUEUED, "interrupted", due_in=0.0)
    return patch.object(outcomes, "after_interruption", lambda _: decision)


def _after_error(decided: Callable[[Standing, ProviderError], Decision | None]) -> Any:
    real = outcomes.after_error

    def mutated(standing: Standing, error: ProviderError, *, backoff: float) -> Decision:
        return decided(standing, error) or real(standing, error, backoff=backoff)

    return patch.object(outcomes, "after_error", mutated)


ALL: Sequence[Mutant] = (
    no_intent_row,
    timeout_is_failure,
    server_error_is_unsent,
    already_is_never_ours,
    already_is_always_ours,
    no_first_byte_gate,
    no_lease_token_on_record,
    withdraw_at_any_time,
    no_settle,
    expired_lease_is_resent,
)
