"""Control: without masking the same search finds every canary, so a clean search is a proof."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

from providers.redaction import Redactor
from providers.sandbox.running import SandboxServer
from tests.canaries.leaking import Leaking
from tests.canaries.scene import LeakyScene, called
from tests.canaries.search import all_found
from tests.canaries.sinks import mails, pages, tables, watched
from tests.canaries.steps import ERRORS, breaking
from tests.faults.cases import PROVIDERS

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


@contextmanager
def unmasked() -> Iterator[None]:
    """Nothing is masked, and Django reports as it does by itself."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(Redactor, "find", lambda *_, **__: []))
        stack.enter_context(patch.object(Redactor, "headers", lambda _, pairs: tuple(pairs)))
        yield


class Stock(ExceptionReporter):
    """Django's own reporter with its own filter."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.filter = SafeExceptionReporterFilter()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_without_masking_every_canary_is_found_in_the_tables(
    provider: str, sandbox: SandboxServer, leaks: Leaking
) -> None:
    with unmasked():
        scene = LeakyScene(sandbox, leaks, provider, invoices=1)
        for what in ("check", "list", "cancel", "fetch"):
            called(scene.account, what)
    canaries = leaks.canaries()
    stored = [text for texts in tables().values() for text in texts]
    assert all_found(stored, canaries) == canaries.keys()


def test_without_masking_logs_mails_and_pages_tell_of_secrets(
    sandbox: SandboxServer, leaks: Leaking
) -> None:
    with unmasked(), watched(reporter=f"{__name__}.Stock") as logs:
        scene = LeakyScene(sandbox, leaks, "paypal", invoices=1)
        for step in ("the request is handed over", "the answer is unpacked"):
            with breaking(step, ERRORS["a bug"]):
                called(scene.account, "check")
        called(scene.account, "check")
        seen = pages("auditor", "/admin/invoices/providerrequest/")
    canaries = leaks.canaries()
    for texts in (logs.lines, mails(), list(seen.values())):
        assert "paypal-leaks: credential client_secret" in all_found(texts, canaries)
    assert all_found(list(seen.values()), canaries) == canaries.keys()


def test_a_mask_that_is_forgotten_is_found_out(
    sandbox: SandboxServer, leaks: Leaking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One encoding that is not looked for is enough."""
    whole = Redactor.find

    def forgetful(self: Redactor, raw: bytes, **how: Any) -> Any:
        return [one for one in whole(self, raw, **how) if b"echo_hex" not in raw[: one.start][-20:]]

    monkeypatch.setattr(Redactor, "find", forgetful)
    scene = LeakyScene(sandbox, leaks, "teos", invoices=1)
    called(scene.account, "fetch")
    stored = [text for texts in tables().values() for text in texts]
    assert all_found(stored, leaks.canaries()) == {"teos-leaks: credential api_key"}
