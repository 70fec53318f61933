"""The demo's processes: a sandbox, a worker and the web, started, watched and stopped together.

Everything it keeps lies in var/: its own database, the sandbox's invoices, keys and logs. This
process itself never opens the database.
"""

import errno
import fcntl
import http.client
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from invoices.supervision import Child

HOST = "127.0.0.1"
USUAL_PORT = 8000
INVOICES_PER_ACCOUNT = 340
LATENCY_MS = 120
READY_SECONDS = 90.0
STOP_SECONDS = 8.0
RESTART_SECONDS = 3.0
LOOK_SECONDS = 0.2

Say = Callable[[str], object]


class DemoFailed(Exception):
    """Why there is no demo, in words for the person who started it."""


class Stopped(BaseException):
    """Ctrl-C or SIGTERM. No `Exception`, so that nothing takes it for a failure."""


@dataclass(frozen=True)
class Place:
    """Where a demo lives: its folder, its manage.py, the ports of web and sandbox."""

    folder: Path
    manage: Path
    port: int
    sandbox_port: int

    @property
    def origin(self) -> str:
        """Where the web answers."""
        return f"http://{HOST}:{self.port}"

    @property
    def sandbox(self) -> str:
        """Where the sandbox answers."""
        return f"http://{HOST}:{self.sandbox_port}"

    def environment(self) -> dict[str, str]:
        """Ours, with everything set that decides whose data is touched and who is called."""
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "backoffice.settings",
            "ENV_FILE": os.devnull,
            "DEMO": "True",
            "DEBUG": "False",
            "VAR_DIR": str(self.folder),
            "DATABASE_URL": f"sqlite:///{self.folder / 'demo.sqlite3'}",
            "PROVIDER_EXTRA_ORIGINS": self.sandbox,
            **dict.fromkeys(("SECRET_KEY", "CREDENTIAL_KEYS", "ALLOWED_HOSTS"), ""),
            **dict.fromkeys(("CSRF_TRUSTED_ORIGINS", "REDIS_URL"), ""),
            **dict.fromkeys(("AUDIT_SEAL_KEY", "AUDIT_SIGNING_KEY", "AUDIT_MAIL"), ""),
            # With the database, so that they are forgotten together.
            "AUDIT_CHECKPOINTS": str(self.folder / "demo-checkpoints.jsonl"),
            "SECURE_SSL": "False",
            "SESSION_IDLE_MINUTES": "240",
            # Static files are served from where they lie; nothing was collected.
            "PYTHONWARNINGS": "ignore:No directory at:UserWarning",
            # Short spells, so that Ctrl-C is obeyed at once; a place for each of the accounts.
            "DRAIN_SECONDS": "4",
            "WORKER_ACCOUNTS_IN_PARALLEL": "7",
            # Two minutes of settling are twelve seconds here.
            "PACE": "0.1",
        }

    def programs(self) -> dict[str, list[str]]:
        """What runs as long as the demo does."""
        manage = [sys.executable, str(self.manage)]
        sandbox = ["--port", str(self.sandbox_port), "--invoices", str(INVOICES_PER_ACCOUNT)]
        kept = ["--state", str(self.folder / "demo-sandbox.json")]
        web = [sys.executable, "-m", "gunicorn", "backoffice.wsgi", "--access-logfile", "-"]
        bind = ["--bind", f"{HOST}:{self.port}", "--workers", "2", "--threads", "4"]
        return {
            "sandbox": [*manage, "sandbox", *sandbox, *kept, "--latency", str(LATENCY_MS)],
            "worker": [*manage, "worker", "--grace", str(STOP_SECONDS - 2)],
            "web": [*web, *bind, "--graceful-timeout", "3"],
        }


