"""The style sheets: one file per page, stock sheets below ours, no outside host, manifest-safe."""

import re
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client, override_settings

ROOT = Path(__file__).parents[2] / "backoffice" / "static" / "backoffice"
SHEETS = sorted(ROOT.glob("*.css"))
PAGES = [
    "/admin/",
    "/admin/auth/",
    "/admin/auth/user/",
    "/admin/auth/user/?q=nobody",
    "/admin/auth/user/add/",
    "/admin/auth/user/{pk}/change/",
    "/admin/auth/user/{other}/change/",
    "/admin/auth/user/{other}/password/",
    "/admin/auth/user/{pk}/delete/",
    "/admin/password_change/",
    "/admin/password_change/done/",
]


@pytest.mark.django_db
@pytest.mark.parametrize("page", PAGES)
def test_a_page_links_to_one_style_sheet_and_has_nothing_inline(page: str) -> None:
    user = User.objects.create_superuser("root", password="secret")
    client = Client()
    client.force_login(user)
    other = User.objects.create_user("ada")
    html = client.get(page.format(pk=user.pk, other=other.pk)).content.decode()
    assert re.findall(r'<link rel="stylesheet" href="([^"]+)"', html) == [
        "/static/backoffice/annul.css"
    ]
    assert_nothing_inline(html)


@pytest.mark.django_db
def test_the_login_page_links_to_one_style_sheet_and_has_nothing_inline() -> None:
    html = Client().get("/admin/login/").content.decode()
    assert html.count('rel="stylesheet"') == 1
    assert_nothing_inline(html)


def assert_nothing_inline(html: str) -> None:
    assert "<style" not in html
    assert not re.search(r"<script(?![^>]*\bsrc=)", html)
    assert not re.search(r"\sstyle=", html)
    assert not re.search(r"\son[a-z]+=", html)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', html)


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.name)
def test_a_sheet_loads_nothing_from_elsewhere(sheet: Path) -> None:
    text = sheet.read_text(encoding="utf-8")
    for address in re.findall(r'url\("([^"]*)', text):
        assert (
            address.startswith("data:image/svg+xml,")
            or (ROOT / address).exists()
            or (address.startswith("../admin/"))
        ), address


def test_only_reduced_motion_uses_important() -> None:
    users = {s.name: s.read_text(encoding="utf-8").count("!important;") for s in SHEETS}
    assert {name: count for name, count in users.items() if count} == {"tokens.css": 4}


def test_every_sheet_is_loaded_into_a_declared_layer() -> None:
    index = (ROOT / "annul.css").read_text(encoding="utf-8")
    declared = re.search(r"^@layer ([^;]+);", index, re.MULTILINE)
    imports = re.findall(r'@import url\("([^"]+)"\) layer\((\w+)\);', index)
    assert declared
    assert index.count("@import url") == len(imports)
    assert {layer for _, layer in imports} == set(declared[1].split(", "))
    assert {f for f, _ in imports if not f.startswith("..")} == {sheet.name for sheet in SHEETS} - {
        "annul.css"
    }


def test_the_font_comes_with_its_licence() -> None:
    assert "SIL Open Font License" in (ROOT / "fonts" / "OFL.txt").read_text(encoding="utf-8")


def test_static_files_survive_hashing_of_their_names(tmp_path: Path) -> None:
    storage = {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}
    with override_settings(STATIC_ROOT=tmp_path, STORAGES={"staticfiles": storage}):
        call_command("collectstatic", "--noinput", verbosity=0)
    (index,) = (tmp_path / "backoffice").glob("annul.*.css")
    addresses = re.findall(r'@import url\("([^"]+)"\) layer\(\w+\);', index.read_text())
    assert len(addresses) == index.read_text().count("@import url") > 10
    for address in addresses:
        assert re.search(r"\.[0-9a-f]{12}\.css$", address)
        assert (index.parent / address).resolve().exists()
