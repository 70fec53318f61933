"""What may be entered for an account: the same rules for the form and for the command."""

import re
from collections.abc import Mapping

from providers.adapters.base import Adapter, CredentialField, SettingField
from providers.credentials import UnreadableCredentials
from providers.models import ProviderAccount

LONGEST_CREDENTIAL = 4096
SHOWN_END = 4
LEAST_HIDDEN = 12
"""Of a secret at least so many characters stay unseen beside the last four."""

_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_NAME = re.compile(r"[A-Za-z][A-Za-z_-]{0,39}")


def credential_problem(field: CredentialField, value: object) -> str:
    """What is wrong with a value, in words that do not repeat it; "" for nothing."""
    if not isinstance(value, str):
        return f"{field.name} must be text."
    if not value:
        return f"{field.name} is missing ({field.label})."
    if len(value) > LONGEST_CREDENTIAL:
        return f"{field.name} is longer than {LONGEST_CREDENTIAL:,} characters."
    if not _PRINTABLE.fullmatch(value):
        return f"{field.name} may only hold printable ASCII characters without blanks."
    return ""


def credential_problems(adapter: type[Adapter], values: Mapping[str, object]) -> list[str]:
    """What is wrong with a full set of credentials: each missing, malformed or unknown one."""
    known = [field.name for field in adapter.credential_fields]
    problems = [
        credential_problem(field, values.get(field.name, "")) for field in adapter.credential_fields
    ]
    unknown = [
        f"{name} is unknown; {adapter.label} has: {', '.join(known)}."
        for name in map(_bounded, values)
        if name not in known
    ]
    return [problem for problem in problems if problem] + unknown


def setting_problem(field: SettingField, value: str) -> str:
    """What is wrong with the value of a setting; "" for nothing."""
    if field.choices and value not in field.choices:
        return f"{field.name} has the values: {', '.join(field.choices)}."
    if len(value) > 100 or not value.isprintable():
        return f"{field.name} must be at most 100 printable characters."
    return ""


def stored_credentials(account: ProviderAccount) -> dict[str, str]:
    """What is stored for an account; nothing when there is nothing or it cannot be opened."""
    try:
        return dict(account.credentials)
    except UnreadableCredentials:
        return {}


def stored_note(field: CredentialField, value: str) -> str:
    """What may be told of a stored value: of a secret one at most how it ends."""
    if not value:
        return "Not stored yet."
    if not field.secret:
        return "Leave it empty to keep the stored value."
    if len(value) < LEAST_HIDDEN + SHOWN_END:
        return "Stored. Leave it empty to keep it."
    return f"Stored, ends in …{value[-SHOWN_END:]}. Leave it empty to keep it."


def _bounded(name: object) -> str:
    """A name as it may be repeated: what is none might be a value in the wrong place."""
    text = str(name)
    return text if _NAME.fullmatch(text) else "A name that is none"
