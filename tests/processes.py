"""Annul's own processes beside a test: the real settings on the test's database."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.db import connection

from invoices.supervision import Child

ROOT = Path(__file__).resolve().parent.parent
MANAGE = (sys.executable, str(ROOT / "manage.py"))


def environment(var: Path, origin: str = "", **more: str) -> dict[str, str]:
    """What a process needs to see this test's database, keys and sandbox (at `origin`)."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "backoffice.settings",
        "ENV_FILE": os.devnull,
        "DEMO": "True",
        "VAR_DIR": str(var),
        "DATABASE_URL": database_url(),
        "SECRET_KEY": settings.SECRET_KEY,
        "CREDENTIAL_KEYS": ",".join(settings.CREDENTIAL_KEYS),
        "AUDIT_CHECKPOINTS": str(var / "checkpoints.jsonl"),
        "PROVIDER_EXTRA_ORIGINS": origin,
        "LOG_LEVEL": "INFO",
        **more,
    }


def database_url() -> str:
    """The database that this test sees, as a child's DATABASE_URL."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()


@contextmanager
def running(*command: str, env: dict[str, str], log: Path) -> Iterator[Child]:
    """A process for the length of a `with`; its log is shown when the test fails."""
    child = Child(command, env=env, log=log)
    try:
        yield child
    except BaseException:
        print(f"--- {log.name}\n{log.read_text(errors='replace')[-4000:]}")
        raise
    finally:
        child.stop(10)


def until(true: Callable[[], object], seconds: float = 20.0) -> float:
    """Wait until something is so; how many seconds it took. Fails when it takes too long."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < seconds, f"not so within {seconds} s"
        time.sleep(0.1)
    return time.monotonic() - started


def is_alive(group: int) -> bool:
    """Whether any process of this group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
