"""A second factor is set up with a first code, and asked for after the password."""

import re
from binascii import unhexlify
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from django.contrib.admin import site
from django.contrib.auth.models import User
from django.test import Client
from django_otp.oath import totp
from django_otp.plugins.otp_static.models import StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice
from pytest_django import Settings
from time_machine import TimeMachineFixture

from backoffice import second_factor
from invoices.models import HistoryEvent
from tests.factories import AccountFactory, UserFactory

pytestmark = pytest.mark.django_db

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
LOGIN = "/admin/login/"
OWN = "/admin/second-factor/"
CODE = "/admin/second-factor/code/"
INVOICES = "/admin/invoices/invoice/"


@pytest.fixture(autouse=True)
def _noon(time_machine: TimeMachineFixture) -> None:
    time_machine.move_to(NOON, tick=False)


@pytest.fixture
def olga() -> User:
    """An operator who has a device, used last a minute ago."""
    user: User = UserFactory.create(username="olga", role="operator")
    with_device(user)
    return user


def with_device(user: User) -> list[str]:
    key = "31" * 20
    codes = second_factor.enable(user, key, code_of(key))
    # As if it had been a while ago: each code is good for one time.
    TOTPDevice.objects.update(last_t=0)
    return codes


def code_of(key: str) -> str:
    return f"{totp(unhexlify(key)):06d}"


def code(user: User) -> str:
    """The code that the app shows now."""
    return code_of(TOTPDevice.objects.get(user=user).key)


def half_way(name: str = "olga") -> Client:
    """Somebody who gave the password and not yet the code."""
    client = Client()
    client.post(LOGIN, {"username": name, "password": "secret", "next": INVOICES})
    return client


def through(user: User) -> Client:
    client = half_way(user.username)
    assert client.post(CODE, {"code": code(user)}).status_code == 302
    return client


def kinds() -> list[str]:
    return list(HistoryEvent.objects.order_by("pk").values_list("kind", flat=True))


# --- Logging in -----------------------------------------------------------------------------


def test_after_the_password_only_the_code_opens_the_pages(olga: User) -> None:
    client = half_way()
    before = client.session.session_key
    for address in ("/admin/", INVOICES, "/admin/password_change/", "/admin/jsi18n/", OWN + "x"):
        assert client.get(address)["Location"].startswith(CODE), address
        assert client.post(address).headers["Location"].startswith(CODE), address
    answer = client.post(CODE, {"code": code(olga), "next": INVOICES})
    assert (answer.status_code, answer["Location"]) == (302, INVOICES)
    assert client.get(INVOICES).status_code == 200
    assert client.session.session_key != before


def test_who_is_half_way_has_no_say_over_the_device(olga: User) -> None:
    client = half_way()
    for address in (OWN, f"{OWN}remove/", f"{OWN}recovery-codes/", f"{OWN}{olga.pk}/remove/"):
        client.get(address)
        client.post(address)
    assert TOTPDevice.objects.filter(user=olga, confirmed=True).count() == 1
    assert StaticToken.objects.count() == 10
    assert "Recovery codes left" not in client.get(OWN).content.decode()


def test_who_is_half_way_can_log_out(olga: User) -> None:
    client = half_way()
    assert "Log out" in client.get(CODE).content.decode()
    assert client.post("/admin/logout/").status_code == 200
    assert client.get(INVOICES)["Location"].startswith(LOGIN)


def test_only_the_code_counts_as_signing_in(olga: User) -> None:
    client = half_way()
    assert "signed_in" not in kinds()
    client.post(CODE, {"code": "000000"})
    assert kinds()[-1] == "sign_in_failed"


def test_signing_in_with_a_code_is_on_record(olga: User) -> None:
    through(olga)
    assert kinds()[-1] == "signed_in"


@pytest.mark.parametrize(
    "given", ["", "0", "x" * 5_000, "12345\0", "１２３４５６", "-12345", "+12345"]
)
def test_what_is_no_code_is_refused(olga: User, given: str) -> None:
    client = half_way()
    answer = client.post(CODE, {"code": given})
    assert answer.status_code == 400
    assert client.get(INVOICES)["Location"].startswith(CODE)


