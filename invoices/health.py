"""Whether an account may be called now: by what its provider answers, and by what people say.

Held by the drain that has the account's lease. A breaker that opened closes by a read; a rest ends
by itself; a pause, which refused credentials bring about as well as people, ends by a person.
"""

from datetime import timedelta

from django.conf import settings

from invoices import outcomes, resting
from invoices.calls import Calls, Done
from invoices.lease import Lease
from invoices.pacing import Breaker, Rest
from providers.errors import NotSent, OutcomeUnknown, ProviderError, TryLater
from providers.models import ProviderAccount


class Health:
    """Shuts the calls of one drain while its account is to be left alone."""

    def __init__(self, account: ProviderAccount, lease: Lease, calls: Calls) -> None:
        self._account = account
        self._lease = lease
        self._calls = calls
        self._breaker = Breaker(account.breaker_trips)
        self.rest = Rest()
        self.needs_probe = self._breaker.half_open
        """Whether the next thing to do is a read that shows whether the provider is back."""

    @property
    def is_blocked(self) -> bool:
        """Whether nothing may leave now."""
        return self._calls.is_shut or self.rest.left > 0

    def look(self) -> None:
        """Has somebody paused the account, or let it rest?"""
        now = self._lease.now()
        row = ProviderAccount.objects.only("paused_at", "resting_until").get(pk=self._account.pk)
        if row.is_paused:
            self._calls.shut("account_paused")
        elif row.resting_until and row.resting_until > now and not self.rest:
            self._block((row.resting_until - now).total_seconds())

    def wake(self) -> None:
        """The rest is over."""
        self.rest.end()
        self._calls.reopen()

    def note(self, done: Done) -> None:
        """Let the account rest, or pause it, when the provider's answers ask for it."""
        result = done.result
        # What was under way when the breaker opened says nothing about the time since.
        is_news = self._breaker.is_news(done.job.started)
        if not isinstance(result, ProviderError):
            self._note_good(is_proof=is_news and done.job.kind != "cancel")
        elif result.pause_account:
            resting.pause(self._account, result.code, result.message)
            self._calls.shut("account_paused")
        elif isinstance(result, TryLater):
            ours = outcomes.THROTTLE * settings.PACE
            self.leave_alone(result.retry_after or ours, "rate_limited", result)
        elif is_news and _is_trouble(result, probing=done.job.kind == "probe"):
            self._note_trouble(result)

    def leave_alone(self, seconds: float, reason: str, error: ProviderError) -> None:
        """Of several answers the one that asks for the longest rest holds."""
        seconds = max(seconds, self.rest.left)
        until = self._lease.now() + timedelta(seconds=seconds)
        resting.rest(self._account, until, reason, error.message, self._breaker.trips)
        self._block(seconds)

    def _note_good(self, *, is_proof: bool) -> None:
        if is_proof and self._breaker.half_open:
            self._breaker.close()
            self.needs_probe = False
            resting.back(self._account)
        self._breaker.note(ok=True)

    def _note_trouble(self, error: ProviderError) -> None:
        seconds = self._breaker.note(ok=False)
        if seconds is not None:
            self.needs_probe = True
            self.leave_alone(seconds * settings.PACE, "breaker", error)

    def _block(self, seconds: float) -> None:
        """Send nothing for so long; what waits for its turn goes back unsent."""
        self.rest.begin(seconds)
        self._calls.shut("account_resting")


def _is_trouble(error: ProviderError, *, probing: bool) -> bool:
    """Whether a failure speaks against the provider's health rather than against one invoice."""
    if isinstance(error, NotSent):
        return error.code not in outcomes.NOT_COUNTED | outcomes.MALFORMED
    if probing:
        return True
    return isinstance(error, OutcomeUnknown) and error.code != "unexpected_answer"
