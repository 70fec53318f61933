"""The accounts every sandbox starts with, and their credentials; all of them made up.

Gathered from the dialects: each names its own.
"""

from __future__ import annotations

from providers.sandbox.dialects import DIALECTS

PROVIDERS: dict[str, str] = {name: made.code for made in DIALECTS for name in made.accounts}
"""Account name to provider code."""

CREDENTIALS: dict[str, dict[str, str]] = {
    name: values for made in DIALECTS for name, values in made.accounts.items()
}
"""Account name to credentials, under the names Annul's accounts use."""

BASE_PATHS: dict[str, str] = {made.code: made.base_path for made in DIALECTS}
"""Provider code to the path that follows the sandbox's origin in its base URL."""


def account_sheet(origin: str) -> list[dict[str, object]]:
    """What an administrator needs to enter the accounts: name, provider, base URL, credentials."""
    return [
        {
            "name": name,
            "provider": provider,
            "base_url": origin + BASE_PATHS[provider],
            "credentials": CREDENTIALS[name],
        }
        for name, provider in PROVIDERS.items()
    ]
