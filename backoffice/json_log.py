"""One JSON object per log line, so that no text from outside can forge a second line."""

import json
import logging
from datetime import UTC, datetime

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
            "message": record.getMessage(),
        }
        line.update(_plain_extras(record))
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _plain_extras(record: logging.LogRecord) -> dict[str, object]:
    """Numbers and words only: a request object would bring its headers and cookies along."""
    return {
        name: value
        for name, value in vars(record).items()
        if name not in STANDARD_FIELDS and isinstance(value, str | int | float | None)
    }
