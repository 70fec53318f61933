"""The suite's own PostgreSQL: found where it should be, used only when nothing else was named."""

import os
import stat
import time
from pathlib import Path

import pytest

from tests import postgres_server, run
from tests.postgres_server import NoServer


def programs_in(folder: Path) -> Path:
    """A folder that looks as if PostgreSQL were installed there."""
    folder.mkdir(parents=True)
    for program in postgres_server.PROGRAMS:
        (folder / program).touch()
    return folder


def test_pg_bin_is_looked_at_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG_BIN", str(tmp_path))
    assert list(postgres_server.candidates()) == [tmp_path]
    assert postgres_server.find_binaries() is None
    complete = programs_in(tmp_path / "bin")
    monkeypatch.setenv("PG_BIN", str(complete))
    assert postgres_server.find_binaries() == complete


def test_binaries_on_the_path_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = programs_in(tmp_path / "bin")
    (folder / "pg_ctl").chmod(0o755)
    monkeypatch.delenv("PG_BIN", raising=False)
    monkeypatch.setenv("PATH", str(folder))
    assert folder in postgres_server.candidates()


def test_the_newest_version_comes_first() -> None:
    folders = [Path(f"/usr/lib/postgresql/{number}/bin") for number in (9, 17, 15)]
    assert max(folders, key=postgres_server.version).parent.name == "17"
    assert postgres_server.version(Path("/opt/pginstall/bin")) == 0


def test_binaries_in_a_private_folder_are_copied_not_opened(tmp_path: Path) -> None:
    private = tmp_path / "private"
    folder = programs_in(private / "wheel" / "pginstall" / "bin")
    (private / "wheel.libs").mkdir()
    private.chmod(0o700)
    home = tmp_path / "home"
    home.mkdir()
    copy = postgres_server.reachable(folder, home)
    assert copy == home / "wheel" / "pginstall" / "bin"
    assert postgres_server.holds_programs(copy)
    assert (home / "wheel.libs").is_dir()
    assert stat.S_IMODE(private.stat().st_mode) == 0o700


def ended(process: int) -> bool:
    """Whether it is gone; pg_ctl returns a moment before the server's last breath."""
    for _ in range(100):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_the_server_that_was_named_is_used(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "find_binaries", lambda: pytest.fail("looked for another"))
    url = f"{scheme}://somebody@host/name"
    with run.postgresql({"DATABASE_URL": url}) as (_, used):
        assert used == url


@pytest.mark.parametrize("environment", [{}, {"DATABASE_URL": "sqlite:///var/annul.sqlite3"}])
def test_without_server_and_binaries_it_is_skipped_with_the_reason(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "find_binaries", lambda: None)
    with pytest.raises(NoServer, match="no binaries"), run.postgresql(environment):
        pass
    monkeypatch.delenv("DATABASE_URL", raising=False)
    skipped = run.on_postgresql([])
    assert skipped.what.startswith("PostgreSQL: skipped, ")
    assert skipped.status == 0


def test_the_summary_ends_with_a_closing_line_and_fails_if_any_run_failed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    passed = run.Run("SQLite: a file", 0, "==== 3 passed in 0.10s ====")
    failed = run.Run("PostgreSQL: a server", 1, "==== 1 failed, 2 passed in 0.20s ====")
    skipped = run.Run("PostgreSQL: skipped, none here", 0, "")
    assert run.summarise([passed, failed]) == 1
    assert run.summarise([passed, skipped]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == passed.closing_line


@pytest.mark.parametrize(
    ("line", "closes"),
    [
        ("==== 210 passed, 1 skipped in 41.20s ====", True),
        ("3 passed in 0.37s", True),
        ("==== no tests ran in 0.01s ====", True),
        ("tests/backoffice/test_health.py ....", False),
        ("E   the attempt failed in another state", False),
    ],
)
def test_a_closing_line_is_recognised(line: str, closes: bool) -> None:
    assert bool(run.CLOSING_LINE.search(line)) is closes


def test_a_temporary_server_is_gone_afterwards() -> None:
    binaries = postgres_server.find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL binaries on this machine")
    with postgres_server.temporary_server(binaries) as url:
        home = Path(url.split("@")[1].split("/")[0].replace("%2F", "/"))
        process = int((home / "data" / "postmaster.pid").read_text().splitlines()[0])
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert not home.exists()
    assert ended(process)
