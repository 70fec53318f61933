"""One line of progress for whoever looks at a terminal, and nothing of it in a file."""

from django.core.management.base import OutputWrapper

BAR = 24


class ProgressLine:
    """A line that is written over again and again on a terminal, and not at all elsewhere."""

    def __init__(self, stream: OutputWrapper) -> None:
        self._stream = stream
        self._width = 0
        self._shown = ""

    def show(self, text: str) -> None:
        """Put this text in place of the one before."""
        if self._stream.isatty() and text != self._shown:
            self._stream.write("\r" + text.ljust(self._width), ending="")
            self._stream.flush()
            self._width, self._shown = len(text), text

    def clear(self) -> None:
        """Leave an empty line for what comes next."""
        if self._width:
            self._stream.write("\r" + " " * self._width + "\r", ending="")
            self._stream.flush()
        self._width, self._shown = 0, ""


def bar(done: int, total: int) -> str:
    """E.g. "[########--------] 50 of 100"."""
    filled = BAR * done // total if total else BAR
    return f"[{'#' * filled}{'-' * (BAR - filled)}] {done:,} of {total:,}"
