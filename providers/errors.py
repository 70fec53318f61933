"""What can go wrong with a call to a provider, named after what the caller may do next.

A cancellation cannot be undone, so the one question that matters after a failure is whether the
provider may have acted. `NotSent`, `TryLater`, `CredentialsRejected` and `Refused` are each a
proof that this call was not carried out. `OutcomeUnknown` and `ReadToDecide` are not: only
reading the invoice may decide.
"""


class ProviderError(Exception):
    """Base of all; `code` is our own word for it, `message` a plain sentence fit to be shown.

    `provider_code` is the provider's own word, kept for the record; `status` the HTTP status when
    a status line was read. `pause_account` asks that the account rest until a person has looked.
    """

    pause_account = False

    def __init__(
        self,
        code: str,
        message: str,
        *,
        provider_code: str = "",
        status: int | None = None,
        pause_account: bool = False,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.provider_code = provider_code
        self.status = status
        self.pause_account = pause_account


class NotSent(ProviderError):
    """Provably no byte was handed to the socket: the call may be made again."""


class TryLater(ProviderError):
    """The provider turned the call away before acting on it; not before `retry_after` seconds."""

    def __init__(self, message: str, *, retry_after: float | None, status: int | None) -> None:
        super().__init__("rate_limited", message, status=status)
        self.retry_after = retry_after


class CredentialsRejected(ProviderError):
    """The provider does not know us, even with a fresh token; the account needs a person."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__("credentials", message, status=status, pause_account=True)


class Refused(ProviderError):
    """The provider said no, for good, and `code` says why (`paid`, `not_found`, ...)."""


class ReadToDecide(ProviderError):
    """The provider said no without a reason that can be relied on: read the invoice."""


class OutcomeUnknown(ProviderError):
    """The call may or may not have been carried out; it must not be repeated blindly."""
