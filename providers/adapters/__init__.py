"""The providers that we speak to. A new one is its own file and one line here."""

from providers.adapters.base import Adapter
from providers.adapters.kantata import Kantata
from providers.adapters.monite import Monite
from providers.adapters.paypal import PayPal
from providers.adapters.teos import Teos
from providers.adapters.visa_acceptance import VisaAcceptance

ADAPTERS: dict[str, type[Adapter]] = {
    adapter.code: adapter for adapter in (PayPal, VisaAcceptance, Monite, Kantata, Teos)
}
