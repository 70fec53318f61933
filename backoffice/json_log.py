"""One JSON object per log line, so that no text from outside can forge a second line.

No line shows a secret: each record loses what is secret when it is made, whoever prints it.
"""

import json
import logging
from datetime import UTC, datetime
from typing import Any

from backoffice.hiding import hide, hide_trace

# What every record carries; all else was passed by the caller as `extra`.
STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Time (UTC), level, logger, message, the caller's plain extras and the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line: JSON escapes every control character in it."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": hide(record.getMessage()),
        }
        line.update(_plain_extras(record))
        if record.exc_info:
            line["traceback"] = record.exc_text or hide_trace(self.formatException(record.exc_info))
        return json.dumps(line)


class SafeRecord(logging.LogRecord):
    """A record whose message, traceback and stack are without secrets, however it is printed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.exc_info and self.exc_info[0]:
            # Every formatter takes this text when it is there.
            self.exc_text = hide_trace(_PLAIN.formatException(self.exc_info))
        if self.stack_info:
            self.stack_info = hide_trace(self.stack_info)

    def getMessage(self) -> str:
        """The message with its arguments."""
        return hide(super().getMessage())


def install() -> None:
    """From now on every record of this process is a safe one."""
    logging.setLogRecordFactory(SafeRecord)


_PLAIN = logging.Formatter()


def _plain_extras(record: logging.LogRecord) -> dict[str, object]:
    """Numbers and words only: a request object would bring its headers and cookies along."""
    return {
        name: hide(value) if isinstance(value, str) else value
        for name, value in vars(record).items()
        if name not in STANDARD_FIELDS and isinstance(value, str | int | float | None)
    }
