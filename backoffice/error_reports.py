"""What Django tells about an exception, by mail and on its DEBUG page, without any secret.

Django's own filter goes by names, and only outside of DEBUG. Here a value is shown only when its
type is known to be harmless, and then without what is secret in it.
"""

import dataclasses
from collections.abc import ItemsView, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from types import FrameType
from typing import Any
from uuid import UUID

from django.db.models import Model, QuerySet
from django.http import HttpRequest, QueryDict
from django.utils.safestring import SafeString
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

from backoffice.hiding import SECRET_NAME, hide

HARMLESS = (
    *(bool, int, float, complex, type(None), Decimal, UUID, Enum, PurePath),
    *(date, datetime, time, timedelta),
)
SPEAK_TO_PROVIDERS = ("providers.", "requests.", "urllib3.", "http.", "ssl", "socket")
"""Modules whose variables are requests and answers before anything is masked: none is shown."""
DEEPEST = 4
MOST = 50
"""Entries shown of a list."""
LONGEST = 100_000
"""Characters of a text that are looked at; only 4096 are shown."""


class CleansingFilter(SafeExceptionReporterFilter):
    """Cleanses by name, by type and by value, in DEBUG too."""

    hidden_settings = SECRET_NAME

    def is_active(self, request: HttpRequest | None) -> bool:
        """Always."""
        return True

    def cleanse_setting(self, key: Any, value: Any) -> Any:
        """By the name, as Django does, and then by the value."""
        cleansed = super().cleanse_setting(key, value)
        return _hidden(cleansed) if isinstance(cleansed, str) else cleansed

    def get_post_parameters(self, request: HttpRequest | None) -> QueryDict | dict[str, str]:
        """What was posted, cleansed by name and by value."""
        if request is None:
            return {}
        posted = super().get_post_parameters(request)
        return {str(name): self.cleanse_setting(name, posted[name]) for name in posted}

    def get_traceback_frame_variables(
        self, request: HttpRequest | None, tb_frame: FrameType
    ) -> ItemsView[str, Any]:
        """The variables of a frame as they may be shown."""
        kept = super().get_traceback_frame_variables(request, tb_frame)
        if tb_frame.f_globals.get("__name__", "").startswith(SPEAK_TO_PROVIDERS):
            return dict.fromkeys(tb_frame.f_locals, Shown(self.cleansed_substitute)).items()
        return {name: self._variable(name, value) for name, value in kept}.items()

    def _variable(self, name: str, value: Any) -> "Shown":
        if self.hidden_settings.search(name) and not isinstance(value, HARMLESS):
            return Shown(self.cleansed_substitute)
        return Shown(shown(value))


class CleansingReporter(ExceptionReporter):
    """Leaves the secrets out of all else: the message, the address, the lines of source."""

    def get_traceback_data(self) -> dict[str, Any]:
        """What the report is made of."""
        data = super().get_traceback_data()
        # A piece of the very text that could not be encoded.
        data["unicode_hint"] = ""
        for name in ("exception_value", "exception_notes", "request_insecure_uri"):
            if name in data:
                data[name] = hide(data[name])
        if "request_GET_items" in data:
            cleanse = self.filter.cleanse_setting
            data["request_GET_items"] = [
                (name, cleanse(name, value)) for name, value in data["request_GET_items"]
            ]
        return data

    def get_traceback_frames(self) -> list[dict[str, Any]]:
        """The frames, each with the message of its exception."""
        frames = super().get_traceback_frames()
        for frame in frames:
            if frame.get("exc_cause"):
                frame["exc_cause"] = hide(str(frame["exc_cause"]))
        return frames

    def get_traceback_html(self) -> SafeString:
        """The page."""
        return SafeString(hide(super().get_traceback_html(), source=True))

    def get_traceback_text(self) -> SafeString:
        """The mail."""
        return SafeString(hide(super().get_traceback_text(), source=True))


class Shown:
    """Text that reads the same however it is printed."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def shown(value: Any, depth: int = 0) -> str:
    """A value as a report may show it; of an unknown type only what it is."""
    if isinstance(value, str):
        return repr(_hidden(value))
    if isinstance(value, HARMLESS):
        return hide(repr(value))
    if isinstance(value, bytes):
        return _hidden(repr(value[:LONGEST]))
    if depth < DEEPEST and isinstance(value, dict):
        return "{" + ", ".join(_entries(value, depth)) + "}"
    if depth < DEEPEST and isinstance(value, list | tuple | set | frozenset):
        inside = ", ".join(shown(one, depth + 1) for one in list(value)[:MOST])
        return f"{type(value).__name__}({inside})"
    if depth < DEEPEST and dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {one.name: getattr(value, one.name, None) for one in dataclasses.fields(value)}
        return f"{type(value).__name__}({', '.join(_entries(fields, depth))})"
    if isinstance(value, Model):
        return f"<{type(value).__name__} {value.pk}>"
    if isinstance(value, BaseException):
        return hide(f"{type(value).__name__}({str(value)!r})")
    if isinstance(value, QuerySet):
        return f"<QuerySet of {value.model.__name__}>"
    return f"<{type(value).__module__}.{type(value).__qualname__}>"


def _hidden(text: str) -> str:
    return hide(text[:LONGEST], cut=len(text) > LONGEST)


def _entries(values: Mapping[Any, Any], depth: int) -> Iterator[str]:
    for name, value in list(values.items())[:MOST]:
        is_secret = SECRET_NAME.search(str(name)) and not isinstance(value, HARMLESS)
        inside = CleansingFilter.cleansed_substitute if is_secret else shown(value, depth + 1)
        yield f"{shown(name, DEEPEST)}: {inside}"
