"""Provider accounts in the admin: what is entered, shown and done, and what never comes out."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.test import Client
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django import Settings

from invoices import accounts
from invoices.models import HistoryEvent, ProviderRequest, SyncRun
from providers.adapters import ADAPTERS
from providers.models import ProviderAccount
from providers.sandbox.credentials import BASE_PATHS, CREDENTIALS, PROVIDERS
from providers.sandbox.running import SandboxServer, running
from tests.factories import AccountFactory, UserFactory

pytestmark = pytest.mark.django_db

LIST = "/admin/providers/provideraccount/"
ONE_EACH = ["paypal-europe", "visa-harbour", "monite-nord", "kantata-studio", "teos-ledger"]
ROLES = ["operator", "approver", "auditor", "support", "administrator"]


@pytest.fixture
def sandbox(settings: Settings) -> Iterator[SandboxServer]:
    with running() as server:
        settings.PROVIDER_EXTRA_ORIGINS = [server.origin]
        yield server


def logged_in(role: str) -> Client:
    client = Client()
    client.force_login(UserFactory.create(role=role))
    return client


def page(client: Client, path: str, **how: Any) -> str:
    response = client.get(path, **how)
    assert response.status_code == 200, response.status_code
    return response.content.decode()


def account_at(sandbox: SandboxServer, name: str = "paypal-europe", **how: Any) -> ProviderAccount:
    return AccountFactory.create(name=name, origin=sandbox.origin, **how)


def form_for(name: str, origin: str) -> dict[str, Any]:
    adapter = ADAPTERS[PROVIDERS[name]]
    return {
        "name": name,
        "environment": next(iter(adapter.environments)),
        "base_url": origin + BASE_PATHS[adapter.code],
        "rate_per_second": "7.5",
        "concurrency": "4",
        **{f"credential_{key}": value for key, value in CREDENTIALS[name].items()},
        **{f"setting_{one.name}": one.default for one in adapter.setting_fields},
    }


def change_form(account: ProviderAccount) -> dict[str, Any]:
    """The form as the page shows it: no secret in it."""
    return {
        "name": account.name,
        "environment": account.environment,
        "base_url": account.base_url,
        "rate_per_second": str(account.rate_per_second),
        "concurrency": str(account.concurrency),
        **{
            f"setting_{one.name}": account.api_settings.get(one.name, one.default)
            for one in account.adapter_class.setting_fields
        },
    }


def secrets_of(name: str) -> list[str]:
    fields = ADAPTERS[PROVIDERS[name]].credential_fields
    return [CREDENTIALS[name][one.name] for one in fields if one.secret]


# --- entering ---------------------------------------------------------------------------------


def test_adding_asks_for_the_provider_first() -> None:
    shown = page(logged_in("administrator"), f"{LIST}add/")
    for code, adapter in ADAPTERS.items():
        assert f"?provider={code}" in shown
        assert adapter.label in shown


@pytest.mark.parametrize("provider", ["nobody", "", "paypal'--", "\u202e"])
def test_an_unknown_provider_leads_back_to_the_choice(provider: str) -> None:
    client = logged_in("administrator")
    assert "Which provider" in page(client, f"{LIST}add/", query_params={"provider": provider})
    posted = client.post(f"{LIST}add/", {"name": "x"}, query_params={"provider": provider})
    assert posted.status_code == 200
    assert not ProviderAccount.objects.exists()


@pytest.mark.parametrize("name", ONE_EACH)
def test_the_form_has_the_providers_fields_and_stores_them_encrypted(
    sandbox: SandboxServer, name: str
) -> None:
    client, path = logged_in("administrator"), f"{LIST}add/?provider={PROVIDERS[name]}"
    shown = page(client, path)
    for one in ADAPTERS[PROVIDERS[name]].credential_fields:
        assert f'name="credential_{one.name}"' in shown
    response = client.post(path, form_for(name, sandbox.origin))
    assert response.status_code == 302, response.content.decode()
    account = ProviderAccount.objects.get()
    assert dict(account.credentials) == CREDENTIALS[name]
    assert (account.provider, account.rate_per_second) == (PROVIDERS[name], 7.5)
    for secret in secrets_of(name):
        assert secret.encode() not in bytes(account.sealed_credentials)
    event = HistoryEvent.objects.get()
    assert (event.kind, event.code, str(event.actor)) == (
        "account_changed",
        "added",
        client_user(client),
    )


def client_user(client: Client) -> str:
    return User.objects.get(pk=client.session["_auth_user_id"]).username


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("credential_client_secret", "", "This field is required"),
        ("credential_client_secret", "two words", "printable ASCII"),
        ("credential_client_secret", "x" * 5000, "at most 4096"),
        ("environment", "moon", "Select a valid choice"),
        ("base_url", "http://169.254.169.254/latest", "neither PayPal"),
        ("base_url", "https://api-m.paypal.com@evil.example", "neither PayPal"),
        ("base_url", "https://[::1", "neither PayPal"),
        ("rate_per_second", "0", "greater than or equal"),
        ("rate_per_second", "nan", "Enter a number"),
        ("rate_per_second", "", "This field is required"),
        ("concurrency", "65", "less than or equal"),
        ("name", "", "This field is required"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_stored(
    sandbox: SandboxServer, field: str, value: str, says: str
) -> None:
    form = form_for("paypal-europe", sandbox.origin) | {field: value}
    response = logged_in("administrator").post(f"{LIST}add/?provider=paypal", form)
    shown = response.content.decode()
    assert response.status_code == 200
    assert says in shown
    assert not ProviderAccount.objects.exists()
    assert secrets_of("paypal-europe")[0] not in shown


def test_a_name_is_given_once(sandbox: SandboxServer) -> None:
    account_at(sandbox)
    response = logged_in("administrator").post(
        f"{LIST}add/?provider=paypal", form_for("paypal-europe", sandbox.origin)
    )
    assert "already exists" in response.content.decode()


@pytest.mark.parametrize("name", ONE_EACH)
def test_a_stored_secret_is_on_no_page_and_an_empty_field_keeps_it(
    sandbox: SandboxServer, name: str
) -> None:
    account, client = account_at(sandbox, name), logged_in("administrator")
    path = f"{LIST}{account.pk}/change/"
    for secret in secrets_of(name):
        shown = page(client, path)
        assert secret not in shown
        assert f"ends in …{secret[-4:]}" in shown
        assert secret not in page(client, LIST)
    response = client.post(path, change_form(account) | {"concurrency": "3"})
    assert response.status_code == 302, response.content.decode()
    account.refresh_from_db()
    assert dict(account.credentials) == CREDENTIALS[name]
    assert account.concurrency == 3


def test_the_end_of_a_short_secret_is_not_shown(sandbox: SandboxServer) -> None:
    account = account_at(sandbox, credentials={"client_id": "id", "client_secret": "short12"})
    shown = page(logged_in("administrator"), f"{LIST}{account.pk}/change/")
    assert "Stored. Leave it empty" in shown
    assert "rt12" not in shown


def test_a_change_is_recorded_by_names_without_values(sandbox: SandboxServer) -> None:
    account, client = account_at(sandbox), logged_in("administrator")
    form = change_form(account) | {"credential_client_secret": "brand-new-secret-9876"}
    assert (
        client.post(f"{LIST}{account.pk}/change/", form | {"concurrency": "2"}).status_code == 302
    )
    account.refresh_from_db()
    assert account.credentials["client_secret"] == "brand-new-secret-9876"
    assert account.credentials["client_id"] == CREDENTIALS["paypal-europe"]["client_id"]
    event = HistoryEvent.objects.get()
    assert event.detail == "Changed: concurrency, client_secret."
    logged = " ".join(LogEntry.objects.values_list("change_message", flat=True))
    assert "9876" not in event.detail + logged


def test_saving_without_a_change_records_nothing(sandbox: SandboxServer) -> None:
    account = account_at(sandbox)
    before = bytes(account.sealed_credentials)
    logged_in("administrator").post(f"{LIST}{account.pk}/change/", change_form(account))
    account.refresh_from_db()
    assert not HistoryEvent.objects.exists()
    assert bytes(account.sealed_credentials) == before


def test_saving_leaves_alone_what_a_drain_writes(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = account_at(sandbox)
    change = accounts.change

    def meanwhile(*args: Any, **kwargs: Any) -> bool:
        ProviderAccount.objects.update(last_error="seen by the drain", breaker_trips=2)
        return change(*args, **kwargs)

    monkeypatch.setattr(accounts, "change", meanwhile)
    form = change_form(account) | {"concurrency": "2"}
    logged_in("administrator").post(f"{LIST}{account.pk}/change/", form)
    account.refresh_from_db()
    assert (account.concurrency, account.breaker_trips) == (2, 2)


def test_another_address_asks_for_the_secret_anew(sandbox: SandboxServer) -> None:
    account, client = account_at(sandbox), logged_in("administrator")
    form = change_form(account) | {"base_url": f"{sandbox.origin}/elsewhere"}
    response = client.post(f"{LIST}{account.pk}/change/", form)
    assert "Enter it anew" in response.content.decode()
    form["credential_client_secret"] = "the-secret-for-there-1"
    assert client.post(f"{LIST}{account.pk}/change/", form).status_code == 302


def test_an_empty_address_is_the_providers_own() -> None:
    form = form_for("paypal-europe", "") | {"base_url": ""}
    logged_in("administrator").post(f"{LIST}add/?provider=paypal", form)
    assert ProviderAccount.objects.get().base_url == "https://api-m.sandbox.paypal.com"


def test_credentials_that_no_key_opens_are_said_and_entered_anew(sandbox: SandboxServer) -> None:
    account = account_at(sandbox)
    ProviderAccount.objects.update(sealed_credentials=b"damaged")
    client, path = logged_in("administrator"), f"{LIST}{account.pk}/change/"
    assert "cannot be read" in page(client, path)
    form = change_form(account)
    assert client.post(path, form).status_code == 200
    new = {f"credential_{key}": value for key, value in CREDENTIALS["paypal-europe"].items()}
    assert client.post(path, form | new).status_code == 302
    account.refresh_from_db()
    assert dict(account.credentials) == CREDENTIALS["paypal-europe"]


# --- what can be done -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ONE_EACH)
def test_a_good_connection_is_said_so(sandbox: SandboxServer, name: str) -> None:
    account, client = account_at(sandbox, name), logged_in("administrator")
    response = client.post(f"{LIST}{account.pk}/check/", follow=True)
    messages = [(one.level_tag, str(one)) for one in response.context["messages"]]
    assert messages[0][0] == "success", messages
    event = HistoryEvent.objects.get()
    assert (event.kind, event.code) == ("account_checked", "ok")


def test_wrong_credentials_are_said_so_and_remembered(sandbox: SandboxServer) -> None:
    sandbox.control.set_credentials("paypal-europe", client_secret="rotated")
    account, client = account_at(sandbox), logged_in("administrator")
    response = client.post(f"{LIST}{account.pk}/check/", follow=True)
    assert "rejected" in response.content.decode()
    account.refresh_from_db()
    assert "rejected" in account.last_error
    assert HistoryEvent.objects.get().code == "credentials"
    assert secrets_of("paypal-europe")[0] not in response.content.decode()


def broken_seal(account: ProviderAccount) -> None:
    account.sealed_credentials = b"damaged"


def no_credentials(account: ProviderAccount) -> None:
    account.set_credentials({})


def forbidden_address(account: ProviderAccount) -> None:
    account.base_url = "http://169.254.169.254/latest"


def closed_port(account: ProviderAccount) -> None:
    account.base_url = "http://127.0.0.1:9"


@pytest.mark.parametrize("spoil", [broken_seal, no_credentials, forbidden_address, closed_port])
def test_a_test_that_cannot_succeed_is_a_sentence_and_no_error_page(
    sandbox: SandboxServer, settings: Settings, spoil: Any
) -> None:
    settings.PROVIDER_EXTRA_ORIGINS = [sandbox.origin, "http://127.0.0.1:9"]
    account = account_at(sandbox)
    spoil(account)
    account.save()
    response = logged_in("administrator").post(f"{LIST}{account.pk}/check/", follow=True)
    assert response.status_code == 200
    assert [one.level_tag for one in response.context["messages"]] == ["error"]


def test_a_pause_takes_a_reason_and_a_resume_wakes_the_worker(
    sandbox: SandboxServer, django_capture_on_commit_callbacks: Any
) -> None:
    account, client = account_at(sandbox), logged_in("administrator")
    path = f"{LIST}{account.pk}/"
    assert client.post(f"{path}pause/", {"reason": "  "}).status_code == 400
    assert client.post(f"{path}pause/", {"reason": "x" * 301}).status_code == 400
    client.post(f"{path}pause/", {"reason": "Month end"})
    account.refresh_from_db()
    assert (account.is_paused, account.pause_reason) == (True, "Month end")
    assert "Month end" in page(client, f"{path}change/")
    assert "Paused" in page(client, LIST)
    again = client.post(f"{path}pause/", {"reason": "Once more"}, follow=True)
    assert "paused already" in again.content.decode()
    with django_capture_on_commit_callbacks(execute=True):
        client.post(f"{path}resume/")
    account.refresh_from_db()
    assert not account.is_paused
    assert OrmQ.objects.count() == 1
    kinds = list(HistoryEvent.objects.order_by("id").values_list("kind", flat=True))
    assert kinds == ["account_paused", "account_resumed"]


def test_an_import_is_requested_once_and_its_progress_is_shown(
    sandbox: SandboxServer, django_capture_on_commit_callbacks: Any
) -> None:
    account, client = account_at(sandbox), logged_in("operator")
    with django_capture_on_commit_callbacks(execute=True):
        response = client.post(f"{LIST}{account.pk}/import/")
    run = SyncRun.objects.get()
    assert response["Location"] == f"/admin/invoices/syncrun/{run.pk}/change/"
    assert OrmQ.objects.count() == 1
    client.post(f"{LIST}{account.pk}/import/")
    assert SyncRun.objects.count() == 1


def test_the_action_imports_from_the_selected_accounts(sandbox: SandboxServer) -> None:
    chosen = [account_at(sandbox, name).pk for name in ("paypal-europe", "teos-ledger")]
    account_at(sandbox, "monite-nord")
    form = {"action": "import_invoices", "_selected_action": chosen}
    response = logged_in("operator").post(LIST, form)
    assert response["Location"] == "/admin/invoices/syncrun/"
    assert set(SyncRun.objects.values_list("account_id", flat=True)) == set(chosen)


def test_a_paused_account_refuses_an_import_in_words(sandbox: SandboxServer) -> None:
    account = account_at(sandbox, paused_at=timezone.now())
    response = logged_in("operator").post(f"{LIST}{account.pk}/import/", follow=True)
    assert "is paused" in response.content.decode()
    assert not SyncRun.objects.exists()


# --- who may ----------------------------------------------------------------------------------

MAY = {
    "check": {"administrator"},
    "pause": {"administrator"},
    "resume": {"administrator"},
    "import": {"administrator", "operator"},
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("what", sorted(MAY))
def test_only_who_may_does_it(sandbox: SandboxServer, what: str, role: str) -> None:
    account = account_at(sandbox)
    response = logged_in(role).post(f"{LIST}{account.pk}/{what}/", {"reason": "Because"})
    assert response.status_code == (302 if role in MAY[what] else 403)
    if role not in MAY[what]:
        assert not HistoryEvent.objects.exists()
        assert not ProviderRequest.objects.exists()


@pytest.mark.parametrize("what", ["check", "resume", "import"])
def test_looking_changes_nothing(sandbox: SandboxServer, what: str) -> None:
    account = account_at(sandbox)
    assert logged_in("administrator").get(f"{LIST}{account.pk}/{what}/").status_code == 405
    assert not HistoryEvent.objects.exists()


@pytest.mark.parametrize("what", sorted(MAY))
def test_an_account_that_is_not_there_is_a_404(what: str) -> None:
    assert logged_in("administrator").post(f"{LIST}4711/{what}/").status_code == 404


@pytest.mark.parametrize("role", ["operator", "auditor"])
def test_whoever_only_looks_sees_no_credentials_and_changes_nothing(
    sandbox: SandboxServer, role: str
) -> None:
    account, client = account_at(sandbox), logged_in(role)
    path = f"{LIST}{account.pk}/change/"
    shown = page(client, path)
    assert "credential" not in shown.lower()
    assert CREDENTIALS["paypal-europe"]["client_id"] not in shown
    assert client.post(path, change_form(account) | {"concurrency": "1"}).status_code == 403
    account.refresh_from_db()
    assert account.concurrency == 8
    assert client.get(f"{LIST}add/").status_code == 403
    assert client.get(f"{LIST}add/?provider=paypal").status_code == 403


@pytest.mark.parametrize("role", ["approver", "support"])
def test_others_do_not_see_accounts_at_all(sandbox: SandboxServer, role: str) -> None:
    account, client = account_at(sandbox), logged_in(role)
    assert client.get(LIST).status_code == 403
    assert client.get(f"{LIST}{account.pk}/change/").status_code == 403


@pytest.mark.parametrize("role", ROLES)
def test_nobody_deletes_an_account(sandbox: SandboxServer, role: str) -> None:
    account, client = account_at(sandbox), logged_in(role)
    assert client.post(f"{LIST}{account.pk}/delete/", {"post": "yes"}).status_code == 403
    form = {"action": "delete_selected", "_selected_action": [account.pk], "post": "yes"}
    client.post(LIST, form)
    assert ProviderAccount.objects.count() == 1


@pytest.mark.parametrize("role", ["approver", "auditor", "support"])
def test_the_functions_check_the_permission_themselves(sandbox: SandboxServer, role: str) -> None:
    account, user = account_at(sandbox), UserFactory.create(role=role)
    for act in (
        lambda: accounts.pause(account, user, "Because"),
        lambda: accounts.resume(account, user),
        lambda: accounts.check(account, user),
        lambda: accounts.change(account, user, ["name"], {}),
        lambda: accounts.add(ProviderAccount(), user, {}),
    ):
        with pytest.raises(PermissionDenied):
            act()


@pytest.mark.parametrize(
    "query",
    [
        "sealed_credentials__startswith=g",
        "seal_owner__gt=0",
        "api_settings__has_key=x",
        "paused_by__password__startswith=a",
        "lease_token__isnull=1",
        "name__regex=.*",
    ],
)
def test_no_field_can_be_guessed_at_by_a_lookup(sandbox: SandboxServer, query: str) -> None:
    account_at(sandbox)
    assert logged_in("operator").get(f"{LIST}?{query}").status_code == 400


@pytest.mark.parametrize("query", ["state=paused", "state=active", "state=x", "provider=paypal"])
def test_the_pills_filter(sandbox: SandboxServer, query: str) -> None:
    account_at(sandbox)
    shown = page(logged_in("operator"), f"{LIST}?{query}")
    assert ("paypal-europe" in shown) is (query in ("state=active", "provider=paypal"))


def test_the_list_takes_the_same_number_of_queries_for_any_number_of_accounts(
    sandbox: SandboxServer, django_assert_max_num_queries: Any
) -> None:
    for name in PROVIDERS:
        account_at(sandbox, name)
    client = logged_in("operator")
    with django_assert_max_num_queries(10):
        page(client, LIST)
