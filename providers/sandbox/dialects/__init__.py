"""The providers the sandbox can behave like. A sixth is one file here and one line below."""

from __future__ import annotations

from providers.sandbox.dialects.base import Dialect
from providers.sandbox.dialects.paypal import PayPal

DIALECTS: tuple[type[Dialect], ...] = (PayPal,)
