"""What the README says is so: its commands, settings, states, limits and links."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class
from gunicorn.config import Config

from invoices.models.attempt import LEGAL, State
from providers.adapters import ADAPTERS
from tests.run import ROOT

README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
LINES = [line for kind, body in BLOCKS if kind == "sh" for line in body.splitlines()]
VARIABLES = set(re.findall(r"^(?:# )?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.M))
# Read by the tools that stand beside Annul, not by its settings.
OF_OTHERS = {"FORWARDED_ALLOW_IPS", "LEGAL", "PG_BIN", "PORT", "RESET", "NAME"}
MANAGE = "manage.py"


def lines_with(program: str) -> list[str]:
    """Commands of the README by their first word."""
    return [line for line in LINES if Path(shlex.split(line)[0]).name == program]


def test_every_command_is_of_a_kind_that_is_checked_here() -> None:
    known = {"make", "python", "python3", "pip", "gunicorn", "pg_dump"}
    others = [line for line in LINES if Path(shlex.split(line)[0]).name not in known]
    assert all(re.match(r"[A-Z_]+=", line) for line in others), others


@pytest.mark.parametrize("line", lines_with("make"))
def test_a_make_target_exists_and_takes_these_variables(line: str) -> None:
    _, target, *variables = shlex.split(line)
    assert re.search(rf"^{target}:.*## ", MAKEFILE, re.MULTILINE)
    for variable in variables:
        assert f"$({variable.partition('=')[0]})" in MAKEFILE


@pytest.mark.parametrize("line", [one for one in LINES if MANAGE in one])
def test_a_command_of_manage_py_exists_and_takes_these_arguments(line: str) -> None:
    words = shlex.split(line)
    name, *arguments = words[words.index(MANAGE) + 1 :]
    command = load_command_class(get_commands()[name], name)
    # Raises where argparse would end the command.
    command.create_parser(MANAGE, name).parse_args(arguments)


@pytest.mark.parametrize("line", lines_with("gunicorn"))
def test_the_web_server_takes_these_options(line: str) -> None:
    config = Config()
    parsed = config.parser().parse_args(shlex.split(line)[1:])
    assert parsed.args == ["backoffice.wsgi"]
    for name, value in vars(parsed).items():
        if value is not None and name != "args":
            config.set(name, value)


@pytest.mark.parametrize("line", lines_with("pip"))
def test_what_is_installed_is_locked_here(line: str) -> None:
    words = shlex.split(line)
    locks = [words[place + 1] for place, word in enumerate(words) if word == "-r"]
    assert locks
    for lock in locks:
        assert "--hash=sha256:" in (ROOT / lock).read_text()


@pytest.mark.parametrize("line", [one for one in LINES if one.startswith("python -c")])
def test_a_key_is_made_as_shown_here_and_in_the_settings(line: str) -> None:
    words = shlex.split(line)
    made = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, check=True)
    assert len(made.stdout.strip()) >= 40
    assert line in (ROOT / ".env.example").read_text()


@pytest.mark.parametrize("line", [one for one in LINES if "tests.run" in one])
def test_part_of_the_suite_can_be_run(line: str) -> None:
    words = shlex.split(line)
    assert words[1:5] == ["-m", "tests.run", "--only", "sqlite"]
    assert (ROOT / words[5]).is_dir()


def test_every_variable_it_names_is_one_of_the_settings() -> None:
    named = set(re.findall(r"`([A-Z][A-Z_]{3,})(?:=[^`]*)?`", README))
    named |= {line.partition("=")[0] for line in LINES if re.match(r"[A-Z_]+=", line)}
    assert named - OF_OTHERS <= VARIABLES
    assert named & {"SECRET_KEY", "CREDENTIAL_KEYS", "ALLOWED_HOSTS", "DATABASE_URL"}


def test_the_picture_of_the_states_shows_only_legal_steps_and_every_state() -> None:
    [picture] = [body for kind, body in BLOCKS if kind == "mermaid"]
    steps = re.findall(r"^\s+(\w+) --> (\w+)", picture, re.MULTILINE)
    assert len(steps) > 15
    for before, after in steps:
        assert State(after) in LEGAL[State(before)], (before, after)
    assert {state for step in steps for state in step} == set(State)


def test_the_table_of_providers_says_what_the_adapters_do() -> None:
    rows = {
        cells[0]: cells[1:]
        for line in README.partition("## The providers")[2].splitlines()
        if line.startswith("| ")
        for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
    }
    adapters = list(ADAPTERS.values())
    assert rows[""] == [adapter.label for adapter in adapters]
    facts = {
        "Invoices per cancel request": [str(one.cancel_limit) for one in adapters],
        "Invoices per read": [str(one.fetch_limit) for one in adapters],
        "Settles within": [f"{one.settle:.0f} s" for one in adapters],
        "Starting rate per second": [f"{one.rate_per_second:.0f}" for one in adapters],
        "Read again before each cancel": [
            "always" if one.fetch_limit > 1 else "if older than 10 min" for one in adapters
        ],
    }
    for name, expected in facts.items():
        assert rows[name] == expected, name
    chosen = [bool(one.options) for one in adapters]
    assert [cell != "–" for cell in rows["Operator may choose"]] == chosen


def test_files_and_folders_that_it_links_to_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_rooms_that_it_lists_are_there() -> None:
    [rooms] = [body for kind, body in BLOCKS if kind == "text"]
    room = ROOT
    for line in rooms.splitlines():
        names = re.findall(r"(?<!\S)[\w/]+(?:\.py|/)(?!\S)", line.strip().partition("   ")[0])
        if not line.startswith(" "):
            room = ROOT / names[0]
            assert room.is_dir()
            continue
        assert names, line
        for name in names:
            assert (room / name).exists(), line


def test_the_version_it_wants_is_the_one_that_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["requires-python"].removeprefix(">=")
    assert f"Python {wanted} or newer" in README
