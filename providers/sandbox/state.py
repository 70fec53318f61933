"""Keeping the invoices in a file, so that a sandbox started again knows what was cancelled."""

from __future__ import annotations

import dataclasses
import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

from providers.sandbox.world import Account, Invoice, World

FORMAT = 1
_MOMENTS = ("created", "updated", "cancelled")
_DAYS = ("issued_on", "due_on")
_PASSING = ("previous", "changed_at")
"""What means nothing to another process."""


class StateFile:
    """One JSON file; written whole beside the old one, then put in its place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved = -1.0

    def save(self, world: World) -> None:
        """Writes the world's invoices, unless none changed since the last time."""
        with world.lock:
            world.settle()
            changed = world.changed()
            if changed == self._saved:
                return
            text = json.dumps(_dump(world), ensure_ascii=False)
        draft = self._path.with_suffix(".new")
        draft.write_text(text, encoding="utf-8")
        draft.replace(self._path)
        self._saved = changed

    def load(self, world: World) -> None:
        """Puts the saved invoices in the place of the seeded ones; nothing if there is no file."""
        if not self._path.exists():
            return
        saved = json.loads(self._path.read_text(encoding="utf-8"))
        if saved["format"] != FORMAT:
            return
        for name, kept in saved["accounts"].items():
            if name in world.accounts:
                _restore(world.accounts[name], kept)


def _dump(world: World) -> dict[str, Any]:
    accounts = {
        account.name: {
            "made": account.made,
            "invoices": [_facts(row) for row in account.invoices.values()],
        }
        for account in world.accounts.values()
    }
    return {"format": FORMAT, "accounts": accounts}


def _facts(invoice: Invoice) -> dict[str, Any]:
    fields = (item.name for item in dataclasses.fields(invoice))
    facts = {name: getattr(invoice, name) for name in fields if name not in _PASSING}
    return {
        name: value.isoformat() if isinstance(value, (date, datetime)) else value
        for name, value in facts.items()
    }


def _restore(account: Account, kept: dict[str, Any]) -> None:
    account.invoices.clear()
    account.made = kept["made"]
    for facts in kept["invoices"]:
        account.add(_invoice(facts))


def _invoice(facts: dict[str, Any]) -> Invoice:
    for name in _MOMENTS:
        facts[name] = datetime.fromisoformat(facts[name]) if facts[name] else None
    for name in _DAYS:
        facts[name] = date.fromisoformat(facts[name]) if facts[name] else None
    return Invoice(**facts)
