"""No secret comes to rest anywhere, whatever goes wrong between us and a provider that leaks.

Each fault class at some provider; with CANARIES=all, in a quarter of an hour, all faults of one
provider and every class of each other. Each ends as it does at a provider that does not leak, so
that masking the answers changes no outcome.
"""

import os
from dataclasses import replace
from itertools import cycle

import pytest

from tests.canaries.leaking import Leaking
from tests.canaries.search import all_found
from tests.canaries.sinks import Logs, mails, pages, tables
from tests.faults import stage as faults_stage
from tests.faults.cases import PROVIDERS, Case, everything
from tests.faults.runner import run
from tests.faults.stage import Stage

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

THOROUGH = "paypal"
CLASSES = (
    *("dns", "tls_untrusted", "rst_mid_request", "rst_after_request", "read_timeout"),
    *("header_stall", "short_body", "chunked_cut", "bad_gzip", "gzip_bomb", "oversize_body"),
    *("html_200", "json_not_object", "json_other_invoice", "unknown_2xx", "302"),
    *("400", "401_once", "401_forever", "403", "404", "422", "429_then_ok", "500_json"),
    *("500_html", "503", "seen_paid", "then_cancelled"),
)
PLAIN = {"applied": "before", "world": "nothing", "read": "works", "wide": False}


EVERYTHING = os.environ.get("CANARIES") == "all"


def plain_cases(provider: str) -> list[Case]:
    """One case of each fault, or of each class of them."""
    plain = {
        case.fault: case
        for case in everything([provider])
        if case == replace(case, **PLAIN)  # type: ignore[arg-type]
    }
    names = plain if provider == THOROUGH else CLASSES
    return [plain[name] for name in names if name in plain]


def some_cases() -> list[Case]:
    """Each class once, the providers taking turns."""
    by_name = {one: {case.fault: case for case in plain_cases(one)} for one in PROVIDERS}
    turns = cycle(PROVIDERS)
    found = []
    for name in CLASSES:
        provider = next(turns)
        case = by_name[provider].get(name) or by_name[next(turns)][name]
        found.append(case)
    return found


RUNS = {one: plain_cases(one) for one in PROVIDERS} if EVERYTHING else {"each": some_cases()}


def test_every_class_is_tried_and_every_provider() -> None:
    for cases in RUNS.values():
        assert {*CLASSES} <= {one.fault for one in cases}
    assert {one.provider for cases in RUNS.values() for one in cases} == {*PROVIDERS}
    every = {one.fault for one in everything([THOROUGH])}
    assert {one.fault for one in plain_cases(THOROUGH)} == every


@pytest.mark.parametrize("name", RUNS)
def test_no_fault_leaves_a_secret_anywhere(
    name: str, leaks: Leaking, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = RUNS[name]
    canaries: dict[str, bytes] = {}

    def credentials(code: str, number: int) -> dict[str, str]:
        return leaks.prepare(code, f"{code}-{number}").credentials

    def inspect(stage: Stage) -> list[str]:
        canaries.update(leaks.canaries())
        return []

    monkeypatch.setattr(faults_stage, "_credentials", credentials)
    report = run(cases, inspect)
    wrong = [f"{one.case}: {'; '.join(one.wrong)}" for one in report.failures]
    assert not wrong, "\n".join(wrong)
    sinks = {f"table {name}": texts for name, texts in tables().items()}
    sinks["log"] = logs.lines
    sinks["mail"] = mails()
    sinks["pages"] = list(pages("auditor", "/admin/invoices/providerrequest/").values())
    assert len(canaries) >= 12 * len(leaks.accounts)
    print(f"{name}: {len(cases)} faults, {len(canaries)} canaries, {len(sinks)} sinks")
    assert {
        name: hits for name, texts in sinks.items() if (hits := all_found(texts, canaries))
    } == {}
