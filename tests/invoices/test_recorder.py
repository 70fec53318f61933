"""By which id a provider's support desk finds a call."""

import pytest

from invoices import accounts
from invoices.models import ProviderResponse
from invoices.models.evidence import unpack_headers
from providers.sandbox.running import SandboxServer
from tests.factories import AccountFactory

pytestmark = pytest.mark.django_db

NAMES = {
    "paypal-europe": "paypal-debug-id",
    "visa-harbour": "v-c-correlation-id",
    "teos-ledger": "cltraceid",
}


@pytest.mark.parametrize("name", NAMES)
def test_the_providers_own_id_of_a_call_is_kept(sandbox: SandboxServer, name: str) -> None:
    assert accounts.check(AccountFactory.create(name=name, origin=sandbox.origin), None).good
    for response in ProviderResponse.objects.all():
        headers = {key.lower(): value for key, value in unpack_headers(response.headers)}
        assert response.correlation_id
        assert response.correlation_id == headers[NAMES[name]]
        assert "masked" not in response.correlation_id
