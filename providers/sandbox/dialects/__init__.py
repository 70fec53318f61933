"""The providers the sandbox can behave like.

A sixth is one file here, with a subclass of ``Dialect`` that names its paths, its
statuses and its accounts, and one line below.
"""

from __future__ import annotations

from providers.sandbox.dialects.base import Dialect
from providers.sandbox.dialects.kantata import Kantata
from providers.sandbox.dialects.monite import Monite
from providers.sandbox.dialects.paypal import PayPal
from providers.sandbox.dialects.teos import Teos
from providers.sandbox.dialects.visa_acceptance import VisaAcceptance

DIALECTS: tuple[type[Dialect], ...] = (PayPal, VisaAcceptance, Monite, Kantata, Teos)