def test_a_code_is_good_for_one_time(olga: User) -> None:
    used = code(olga)
    through(olga)
    assert half_way().post(CODE, {"code": used}).status_code == 400


def test_wrong_codes_have_to_wait_for_longer_and_longer(
    olga: User, time_machine: TimeMachineFixture
) -> None:
    client = half_way()
    right = code(olga)
    assert client.post(CODE, {"code": "000000"}).status_code == 400
    answer = client.post(CODE, {"code": right})
    assert answer.status_code == 429
    assert "The next is accepted from" in answer.content.decode()
    for wait in (2, 4, 8, 16):
        time_machine.shift(wait)
        assert client.post(CODE, {"code": "000000"}).status_code == 400
        assert client.post(CODE, {"code": code(olga)}).status_code == 429


def test_a_hundred_guesses_in_a_row_are_not_looked_at(olga: User) -> None:
    client = half_way()
    statuses = [client.post(CODE, {"code": f"{guess:06d}"}).status_code for guess in range(100)]
    assert statuses[1:] == [429] * 99
    assert client.post(CODE, {"code": code(olga)}).status_code == 429


def test_another_persons_code_is_wrong(olga: User) -> None:
    ann: User = UserFactory.create(username="ann", role="operator")
    second_factor.enable(ann, "ff" * 20, code_of("ff" * 20))
    TOTPDevice.objects.update(last_t=0)
    assert half_way().post(CODE, {"code": code(ann)}).status_code == 400


def test_going_on_never_leads_to_another_site(olga: User) -> None:
    client = half_way()
    answer = client.post(CODE, {"code": code(olga), "next": "https://evil.example/"})
    assert answer["Location"] == "/admin/"


# --- Recovery codes -------------------------------------------------------------------------


def test_each_recovery_code_lets_in_once_and_is_on_record() -> None:
    user: User = UserFactory.create(username="olga", role="operator")
    codes = with_device(user)
    assert len(set(codes)) == 10
    written = codes[3].upper().replace("-", " ")
    client = half_way()
    assert client.post(CODE, {"code": written}).status_code == 302
    assert "9 are left" in client.get("/admin/").content.decode()
    details = HistoryEvent.objects.filter(kind="user_changed").values_list("detail", flat=True)
    assert "olga: a recovery code was used, 9 left." in details
    assert half_way().post(CODE, {"code": codes[3]}).status_code == 400


def test_recovery_codes_are_not_stored_as_they_are() -> None:
    codes = with_device(UserFactory.create(username="olga"))
    kept = set(StaticToken.objects.values_list("token", flat=True))
    assert not kept & {one.replace("-", "") for one in codes}


def test_new_recovery_codes_make_the_old_void(olga: User) -> None:
    client = through(olga)
    page = client.post(f"{OWN}recovery-codes/").content.decode()
    codes = re.findall(r"<li>([a-z2-7-]{19})</li>", page)
    assert len(codes) == 10
    assert second_factor.recovery_codes_left(olga) == 10
    assert half_way().post(CODE, {"code": codes[0]}).status_code == 302


# --- Setting up -----------------------------------------------------------------------------


def offered(client: Client) -> tuple[str, str]:
    """(the signed offer, the secret as hex) of the page."""
    page = client.get(OWN).content.decode()
    found = re.search(r'name="offer" value="([^"]+)"', page)
    assert found
    signed = found[1]
    return signed, second_factor.offered_key(User.objects.get(username="ann"), signed)


@pytest.fixture
def ann() -> Client:
    client = Client()
    client.force_login(UserFactory.create(username="ann", role="operator"))
    return client


def test_setting_up_takes_a_first_code_and_shows_recovery_codes_once(ann: Client) -> None:
    signed, key = offered(ann)
    before = ann.session.session_key
    answer = ann.post(OWN, {"offer": signed, "code": code_of(key)})
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    codes = re.findall(r"<li>([a-z2-7-]{19})</li>", page)
    assert len(codes) == 10
    assert ann.session.session_key != before
    again = ann.get(OWN).content.decode()
    assert "Recovery codes left" in again
    assert not any(one in again for one in codes)
    assert HistoryEvent.objects.get().detail == "ann: second factor set up."


