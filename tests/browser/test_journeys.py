"""What each role comes for, from the first click to the last, in a real browser.

The provider is the sandbox, the worker is a thread of the test: what is clicked is what is sent.
"""

import re
import threading
import time
from binascii import unhexlify
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connection
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice

from invoices import drain
from invoices.models import CancellationBatch, HistoryEvent
from invoices.stepping_up import FRESH_SECONDS, GIVEN_AT
from providers.sandbox.running import SandboxServer
from tests.approvals.requests import awaiting, rule
from tests.browser.visiting import Visit, visiting
from tests.engine.scene import Scene
from tests.factories import UserFactory

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

LIST = "/admin/invoices/invoice/"
BATCHES = "/admin/invoices/cancellationbatch/"
PASSWORD = "only-in-tests-7"


@pytest.fixture
def scene(sandbox: SandboxServer) -> Scene:
    """An account with more invoices than fit on a page of the list."""
    return Scene(sandbox, invoices=60, rate_per_second=100.0)


@contextmanager
def working(scene: Scene) -> Iterator[None]:
    """A worker for this account, as long as the block lasts."""
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            drain.run(scene.account.pk, 1.0)
            done.wait(0.1)
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def choose_all(visit: Visit) -> None:
    """Every invoice of every page, for cancellation."""
    visit.open(LIST)
    visit.page.check("#action-toggle")
    visit.page.click("text=/Select all 60 invoices/")
    visit.page.select_option("select[name=action]", "cancel_selected")
    visit.page.click("button[name=index]")
    visit.page.wait_for_url(re.compile("/preview/"))


def confirm(visit: Visit, count: int = 60) -> None:
    """Give a reason and press the button that says what it does."""
    visit.page.select_option("select[name=reason]", "duplicate")
    button(visit, f"Cancel {count} invoices").click()
    visit.page.wait_for_url(re.compile(r"/cancellationbatch/\d+/change/"))


def button(visit: Visit, words: str) -> "Locator":
    """The button that says so."""
    return visit.page.get_by_role("button", name=words)


def test_an_operator_selects_all_previews_confirms_and_sees_it_move(
    chromium: "Browser", site: str, scene: Scene
) -> None:
    with visiting(chromium, site, scene.operator) as visit:
        choose_all(visit)
        assert "60" in visit.text()
        assert not scene.cancels()
        confirm(visit)
        assert "60 selected" in visit.text()
        with working(scene):
            # The page's own script asks how far it is; nobody reloads it.
            visit.page.wait_for_selector("text=/60 cancelled/")
        assert len(scene.cancels()) == 60
        assert visit.said == []


def test_going_back_and_confirming_again_starts_nothing_twice(
    chromium: "Browser", site: str, scene: Scene
) -> None:
    with visiting(chromium, site, scene.operator) as visit:
        choose_all(visit)
        confirm(visit)
        visit.page.go_back()
        # Nothing of it is kept by the browser: it asks again, and is told.
        visit.page.wait_for_url(re.compile(r"/cancellationbatch/\d+/change/"))
        assert "already started" in visit.page.inner_text(".messagelist")
    assert CancellationBatch.objects.filter(state="running").count() == 1


def test_a_double_click_starts_one_batch(chromium: "Browser", site: str, scene: Scene) -> None:
    with visiting(chromium, site, scene.operator) as visit:
        choose_all(visit)
        visit.page.select_option("select[name=reason]", "duplicate")
        button(visit, "Cancel 60 invoices").dblclick()
        visit.page.wait_for_url(re.compile(r"/cancellationbatch/\d+/change/"))
    assert CancellationBatch.objects.exclude(state="draft").count() == 1


def test_all_of_it_works_without_a_script(chromium: "Browser", site: str, scene: Scene) -> None:
    with visiting(chromium, site, scene.operator, java_script_enabled=False) as visit:
        visit.open(LIST)
        for box in visit.page.locator("input[name=_selected_action]").all()[:2]:
            box.check()
        visit.page.select_option("select[name=action]", "cancel_selected")
        visit.page.click("button[name=index]")
        confirm(visit, 2)
        with working(scene):
            while "2 cancelled" not in visit.text():
                visit.page.reload()
    assert len(scene.cancels()) == 2


def test_a_batch_that_an_operator_asks_for_runs_when_another_person_approves_it(
    chromium: "Browser", site: str, scene: Scene
) -> None:
    rule("count", 50)
    approver = UserFactory.create(role="approver", username="ann")
    with (
        visiting(chromium, site, scene.operator) as asks,
        visiting(chromium, site, approver) as answers,
    ):
        choose_all(asks)
        assert "This batch needs an approver" in asks.text()
        asks.page.select_option("select[name=reason]", "duplicate")
        button(asks, "Ask for approval to cancel 60 invoices").click()
        asks.page.wait_for_url(re.compile(r"/cancellationbatch/\d+/change/"))
        assert "waits for another person’s approval" in asks.text()

        answers.open("/admin/")
        answers.page.click("text=/Batch \\d+: cancel invoices/")
        answers.page.fill("#note", "Seen in the ledger.")
        with working(scene):
            assert not scene.cancels()
            button(answers, "Approve: cancel 60 invoices").click()
            # The page of who asked is renewed by its own script.
            asks.page.wait_for_selector("text=/60 cancelled/")
        asks.page.reload()
        assert "Approved by ann" in " ".join(asks.text().split())
        assert "Seen in the ledger." in asks.text()
        assert asks.said == answers.said == []
    assert len(scene.cancels()) == 60


