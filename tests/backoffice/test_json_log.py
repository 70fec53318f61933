"""A log line is one line, whatever the text in it says."""

import json
import logging
import sys

from hypothesis import given
from hypothesis import strategies as st

from backoffice.json_log import JsonFormatter


def formatted(message: str, **extra: object) -> str:
    """One warning as it is printed."""
    record = logging.makeLogRecord({"name": "test", "levelname": "WARNING", "msg": message} | extra)
    return JsonFormatter().format(record)


@given(st.text())
def test_no_text_makes_a_second_line(message: str) -> None:
    line = formatted(message)
    assert len(line.splitlines()) == 1
    assert json.loads(line)["message"] == message


def test_plain_extras_are_kept_and_objects_are_not() -> None:
    line = json.loads(formatted("hello", attempt=7, request=object()))
    assert line["attempt"] == 7
    assert "request" not in line


def test_a_traceback_stays_on_the_line() -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        line = formatted("it broke", exc_info=sys.exc_info())
    assert len(line.splitlines()) == 1
    assert "ValueError" in json.loads(line)["traceback"]
