"""``manage.py sandbox``: a server that behaves like the five providers."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from providers.sandbox.cli import add_arguments, run


class Command(BaseCommand):
    """The same as ``python -m providers.sandbox``."""

    help = "Runs a server that behaves like the five providers, for demonstrations and tests."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """The sandbox's options."""
        add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Runs until stopped."""
        run(options, self._announce)

    def _announce(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
