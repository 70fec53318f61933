"""Waiting made short, so that thousands of cases take minutes. What is decided stays as it is."""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from django.test.utils import override_settings

from invoices import grouping, health
from invoices.models import CancellationAttempt
from invoices.pacing import Breaker
from providers.adapters import ADAPTERS

PATIENCE = float(os.environ.get("FAULTS_PATIENCE", "1"))
"""How much longer all of it takes: where the machine is busy, a call may be late by seconds."""
PACE = 0.025 * PATIENCE
"""At a patience of 1, an invoice settles in 2 s (TEOS) to 5.25 s (Kantata)."""
LATER = 0.5 * PATIENCE
"""When the provider acts that acts later: after the first reads, before anything settles."""
TEOS_DELAY = 0.1 * PATIENCE
READ_SECONDS = 2.0 * PATIENCE
TOTAL_SECONDS = 4.0 * PATIENCE
CONNECT_SECONDS = 0.6 * PATIENCE


class Unbreakable(Breaker):
    """Hundreds of invoices whose calls fail on purpose are no sign of an unhealthy provider."""

    def note(self, ok: bool) -> float | None:
        return super().note(ok) if self.half_open else None


def one_by_one(
    attempts: Iterable[CancellationAttempt], size: int
) -> list[list[CancellationAttempt]]:
    """In place of `grouping.grouped`: a call for each, so that each can have its own fault."""
    return [[attempt] for attempt in attempts]


@contextmanager
def hurried(origins: list[str], ca_bundle: str, *, wide: bool) -> Iterator[None]:
    """Short times; with `wide` calls hold as many invoices as they do in earnest."""
    with ExitStack() as stack:
        stack.enter_context(
            override_settings(
                PACE=PACE, PROVIDER_EXTRA_ORIGINS=origins, PROVIDER_CA_BUNDLE=ca_bundle
            )
        )
        stack.enter_context(patch("providers.http.READ_SECONDS", READ_SECONDS))
        stack.enter_context(patch("providers.http.CONNECT_SECONDS", CONNECT_SECONDS))
        for adapter in ADAPTERS.values():
            stack.enter_context(patch.object(adapter, "total_seconds", TOTAL_SECONDS))
        stack.enter_context(patch.object(health, "Breaker", Unbreakable))
        if not wide:
            stack.enter_context(patch.object(grouping, "grouped", one_by_one))
        yield
