"""A PostgreSQL server that keeps what it has confirmed, and that may be crashed and filled up.

Its files lie on a small file system of their own where one can be mounted; then the disk can be
full.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from tests.postgres_server import NoServer, find_binaries, reachable, unprivileged_user

DISK_MEGABYTES = 500
FULL_SECONDS = 2.0
SETTINGS = "-c listen_addresses= -c max_wal_size=64MB -c min_wal_size=32MB"


class Server:
    """Started and stopped by `running`."""

    def __init__(self, binaries: Path, home: Path) -> None:
        self._home = home
        self._user = unprivileged_user()
        self._binaries = reachable(binaries, home) if self._user else binaries
        self._data = home / "data"
        self._data.mkdir()
        self.can_be_full = self._mount()
        if self._user:
            for folder in (home, self._data):
                os.chown(folder, self._user.pw_uid, self._user.pw_gid)
        self._data.chmod(0o700)

    @property
    def url(self) -> str:
        """Its DATABASE_URL."""
        return f"postgres://annul@{quote(str(self._home), safe='')}/postgres"

    def create(self) -> None:
        """Make an empty database and start."""
        self._run("initdb", "-U", "annul", "-A", "trust", "-E", "UTF8", "--no-locale")
        self.start()

    def start(self) -> None:
        """Start, and recover what a crash left."""
        self._run("pg_ctl", "-w", "-l", f"{self._home}/log", "-o", self._options, "start")

    def crash(self) -> None:
        """End at once, as if killed; nothing is written any more."""
        with suppress(NoServer):
            self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def fill_up(self) -> None:
        """Leave no room for a while; afterwards a person has made room and started it again."""
        filler = self._data / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 20))
        time.sleep(FULL_SECONDS)
        filler.unlink()
        self.crash()
        self.start()

    def remove(self) -> None:
        """Stop, and free the memory that its files took."""
        self.crash()
        if self.can_be_full:
            subprocess.run(["umount", str(self._data)], check=False)

    @property
    def _options(self) -> str:
        return f"-k {self._home} {SETTINGS}"

    def _mount(self) -> bool:
        if os.geteuid() != 0:
            return False
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "tmpfs"]
        done = subprocess.run([*command, str(self._data)], check=False, capture_output=True)
        return done.returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        log = self._home / "commands.log"
        with log.open("ab") as output:
            status = subprocess.run(
                [str(self._binaries / program), "-D", str(self._data), *arguments],
                check=False,
                cwd=self._home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                user=self._user.pw_uid if self._user else None,
                group=self._user.pw_gid if self._user else None,
                extra_groups=[] if self._user else None,
            ).returncode
        if status:
            raise NoServer(f"{program} failed: {log.read_text(errors='replace')[-300:]}")


@contextmanager
def running() -> Iterator[Server]:
    """A server for the length of a `with`. Raises `NoServer` where there can be none."""
    binaries = find_binaries()
    if binaries is None:
        raise NoServer("no PostgreSQL binaries on this machine")
    # Short, because the path of a socket has about 100 bytes.
    with tempfile.TemporaryDirectory(prefix="annul-crash-", dir="/tmp") as home:
        server = Server(binaries, Path(home))
        try:
            server.create()
            yield server
        finally:
            server.remove()