def test_the_same_form_twice_sets_up_once(ann: Client) -> None:
    signed, key = offered(ann)
    posted = {"offer": signed, "code": code_of(key)}
    ann.post(OWN, posted)
    ann.post(OWN, posted)
    assert TOTPDevice.objects.count() == 1


def test_a_wrong_first_code_keeps_the_secret_and_stores_nothing(ann: Client) -> None:
    signed, key = offered(ann)
    answer = ann.post(OWN, {"offer": signed, "code": "000000"})
    assert answer.status_code == 400
    assert "Nothing was set up" in answer.content.decode()
    assert not TOTPDevice.objects.exists()
    found = re.search(r'name="offer" value="([^"]+)"', answer.content.decode())
    assert found
    assert second_factor.offered_key(User.objects.get(), found[1]) == key


@pytest.mark.parametrize("forged", ["", "x", "WzEsImZmIl0:1abc:def"])
def test_an_offer_that_was_not_ours_is_none(ann: Client, forged: str) -> None:
    assert ann.post(OWN, {"offer": forged, "code": "123456"}).status_code == 400
    assert not TOTPDevice.objects.exists()


def test_another_persons_or_an_old_offer_is_none(
    ann: Client, time_machine: TimeMachineFixture
) -> None:
    signed, key = offered(ann)
    other: User = UserFactory.create(username="other")
    assert second_factor.offered_key(other, signed) == ""
    time_machine.shift(16 * 60)
    answer = ann.post(OWN, {"offer": signed, "code": code_of(key)})
    assert (answer.status_code, TOTPDevice.objects.count()) == (302, 0)
    assert second_factor.offered_key(User.objects.get(username="ann"), signed) == ""


def test_looking_at_the_page_stores_nothing(ann: Client) -> None:
    ann.get(OWN)
    assert not TOTPDevice.objects.exists()


def test_the_qr_code_is_drawn_without_style_and_the_secret_is_text_too(ann: Client) -> None:
    page = ann.get(OWN).content.decode()
    drawn = re.findall(r'<svg class="qr".*?</svg>', page, re.DOTALL)[0]
    assert "style" not in drawn
    assert len(re.findall(r'<path d="((?:M\d+ \d+h1v1h-1z)+)"', drawn)[0]) > 1_000
    assert re.search(r"(?:[A-Z2-7]{4} ){7}[A-Z2-7]{4}", page)


def test_the_sessions_from_before_end(ann: Client) -> None:
    other = Client()
    other.force_login(User.objects.get(username="ann"))
    assert other.get("/admin/").status_code == 200
    signed, key = offered(ann)
    ann.post(OWN, {"offer": signed, "code": code_of(key)})
    assert ann.get("/admin/").status_code == 200
    assert "ended=rights" in other.get("/admin/")["Location"]


# --- The setting ----------------------------------------------------------------------------


def test_off_asks_nobody_and_has_no_pages(olga: User, settings: Settings) -> None:
    settings.SECOND_FACTOR = "off"
    client = half_way()
    page = client.get(INVOICES)
    assert page.status_code == 200
    assert "Second factor" not in page.content.decode()
    assert client.get(OWN).status_code == client.get(CODE).status_code == 404
    assert kinds()[-1] == "signed_in"


def test_optional_asks_only_who_set_it_up() -> None:
    UserFactory.create(username="ann", role="operator")
    assert half_way("ann").get(INVOICES).status_code == 200


def test_required_lets_nobody_work_without(settings: Settings) -> None:
    settings.SECOND_FACTOR = "required"
    UserFactory.create(username="ann", role="operator")
    client = half_way("ann")
    for address in ("/admin/", INVOICES, "/admin/password_change/"):
        assert client.get(address)["Location"].startswith(OWN), address
        assert client.post(address).headers["Location"].startswith(OWN), address
    signed, key = offered(client)
    assert client.post(OWN, {"offer": signed, "code": code_of(key)}).status_code == 200
    assert client.get(INVOICES).status_code == 200


# --- Stepping up ----------------------------------------------------------------------------


@pytest.fixture
def administrator() -> User:
    user: User = UserFactory.create(username="olga", role="administrator")
    with_device(user)
    return user


