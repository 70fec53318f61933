"""Error pages say what happened, whether anything was sent, and what to do."""

import pytest
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import HttpRequest, HttpResponse
from django.template.loader import get_template
from django.test import Client, RequestFactory, override_settings
from django.urls import path
from django.views import defaults
from django.views.csrf import csrf_failure

QUESTIONS = ("What happened", "Was anything sent?", "What to do")


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError


def refused(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied("Approving needs the role <approver>.")


def odd(request: HttpRequest) -> HttpResponse:
    raise SuspiciousOperation


urlpatterns = [path("broken/", broken), path("refused/", refused), path("odd/", odd)]


@pytest.mark.django_db
@override_settings(ROOT_URLCONF="tests.look.test_error_pages")
@pytest.mark.parametrize(
    ("address", "status"), [("odd", 400), ("refused", 403), ("nowhere", 404), ("broken", 500)]
)
def test_an_error_answers_the_three_questions(address: str, status: int) -> None:
    answer = Client(raise_request_exception=False).get(f"/{address}/")
    page = answer.content.decode()
    assert answer.status_code == status
    assert all(question in page for question in QUESTIONS)
    assert f"Error {status}" in page


@pytest.mark.django_db
@override_settings(ROOT_URLCONF="tests.look.test_error_pages")
def test_a_refusal_gives_its_reason_escaped() -> None:
    page = Client().get("/refused/").content
    assert b"Approving needs the role &lt;approver&gt;." in page


def test_a_form_out_of_date_says_what_to_do(rf: RequestFactory) -> None:
    page = csrf_failure(rf.post("/")).content.decode()
    assert all(question in page for question in QUESTIONS)
    assert "load the page again" in page


def test_the_500_page_needs_neither_database_nor_context(rf: RequestFactory) -> None:
    # No database mark on this test: a query would fail it.
    assert defaults.server_error(rf.get("/")).status_code == 500
    assert "annul.css" in get_template("500.html").render()


def test_the_500_page_is_made_without_a_manifest_of_static_files(rf: RequestFactory) -> None:
    storage = {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}
    with override_settings(STORAGES={"staticfiles": storage}, STATIC_ROOT="/nonexistent"):
        page = defaults.server_error(rf.get("/")).content.decode()
    assert '"/static/backoffice/annul.css"' in page
