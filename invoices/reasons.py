"""What the codes of attempts mean, as plain sentences for people.

The codes are given by eligibility, by the outcome rules, by the drain and by the HTTP client; one
that is not listed is shown as it is.
"""

from invoices.eligibility import RULES
from invoices.models.attempt import State
from providers.models import ProviderAccount

REFUSED = {
    "paid": "It is paid.",
    "partially_paid": "It is partly paid.",
    "payment_pending": "A payment is under way.",
    "draft": "It is a draft that was never sent.",
    "scheduled": "It is scheduled and not sent yet.",
    "refunded": "It was refunded.",
    "written_off": "It was written off.",
    "expired": "It has expired.",
    "cancelled": "It is already cancelled.",
    "already_cancelled": "It is already cancelled.",
    "not_found": "The provider does not have it.",
    "forbidden": "The provider does not allow it with these credentials.",
    "invalid": "The provider does not accept the request for this invoice.",
    "unknown": "The provider uses a word for its status that is not known here.",
}

SKIPPED = {
    "amount_changed": "Its amount changed after the preview.",
    "currency_changed": "Its currency changed after the preview.",
    "customer_changed": "Its customer changed after the preview.",
    "open": "It was opened again after the preview.",
}

OTHERS = {
    # Of which it is certain that nothing was carried out.
    "stopped": "A person stopped the batch before it was carried out.",
    "unreachable": "The provider could not be reached.",
    "dns": "The provider's host name could not be resolved.",
    "tls": "No safe connection to the provider could be made.",
    "deadline_passed": "There was no time left to send it.",
    "lease_lost": "The worker was replaced before it could be sent.",
    "not_running": "The batch was not running any more.",
    "account_paused": "The provider account is paused.",
    "account_resting": "The provider account is resting after errors.",
    "rate_limited": "The provider asked for fewer calls.",
    "credentials": "The provider does not accept the account's credentials.",
    "unreadable": "It could not be read just before the cancellation.",
    "not_carried_out": "The provider did not carry it out.",
    "bad_setting": "A setting of the provider account is wrong.",
    "no_token": "The provider gave no access token.",
    "unsent": "It could not be sent.",
    # In doubt.
    "timeout": "The provider did not answer in time.",
    "deadline": "The answer took too long and was cut off.",
    "connection_lost": "The connection was lost after sending.",
    "garbled": "The answer was not proper HTTP.",
    "too_large": "The answer was too large to be honest.",
    "bad_encoding": "The answer's compression could not be undone.",
    "server_error": "The provider answered with an error of its own.",
    "redirect": "The provider redirected the call; redirects are never followed.",
    "unexpected_answer": "The answer says neither yes nor no.",
    "decide_by_reading": "The provider said no without a reason to rely on.",
    "refused_together": "The provider refused a call about several invoices without a reason.",
    "read_failed": "The invoice could not be read.",
    "interrupted": "The worker ended in the middle.",
    # Left to a person.
    "undecided": "Reading it again and again did not tell whether it was cancelled.",
    "vanished": "The provider does not have it any more, so it cannot tell.",
    "never_confirmed": "The provider took the request and never confirmed it.",
    "credited": "It reads paid, but a part of it was credited, perhaps by our request.",
    "contradicted": "The provider said no, and shows it as cancelled after all.",
    "disagrees": "The provider confirmed the cancellation, but shows it as not cancelled.",
    "decided": "Two persons decided it.",
}

LEFT_TO_A_PERSON = (
    *("undecided", "vanished", "never_confirmed", "credited"),
    *("contradicted", "disagrees"),
)
"""The codes with which an attempt is parked for review."""

DECISIONS = {
    State.CANCELLED: (
        "Our request was carried out. The invoice’s own status stays what the provider last stated."
    ),
    State.ALREADY_CANCELLED: (
        "It had been cancelled before, not by us. "
        "The invoice’s own status stays what the provider last stated."
    ),
    State.REFUSED: "The provider said no, and the invoice stands.",
    State.FAILED: "Our request was not carried out. It may be retried, which sends a new one.",
    State.WITHDRAWN: "Our request was not carried out, and nobody wants it any more.",
}
"""What each end means that two persons may decide on."""

_RESTS = {
    "rate_limited": "the provider asked for fewer calls",
    "breaker": "too many calls to the provider failed",
}


def rest_reason(account: ProviderAccount) -> str:
    """Why an account rests, to be put after "because"."""
    known = _RESTS.get(account.resting_reason, "of errors")
    if account.resting_reason == "breaker" and account.breaker_trips > 1:
        return f"{known}, {account.breaker_trips} times in a row by now"
    return known


def reason(state: str, code: str) -> str:
    """The sentence for an attempt's code in this state; "" where there is nothing to say."""
    if not code:
        return ""
    if state == State.INELIGIBLE and code in RULES:
        return RULES[code].sentence
    if state == State.SKIPPED and code in REFUSED:
        return f"It changed after the preview: {REFUSED[code][0].lower()}{REFUSED[code][1:]}"
    known = {**REFUSED, **SKIPPED, **OTHERS}
    return known.get(code, code.replace("_", " ").capitalize() + ".")