def test_ten_minutes_after_the_last_code_credentials_ask_for_another(
    administrator: User, time_machine: TimeMachineFixture
) -> None:
    account = AccountFactory.create()
    page = f"/admin/providers/provideraccount/{account.pk}/change/"
    client = through(administrator)
    assert client.get(page).status_code == 200
    time_machine.shift(10 * 60)
    assert client.get("/admin/").status_code == 200
    for answer in (client.get(page), client.post(page, {"name": "changed"})):
        assert answer.headers["Location"].startswith(CODE)
    account.refresh_from_db()
    assert account.name != "changed"
    before = client.session.session_key
    assert client.post(CODE, {"code": code(administrator), "next": page})["Location"] == page
    assert client.session.session_key != before
    assert client.get(page).status_code == 200
    # It was no second signing in.
    assert kinds().count("signed_in") == 1


def test_a_form_that_was_held_up_leads_back_to_its_page(
    administrator: User, time_machine: TimeMachineFixture
) -> None:
    client = through(administrator)
    time_machine.shift(10 * 60)
    add = "/admin/providers/provideraccount/add/?provider=paypal"
    answer = client.post(add, {}, headers={"referer": f"http://testserver{add}"})
    assert answer["Location"] == f"{CODE}?{urlencode({'next': add})}"
    evil = client.post(add, {}, headers={"referer": "https://evil.example/admin/"})
    assert evil["Location"] == f"{CODE}?next=%2Fadmin%2F"


def test_who_only_looks_at_an_account_is_not_asked(
    olga: User, time_machine: TimeMachineFixture
) -> None:
    account = AccountFactory.create()
    client = through(olga)
    time_machine.shift(10 * 60)
    page = f"/admin/providers/provideraccount/{account.pk}/change/"
    assert client.get(page).status_code == 200


@pytest.mark.parametrize("setting", ["off", "optional"])
def test_without_a_device_or_a_second_factor_at_all_nothing_is_asked(
    settings: Settings, setting: str
) -> None:
    settings.SECOND_FACTOR = setting
    account = AccountFactory.create()
    UserFactory.create(username="ann", role="administrator")
    page = f"/admin/providers/provideraccount/{account.pk}/change/"
    assert half_way("ann").get(page).status_code == 200


# --- Removing -------------------------------------------------------------------------------


def test_one_removes_ones_own_and_goes_on(olga: User) -> None:
    client = through(olga)
    assert "Remove it" in client.get(f"{OWN}remove/").content.decode()
    assert client.post(f"{OWN}remove/")["Location"] == OWN
    assert not TOTPDevice.objects.exists()
    assert not StaticToken.objects.exists()
    assert client.get("/admin/").status_code == 200


def test_an_administrator_removes_another_persons_and_ends_their_sessions(olga: User) -> None:
    client = through(olga)
    admin = Client()
    admin.force_login(UserFactory.create(username="ada", role="administrator"))
    page = f"{OWN}{olga.pk}/remove/"
    assert "really olga" in admin.get(page).content.decode()
    assert admin.post(page)["Location"] == f"/admin/auth/user/{olga.pk}/change/"
    assert "ended=rights" in client.get("/admin/")["Location"]
    made = HistoryEvent.objects.order_by("pk").last()
    assert made is not None
    assert (made.kind, made.actor.username) == ("user_changed", "ada")
    assert (made.code, made.detail) == (f"person:{olga.pk}", "olga: second factor removed.")


@pytest.mark.parametrize("role", ["operator", "approver", "auditor", "support"])
def test_nobody_else_removes_it(olga: User, role: str) -> None:
    client = Client()
    client.force_login(UserFactory.create(username="ada", role=role))
    page = f"{OWN}{olga.pk}/remove/"
    assert client.get(page).status_code == client.post(page).status_code == 403
    assert client.get(f"{OWN}987654/remove/").status_code == 403
    assert TOTPDevice.objects.exists()


def test_an_administrator_does_not_remove_a_superusers() -> None:
    root = User.objects.create_superuser("root")
    with_device(root)
    client = Client()
    client.force_login(UserFactory.create(username="ada", role="administrator"))
    assert client.post(f"{OWN}{root.pk}/remove/").status_code == 403


def test_devices_are_not_to_be_edited_in_the_admin() -> None:
    assert not [model for model in site._registry if model._meta.app_label.startswith("otp_")]
