"""Going through the site: its routes, its links, and what the database held before and after."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.cookies import SimpleCookie

from django.apps import apps
from django.db import models, transaction
from django.http.response import HttpResponseBase
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from invoices.models import HistoryEvent

LOGIN = "/admin/login/"
LOOKED = ("payload_viewed", "signed_in", "signed_out", "sign_in_failed", "evidence_exported")
"""Kinds of events that looking around and coming in may add."""

PASSING = {"sessions.Session", "axes.AccessAttempt"}


def routes() -> set[str]:
    """Every route of the site, as a match names it."""
    return set(_below(get_resolver(), ""))


def _below(resolver: URLResolver, prefix: str) -> Iterator[str]:
    for one in resolver.url_patterns:
        # As Django joins them.
        route = prefix + str(one.pattern).removeprefix("^" if prefix else "")
        if isinstance(one, URLResolver):
            yield from _below(one, route)
        elif isinstance(one, URLPattern):
            yield route


def ask(method: str, address: str, cookies: SimpleCookie, **posted: str) -> HttpResponseBase:
    """One request by a browser with these cookies, which it does not change."""
    client = Client(raise_request_exception=False)
    client.cookies = SimpleCookie({name: one.value for name, one in cookies.items()})
    return client.generic(method, address) if method != "POST" else client.post(address, posted)


@contextmanager
def undone() -> Iterator[None]:
    """What is written in here is taken back."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@contextmanager
def quiet() -> Iterator[None]:
    """Refusals are logged; here there are thousands."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def held() -> dict[str, int]:
    """By table: a number for all its rows, without what looking around may add."""
    return {
        model._meta.label: hash(tuple(map(repr, _rows(model))))
        for model in apps.get_models()
        if model._meta.managed and model._meta.label not in PASSING
    }


def _rows(model: type[models.Model]) -> Iterable[tuple[object, ...]]:
    rows = model._base_manager.order_by("pk")
    if issubclass(model, HistoryEvent):
        rows = rows.exclude(kind__in=LOOKED)
    if model._meta.label == "auth.User":
        names = [one.name for one in model._meta.concrete_fields if one.name != "last_login"]
        return rows.values_list(*names)
    return rows.values_list()


def changed(before: dict[str, int]) -> list[str]:
    """The tables that are not as they were."""
    after = held()
    return [label for label in before | after if before.get(label) != after.get(label)]
