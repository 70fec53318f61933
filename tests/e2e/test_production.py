"""A site set up as the README says: nothing collected, migrated or hashed is missing."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from cryptography.fernet import Fernet
from django.db import connection

from backoffice.demonstration import free_port
from tests.processes import MANAGE, ROOT, running, until

pytestmark = pytest.mark.skipif(
    connection.vendor != "sqlite", reason="once is enough: it has a database of its own"
)

BEHIND_TLS = {"X-Forwarded-Proto": "https", "Host": "annul.example.com"}


@pytest.fixture
def production(tmp_path: Path) -> dict[str, str]:
    """What production sets, and nothing more; its files apart from ours."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {
        "ENV_FILE": os.devnull,
        "SECRET_KEY": "k3-" * 25 + "a9Z_x1",
        "CREDENTIAL_KEYS": Fernet.generate_key().decode(),
        "ALLOWED_HOSTS": "annul.example.com",
        "AUDIT_SEAL_KEY": Fernet.generate_key().decode(),
        "AUDIT_SIGNING_KEY": Fernet.generate_key().decode(),
        "DATABASE_URL": f"sqlite:///{tmp_path / 'annul.sqlite3'}",
        "STATIC_ROOT": str(tmp_path / "static"),
    }


@pytest.fixture
def port(production: dict[str, str], tmp_path: Path) -> Iterator[int]:
    """The site, installed by the README's commands and served by its gunicorn."""
    for command in ("check --deploy", "migrate -v0", "collectstatic --no-input -v0"):
        subprocess.run([*MANAGE, *command.split()], cwd=ROOT, env=production, check=True)
    port = free_port()
    options = f"--bind 127.0.0.1:{port} --workers 2 --threads 4".split()
    web = (sys.executable, "-m", "gunicorn", "backoffice.wsgi", *options)
    with running(*web, env=production, log=tmp_path / "web.log"):
        until(lambda: get(port, "/healthz").ok)
        yield port


def get(port: int, path: str, **headers: str) -> requests.Response:
    """One request that follows nothing and takes nothing from the environment."""
    with requests.Session() as session:
        session.trust_env = False
        url = f"http://127.0.0.1:{port}{path}"
        sent = {"Host": "annul.example.com", **headers}
        try:
            return session.get(url, headers=sent, allow_redirects=False, timeout=10)
        except requests.ConnectionError:
            refused = requests.Response()
            refused.status_code = 599
            return refused


def test_a_site_in_production_serves_its_pages_by_https_with_hashed_files(port: int) -> None:
    plain = get(port, "/admin/login/")
    assert plain.status_code == 301
    assert plain.headers["Location"] == "https://annul.example.com/admin/login/"

    page = get(port, "/admin/login/", **BEHIND_TLS)
    assert page.status_code == 200
    assert "Strict-Transport-Security" in page.headers
    assert "__Host-" in page.headers["Set-Cookie"]
    assert "Demo" not in page.text
    files = re.findall(r'(?:href|src)="(/static/[^"#]+)', page.text)
    assert len(files) >= 2
    for name in files:
        assert re.search(r"\.[0-9a-f]{12}\.", name), name
        answer = get(port, name, **BEHIND_TLS)
        assert answer.status_code == 200, name
        assert "immutable" in answer.headers["Cache-Control"]

    ready = get(port, "/readyz")
    assert (ready.status_code, ready.json()) == (503, {"database": "ok", "worker": "down"})
