"""An import through an adapter, beside a script that asks for the same pages and keeps nothing."""

from collections.abc import Iterator

import requests

from invoices import sync
from invoices.models import ProviderRequest, SyncRun
from providers.sandbox.control_api import RemoteControl
from providers.sandbox.credentials import CREDENTIALS
from tests.bench.figures import Figure, Size, seconds_of, times_better
from tests.bench.stage import fast_account, sandbox

ACCOUNT = "kantata-studio"


def figures(size: Size) -> Iterator[Figure]:
    """The import first: its record says which pages to ask for."""
    with sandbox() as origin:
        RemoteControl(origin, seconds=600).reset(invoices={ACCOUNT: size.batch})
        account = fast_account(origin, ACCOUNT)
        before = ProviderRequest.objects.order_by("-pk").values_list("pk", flat=True).first()
        run = sync.request(account, None)
        took = seconds_of(lambda: sync.run(run.pk))
        run.refresh_from_db()
        if run.state != SyncRun.State.FINISHED or run.created < size.batch:
            raise SystemExit(f"the import ended {run.state}: {run.created} created, {run.error}")
        pages = ProviderRequest.objects.filter(account=account, purpose="list")
        if before is not None:
            pages = pages.filter(pk__gt=before)
        urls = list(pages.order_by("pk").values_list("url", flat=True))
        alone = run.created / seconds_of(lambda: script(urls))
        name = f"import of {run.created:,}: script that lists them"
        yield times_better(name, run.created / took, "/s", alone, 0.5)


def script(urls: list[str]) -> None:
    """One after the other, as the pages follow each other."""
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {CREDENTIALS[ACCOUNT]['token']}"
        for url in urls:
            session.get(url, timeout=60).raise_for_status()
