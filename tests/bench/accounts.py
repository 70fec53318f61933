"""Two accounts in two processes beside one account in one: what another worker is worth.

Each account has a sandbox of its own, as each has a provider of its own.
"""

import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from django.db.models import Max, Min

from invoices.models import CancellationBatch, ProviderRequest, ProviderResponse
from tests.bench.figures import Figure, Size, times_better
from tests.bench.stage import confirmed_batch, logs, sandbox
from tests.processes import MANAGE, environment, running, until

LATENCIES = (0, 150)
NAMES = ("paypal-europe", "paypal-america")
LONGEST = 600.0


def figures(size: Size) -> Iterator[Figure]:
    """In turns; the medians count."""
    for latency in LATENCIES:
        alone, together = [], []
        for _ in range(size.rounds):
            alone.append(rate(NAMES[:1], latency, size))
            together.append(rate(NAMES, latency, size))
        name = f"two accounts, two processes, {latency} ms latency: one account"
        both, one = statistics.median(together), statistics.median(alone)
        yield times_better(name, both, "/s", one, 1.4)


def rate(names: Sequence[str], latency: int, size: Size) -> float:
    """Invoices a second of all these accounts, from the first request to the last answer."""
    with ExitStack() as stack:
        origins = [stack.enter_context(sandbox(latency)) for _ in names]
        count = size.drained * 2
        made = [
            confirmed_batch(origin, count, name)
            for origin, name in zip(origins, names, strict=True)
        ]
        env = environment(logs(), ",".join(origins))
        drains = [
            stack.enter_context(
                running(*MANAGE, "drain", name, env=env, log=logs() / f"drain-{name}.log")
            )
            for name in names
        ]
        # To their own end: one that is killed leaves its account leased.
        until(lambda: not any(one.is_running() for one in drains), LONGEST)
        if any(map(is_left, made)):
            raise SystemExit(f"a drain ended before its batch did: {logs()}")
        return count * len(names) / seconds_of(made)


def is_left(batch: CancellationBatch) -> bool:
    """Whether it is not cancelled to its last invoice."""
    return batch.attempts.exclude(state="cancelled").exists()


def seconds_of(made: Sequence[CancellationBatch]) -> float:
    """As the record has it, without what processes take to start."""
    about = {"purpose": "cancel", "subjects__attempt__batch__in": made}
    first = ProviderRequest.objects.filter(**about).aggregate(at=Min("created_at"))["at"]
    answers = ProviderResponse.objects.filter(request__in=ProviderRequest.objects.filter(**about))
    last = answers.aggregate(at=Max("received_at"))["at"]
    return float((last - first).total_seconds())