class Demo:
    """The processes of one demo, from `start` to `stop`."""

    def __init__(self, place: Place, say: Say) -> None:
        self._place = place
        self._say = say
        self._environment = place.environment()
        self._children: dict[str, Child] = {}

    def start(self) -> None:
        """Bring everything up and fill it; raises `DemoFailed`."""
        self._manage("migrate", "--verbosity", "0")
        for name in self._place.programs():
            self._launch(name)
        self._await("sandbox", self._place.sandbox_port, "/_control/switches")
        self._await("web", self._place.port, "/healthz")
        self._await("worker", self._place.port, "/readyz")
        self._manage("demo_data", "--sandbox", self._place.sandbox)

    def watch(self) -> None:
        """Start again whatever ends, until Ctrl-C or SIGTERM raises `Stopped`."""
        while True:
            time.sleep(LOOK_SECONDS)
            for name, child in list(self._children.items()):
                if not child.is_running():
                    child.kill()
                    self._say(f"The {name} ended (status {child.status}) and is started again.")
                    time.sleep(RESTART_SECONDS)
                    self._launch(name)

    def stop(self) -> None:
        """Ask all at once; the sandbox last, so that calls under way are still answered."""
        deadline = time.monotonic() + STOP_SECONDS
        sandbox = self._children.pop("sandbox", None)
        for child in self._children.values():
            child.ask_to_stop()
        for child in self._children.values():
            child.stop(max(0.0, deadline - time.monotonic()))
        if sandbox is not None:
            sandbox.stop(1.0)

    def pid(self, name: str) -> int:
        """The process id of one of them."""
        return self._children[name].pid

    def _launch(self, name: str) -> None:
        self._children[name] = Child(
            self._place.programs()[name],
            env=self._environment,
            log=self._log(name),
        )

    def _log(self, name: str) -> Path:
        return self._place.folder / "log" / f"{name}.log"

    def _manage(self, *arguments: str) -> None:
        """Run one command to its end; what it says is shown."""
        command = [sys.executable, str(self._place.manage), *arguments]
        self._children["command"] = child = Child(command, env=self._environment)
        while not child.wait(LOOK_SECONDS):
            self._fail_if_ended()
        child.kill()
        del self._children["command"]
        if child.status:
            raise DemoFailed(f"manage.py {arguments[0]} failed (status {child.status}).")

    def _await(self, name: str, port: int, path: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not answers(port, path):
            self._fail_if_ended()
            if time.monotonic() > deadline:
                raise DemoFailed(f"The {name} does not answer; see {self._log(name)}.")
            time.sleep(LOOK_SECONDS)

    def _fail_if_ended(self) -> None:
        for name, child in self._children.items():
            if name != "command" and not child.is_running():
                last = self._log(name).read_text(errors="replace").strip().splitlines()[-5:]
                raise DemoFailed("\n".join([f"The {name} ended. Its last words:", *last]))


def answers(port: int, path: str) -> bool:
    """Whether a server on this machine answers 200."""
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def is_free(port: int) -> bool:
    """Whether a server could listen on this port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):
            return False
    return True


def free_port(*wanted: int) -> int:
    """The first of the wanted ports that is free, else any."""
    for port in wanted:
        if is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def web_port(wanted: int | None) -> int:
    """The port that was asked for, or the usual one, or any; raises `DemoFailed`."""
    if wanted is None:
        return free_port(USUAL_PORT)
    if not is_free(wanted):
        raise DemoFailed(
            f"Port {wanted} is taken or not allowed; choose another: make demo PORT={wanted + 1}"
        )
    return wanted


def sandbox_port(folder: Path) -> int:
    """The same as last time if it is still free: the accounts in the database name it."""
    kept = folder / "demo-sandbox-port"
    port = free_port(*([int(kept.read_text())] if kept.exists() else []))
    kept.write_text(f"{port}\n")
    return port


def claim(folder: Path) -> IO[str]:
    """Make the folder ours while the returned file is open; raises `DemoFailed`."""
    (folder / "log").mkdir(parents=True, exist_ok=True)
    lock = (folder / "demo.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        raise DemoFailed("A demo is running here already; stop it first.") from None
    return lock


def forget(folder: Path) -> None:
    """Remove what earlier demos left; the keys stay."""
    for kept in folder.glob("demo*"):
        if kept.name != "demo.lock":
            kept.unlink()
    shutil.rmtree(folder / "log", ignore_errors=True)
    (folder / "log").mkdir()


def stop_on_signals() -> None:
    """Turn Ctrl-C and SIGTERM into `Stopped`, once; what follows is cleaning up."""

    def stop(*_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        raise Stopped

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
