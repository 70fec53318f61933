"""Add a provider account from the shell, for people who automate."""

import json
import sys
from argparse import ArgumentTypeError
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from invoices import accounts
from providers.adapters import ADAPTERS
from providers.adapters.base import Adapter
from providers.entry import credential_problems, setting_problem
from providers.models import ProviderAccount

LARGEST_FILE = 64 * 1024


class Command(BaseCommand):
    """Refuses with one line for each thing that is wrong, and never repeats a credential."""

    help = (
        "Add a provider account. The credentials are a JSON object of text, from a file or, with"
        " '-', from standard input. An existing account is never changed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--provider", required=True, help=", ".join(ADAPTERS))
        parser.add_argument("--name", required=True, help="Its name here, unlike any other's.")
        parser.add_argument(
            "--environment",
            required=True,
            help="Such as sandbox or production; each provider has its own.",
        )
        parser.add_argument(
            "--base-url", default="", help="Another address, listed in PROVIDER_EXTRA_ORIGINS."
        )
        parser.add_argument("--credentials", required=True, metavar="FILE|-")
        parser.add_argument("--rate", type=_rate, metavar="N", help="Requests per second.")
        parser.add_argument(
            "--setting", action="append", default=[], metavar="NAME=VALUE", help="May be repeated."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        adapter = _adapter(options["provider"])
        credentials = _credentials(options["credentials"])
        chosen, problems = _settings(adapter, options["setting"])
        account = ProviderAccount(
            name=options["name"].strip(),
            provider=adapter.code,
            environment=options["environment"],
            base_url=options["base_url"],
            rate_per_second=options["rate"] or adapter.rate_per_second,
            api_settings=chosen,
        )
        problems = [
            *_problems_of(account),
            *problems,
            *credential_problems(adapter, credentials),
        ]
        if problems:
            raise CommandError("\n".join([*problems, "No account was added."]))
        stored = {name: str(value) for name, value in credentials.items()}
        accounts.add(account, None, stored, "Added from the shell.")
        self.stdout.write(
            f"Added {account}: {adapter.label}, {account.environment}, {account.base_url}. "
            "Its invoices are imported by: manage.py sync_invoices --account "
            f"{json.dumps(account.name, ensure_ascii=False)}"
        )


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0.01 <= rate <= 100_000:
        raise ArgumentTypeError("must be a number of requests per second from 0.01 to 100000")
    return rate


def _adapter(provider: str) -> type[Adapter]:
    if provider not in ADAPTERS:
        known = ", ".join(ADAPTERS)
        raise CommandError(f"This provider is not known; there are: {known}. No account was added.")
    return ADAPTERS[provider]


def _credentials(source: str) -> Mapping[str, object]:
    """The JSON object, or `CommandError` in words that quote nothing of it."""
    try:
        if source == "-":
            raw = sys.stdin.buffer.read(LARGEST_FILE + 1)
        else:
            with Path(source).open("rb") as file:
                raw = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise CommandError(f"{source}: {error.strerror}. No account was added.") from None
    if len(raw) > LARGEST_FILE:
        raise CommandError("The credentials are larger than 64 KiB. No account was added.")
    try:
        values = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise CommandError("The credentials are not JSON. No account was added.") from None
    if not isinstance(values, dict):
        raise CommandError("The credentials are no JSON object. No account was added.")
    return values


def _settings(adapter: type[Adapter], given: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    fields = {field.name: field for field in adapter.setting_fields}
    chosen = {name: field.default for name, field in fields.items()}
    problems = []
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or name not in fields:
            known = ", ".join(fields) or "none"
            problems.append(f"--setting {name!a}: {adapter.label} has the settings: {known}.")
        elif problem := setting_problem(fields[name], value):
            problems.append(f"--setting {problem}")
        else:
            chosen[name] = value
    return chosen, problems


def _problems_of(account: ProviderAccount) -> list[str]:
    if ProviderAccount.objects.filter(name=account.name).exists():
        return ["An account of this name exists already; it was not changed."]
    try:
        account.full_clean()
    except ValidationError as error:
        return [
            f"{name}: {message}" if name != "__all__" else message
            for name, messages in error.message_dict.items()
            for message in messages
        ]
    return []
