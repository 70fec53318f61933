"""How many invoices a second one drain cancels, beside a script that records nothing.

Both cancel at the same sandbox, a process of its own, 32 at once, in turns; the medians count.
The drain does all that it always does: it masks, stores each request before it leaves, stores
each answer, and keeps the history. Only the account's own rate is set high.
"""

import statistics
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import requests

from invoices import drain
from providers.sandbox.credentials import BASE_PATHS, CREDENTIALS
from tests.bench.figures import Figure, Size, seconds_of, times_better
from tests.bench.stage import AT_ONCE, PAYPAL, confirmed_batch, fresh, sandbox

LATENCIES = (0, 150)


@dataclass(frozen=True, slots=True)
class Rates:
    """Invoices a second."""

    drain: float
    script: float


def figures(size: Size) -> Iterator[Figure]:
    """Without latency against the script; with it also against what 32 at once can reach."""
    for latency in LATENCIES:
        found = rates(latency, size)
        name = f"drain, {latency} ms latency"
        goal = None if latency else 1.5
        yield times_better(f"{name}: script without record", found.drain, "/s", found.script, goal)
        if latency:
            bound = AT_ONCE / (latency / 1000)
            yield times_better(f"{name}: bound of 32 at once", found.drain, "/s", bound, 0.97)


def rates(latency: int, size: Size) -> Rates:
    """Medians, in turns."""
    drained, scripted = [], []
    count = size.drained
    with sandbox(latency) as origin:
        for _ in range(size.rounds):
            references = fresh(origin, count)
            scripted.append(count / seconds_of(partial(script, origin, references)))
            drained.append(count / seconds_of(prepared(origin, count)))
    return Rates(statistics.median(drained), statistics.median(scripted))


def token(origin: str, account: str = PAYPAL) -> str:
    """An access token, as a script would ask for it."""
    secret = CREDENTIALS[account]
    answer = requests.post(
        f"{origin}{BASE_PATHS['paypal']}/v1/oauth2/token",
        data={"grant_type": "client_credentials"},
        auth=(secret["client_id"], secret["client_secret"]),
        timeout=30,
    )
    return str(answer.json()["access_token"])


def script(origin: str, references: list[str]) -> None:
    """The throwaway script: a session a thread, no record, no care."""
    base, local, bearer = f"{origin}{BASE_PATHS['paypal']}", threading.local(), token(origin)

    def cancel(reference: str) -> int:
        if not hasattr(local, "session"):
            local.session = requests.Session()
        answer: requests.Response = local.session.post(
            f"{base}/v2/invoicing/invoices/{reference}/cancel",
            json={"send_to_invoicer": False, "send_to_recipient": False},
            headers={"Authorization": f"Bearer {bearer}"},
            timeout=30,
        )
        return answer.status_code

    with ThreadPoolExecutor(AT_ONCE) as pool:
        if set(pool.map(cancel, references)) != {204}:
            raise SystemExit("the script did not cancel everything")


def prepared(origin: str, count: int) -> Callable[[], None]:
    """A confirmed batch of so many invoices; calling it drains it to its end."""
    batch = confirmed_batch(origin, count)
    account = batch.attempts.values_list("account", flat=True)[0]

    def job() -> None:
        while batch.attempts.exclude(state="cancelled").exists():
            drain.run(account, 25.0)

    return job
