"""A server that behaves like the five providers, with state, faults and a log of its own.

Written from the providers' public documents a second time: it shares no code
with the adapters, so that one misreading cannot confirm itself. Standard
library only, but for the certificates of the listeners that speak TLS.
"""

from __future__ import annotations

from providers.sandbox.control import Control
from providers.sandbox.control_api import RemoteControl
from providers.sandbox.credentials import BASE_PATHS, CREDENTIALS, PROVIDERS
from providers.sandbox.log import read_log
from providers.sandbox.running import Options, SandboxServer, running
from providers.sandbox.switches import Switches

__all__ = [
    "BASE_PATHS",
    "CREDENTIALS",
    "PROVIDERS",
    "Control",
    "Options",
    "RemoteControl",
    "SandboxServer",
    "Switches",
    "read_log",
    "running",
]