def test_an_answer_that_is_held_up_for_a_code_is_taken_with_its_note(
    chromium: "Browser", site: str, scene: Scene
) -> None:
    rule("count", 50)
    batch = awaiting(scene.operator, *scene.account.invoices.all())
    approver = UserFactory.create(role="approver")
    key = "31" * 20
    TOTPDevice.objects.create(user=approver, name="app", key=key)
    with visiting(chromium, site, approver) as visit:
        # Logged in with a code, but longer ago than counts.
        session = Session.objects.get().session_key
        store = SessionStore(session)
        store[GIVEN_AT] = time.time() - FRESH_SECONDS - 1
        store.save()
        visit.open(f"/admin/invoices/awaitingbatch/{batch.pk}/change/")
        visit.page.fill("#note", "Seen with “Olga”.")
        button(visit, "Approve: cancel 60 invoices").click()
        visit.page.fill("#id_code", f"{totp(unhexlify(key)):06d}")
        button(visit, "Go on").click()
        visit.page.wait_for_url(re.compile(r"/cancellationbatch/\d+/change/"))
        assert "Seen with “Olga”." in visit.text()
        assert visit.said == []
    batch.refresh_from_db()
    assert (batch.state, batch.answer_note) == ("running", "Seen with “Olga”.")


def test_an_auditor_goes_from_a_search_to_the_bytes_that_were_sent(
    chromium: "Browser", site: str, scene: Scene
) -> None:
    scene.drained(scene.started())
    number = scene.account.invoices.order_by("pk")[0].number
    auditor = UserFactory.create(role="auditor")
    with visiting(chromium, site, auditor) as visit:
        visit.open(LIST)
        visit.page.fill("#searchbar", number)
        visit.page.press("#searchbar", "Enter")
        visit.page.click(f"#result_list a:has-text('{number}')")
        assert "confirmed" in visit.text()
        visit.page.get_by_text("Request", exact=True).first.click()
        visit.page.wait_for_selector("text=/masked \\d+ char/")
        assert visit.said == []
    assert HistoryEvent.objects.filter(kind="payload_viewed", actor=auditor).exists()


def test_support_sees_what_happened_and_no_payload(
    chromium: "Browser", site: str, scene: Scene
) -> None:
    scene.drained(scene.started())
    invoice = scene.account.invoices.order_by("pk")[0]
    with visiting(chromium, site, UserFactory.create(role="support")) as visit:
        visit.open(f"{LIST}{invoice.pk}/change/")
        assert "confirmed" in visit.text()
        assert visit.page.locator("[data-unfold*='/payload/']").count() == 0
        assert visit.page.locator("select[name=action]").count() == 0


def test_an_administrator_pauses_an_account_and_says_why(
    chromium: "Browser", site: str, scene: Scene
) -> None:
    with visiting(chromium, site, UserFactory.create(role="administrator")) as visit:
        visit.open(f"/admin/providers/provideraccount/{scene.account.pk}/pause/")
        visit.page.fill("[name=reason]", "The provider asked for quiet.")
        with visit.page.expect_navigation():
            visit.page.click("#content button[type=submit], #content input[type=submit]")
        assert "The provider asked for quiet." in visit.text()
    scene.account.refresh_from_db()
    assert scene.account.is_paused


@pytest.mark.parametrize("width", [1280, 390])
def test_ones_password_is_changed_by_the_menu_under_ones_name(
    chromium: "Browser", site: str, width: int
) -> None:
    user = User.objects.create_user("somebody", password=PASSWORD, is_staff=True)
    viewport = {"width": width, "height": 844}
    with visiting(chromium, site, user, viewport=viewport, java_script_enabled=False) as visit:
        visit.open("/admin/")
        visit.page.click("summary:has-text('somebody')")
        visit.page.click("text=Change password")
        assert visit.page.url.endswith("/admin/password_change/")


def test_the_search_box_is_reached_by_a_chord_and_by_no_single_key(
    chromium: "Browser", site: str
) -> None:
    with visiting(chromium, site, UserFactory.create(role="operator")) as visit:
        visit.open(LIST)
        focused = "document.activeElement.id"
        for key in "/ks":
            visit.page.keyboard.press(key)
        assert visit.page.evaluate(focused) == ""
        visit.page.keyboard.press("Control+k")
        assert visit.page.evaluate(focused) == "searchbar"
        visit.page.keyboard.type("a/k")
        assert visit.page.input_value("#searchbar") == "a/k"


def test_signing_in_changing_the_theme_and_signing_out(chromium: "Browser", site: str) -> None:
    user = User.objects.create_user("somebody", password=PASSWORD, is_staff=True)
    with visiting(chromium, site) as visit:
        visit.open("/admin/")
        visit.page.fill("#id_username", user.username)
        visit.page.fill("#id_password", PASSWORD)
        visit.page.press("#id_password", "Enter")
        visit.page.wait_for_selector("text=Overview")
        before = visit.page.get_attribute("html", "data-theme")
        visit.page.click(".theme-toggle >> visible=true")
        assert visit.page.get_attribute("html", "data-theme") != before
        with visit.page.expect_navigation():
            visit.page.click("text=Log out")
        assert visit.open("/admin/") == 200
        assert "/login/" in visit.page.url
        assert visit.said == []
