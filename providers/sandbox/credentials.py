"""The accounts every sandbox starts with, and their credentials.

All of them are made up. Two accounts belong to PayPal, one to each of the
others; the same invoice ids exist in all accounts that use the same kind of id,
so that a cancel which reaches the wrong account is seen.
"""

from __future__ import annotations

import base64

PROVIDERS: dict[str, str] = {
    "paypal-europe": "paypal",
    "paypal-america": "paypal",
    "visa-harbour": "visa_acceptance",
    "monite-nord": "monite",
    "kantata-studio": "kantata",
    "teos-ledger": "teos",
}
"""Account name to provider code."""

CREDENTIALS: dict[str, dict[str, str]] = {
    "paypal-europe": {
        "client_id": "SANDBOX-paypal-europe-client",
        "client_secret": "not-a-real-secret-europe",
    },
    "paypal-america": {
        "client_id": "SANDBOX-paypal-america-client",
        "client_secret": "not-a-real-secret-america",
    },
    "visa-harbour": {
        "merchant_id": "sandbox_harbour_mid",
        "key_id": "5a4db0c5-0000-4000-8000-00000000c0de",
        "shared_secret": base64.b64encode(b"a made-up secret of the sandbox!").decode(),
    },
    "monite-nord": {
        "client_id": "5a4db0c5-0000-4000-8000-00000000c11e",
        "client_secret": "not-a-real-secret-nord",
        "entity_id": "5a4db0c5-0000-4000-8000-0000000e7171",
    },
    "kantata-studio": {"token": "not-a-real-token-studio"},
    "teos-ledger": {"api_key": "not-a-real-api-key-ledger"},
}
"""Account name to credentials, under the names Annul's accounts use."""

BASE_PATHS: dict[str, str] = {
    "paypal": "/paypal",
    "visa_acceptance": "/visa_acceptance",
    "monite": "/monite/v1",
    "kantata": "/kantata/api/v1",
    "teos": "/teos",
}
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
