"""The pages from which an auditor exports: who may, what is put on record, what is refused."""

import hashlib
import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.exceptions import PermissionDenied
from django.core.management import CommandError, call_command
from django.test import Client

from invoices.audit import verify_pack
from invoices.models import HistoryEvent, Seal
from invoices.packs import exporting, scope
from providers.models import ProviderAccount
from tests.audit.evidence import a_record
from tests.factories import AccountFactory, UserFactory
from tests.packs.test_verified import EXPORT, content, download
from tests.pages.scenes import (
    BATCHES,
    HISTORY,
    LIST,
    attempt,
    invoices,
    login,
    running,
    text,
)

PAGE = "/admin/invoices/evidenceexport/"
pytestmark = pytest.mark.django_db


def exports() -> list[HistoryEvent]:
    return list(HistoryEvent.objects.filter(kind="evidence_exported").order_by("pk"))


@pytest.mark.parametrize("role", ["operator", "approver", "support", "administrator"])
def test_nobody_but_auditors_is_offered_a_pack_or_gets_one(client: Client, role: str) -> None:
    made = a_record()
    user = login(client, role)
    for page in (f"{LIST}{made.invoice_id}/change/", f"{BATCHES}{made.batch_id}/change/"):
        assert "evidenceexport" not in text(client, page)
    text(client, PAGE, 403)
    assert client.post(EXPORT, {"what": "batch", "key": made.batch_id}).status_code == 403
    with pytest.raises(PermissionDenied):
        exporting.export(scope.of_batch(made.batch), user)
    assert exports() == []


def test_an_auditor_is_offered_it_on_both_pages_and_in_the_navigation(client: Client) -> None:
    made = a_record()
    login(client, "auditor")
    for page in (f"{LIST}{made.invoice_id}/change/", f"{BATCHES}{made.batch_id}/change/"):
        assert f'action="{EXPORT}"' in text(client, page)
        assert f'href="{PAGE}"' in text(client, page)


def test_an_export_is_on_record_before_its_first_byte_and_its_manifest_after_the_last(
    client: Client,
) -> None:
    made = a_record()
    auditor = login(client, "auditor")
    answer = client.post(EXPORT, {"what": "batch", "key": made.batch_id})
    [begun] = exports()
    assert (begun.actor, begun.batch, begun.to_state) == (auditor, made.batch, "begun")
    assert (begun.address, begun.detail) == (
        "127.0.0.1",
        f"Batch {made.batch_id}: 1 attempt, 3 calls, 4 events",
    )
    assert "Not read to its end" in text(client, PAGE)
    pack = answer.getvalue()
    _, finished = exports()
    digest = hashlib.sha256(content(pack)["manifest.json"]).hexdigest()
    assert digest in finished.detail
    assert (finished.code, finished.address) == (begun.code, "127.0.0.1")
    page = text(client, PAGE)
    assert digest in page
    assert f"Batch {made.batch_id}: 1 attempt" in page
    assert f"{begun.pk}/change/" in page
    assert client.get(f"{PAGE}{begun.pk}/change/", follow=True).status_code == 200


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ({}, "no such kind of pack"),
        ({"what": "batch", "key": "99999"}, "no such batch"),
        ({"what": "invoice", "key": "x"}, "no such invoice"),
        ({"what": "span", "from": "2030-01-01"}, "first and the last day"),
        ({"what": "span", "from": "2030-01-02", "to": "2030-01-01"}, "before the first"),
        ({"what": "span", "from": "9999-12-31", "to": "9999-12-31"}, "is no day"),
        ({"what": "span", "from": "<b>", "to": "2030-01-01"}, "is no day"),
        ({"what": "sample", "size": "0", "seed": "x"}, "1 to 10,000"),
        ({"what": "sample", "size": "5", "seed": ""}, "A seed has"),
        ({"what": "sample", "size": "5", "seed": "x", "account": "777"}, "no such account"),
    ],
)
def test_what_cannot_be_exported_is_said_and_nothing_is_on_record(
    client: Client, typed: dict[str, str], why: str
) -> None:
    login(client, "auditor")
    answer = client.post(EXPORT, typed)
    assert answer.status_code == 400
    page = answer.content.decode()
    assert why in page
    assert "Nothing was exported." in page
    assert exports() == []
    assert not Seal.objects.exists()


def test_the_same_seed_draws_the_same_invoices_and_another_draws_others() -> None:
    batch = running(UserFactory.create())
    made = [attempt(batch, one, "failed") for one in invoices(AccountFactory.create(), 12)]
    assert draw("spring") == draw("spring")
    assert len({tuple(draw(str(seed))) for seed in range(10)}) > 5
    lots = sorted((scope.lot("spring", one.invoice_id), one.invoice_id) for one in made)
    assert draw("spring") == sorted(key for _, key in lots[:4])


def draw(seed: str) -> list[int]:
    return list(scope.of_sample(4, seed).invoice_keys())


def test_a_pack_of_an_account_holds_nothing_of_another(client: Client) -> None:
    one = a_record(calls=1)
    ProviderAccount.objects.update(name="another")
    other = a_record(calls=1)
    span = {"what": "span", "from": "2001-01-01", "to": "2999-12-31"}
    rows = content(download(client, **span, account=one.account_id))["rows.jsonl"].decode()
    about = {
        value
        for line in rows.splitlines()
        for name, _, value in json.loads(line)["columns"]
        if name == "invoice_id"
    }
    assert one.invoice_id in about
    assert other.invoice_id not in about


def test_the_command_writes_the_same_pack_and_refuses_to_write_over_a_file(tmp_path: Path) -> None:
    made = a_record()
    file, said = tmp_path / "pack.zip", StringIO()
    call_command("export_evidence", batch=str(made.batch_id), output=file, stdout=said)
    assert "15 sealed rows" in said.getvalue()
    assert verify_pack.main([str(file)]) == 0
    assert exports()[0].actor is None
    for given in ({"batch": "1"}, {"first": "2030-01-01"}, {"account": "none", "batch": "1"}):
        with pytest.raises(CommandError, match="Nothing was exported"):
            output = file if "batch" in given and len(given) == 1 else tmp_path / "other.zip"
            call_command("export_evidence", **given, output=output)
    assert [one.name for one in tmp_path.glob("*.zip*")] == ["pack.zip"]


def test_the_history_shows_exports_too(client: Client) -> None:
    made = a_record()
    download(client, what="invoice", key=made.invoice_id)
    assert "Evidence exported" in text(client, f"{HISTORY}?invoice={made.invoice_id}")
    page = text(client, f"{LIST}{made.invoice_id}/change/")
    assert "Evidence exported" in page
