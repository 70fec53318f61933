"""Finding invoices by the names that people write down: a provider's id or an invoice number."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db import connection
from django.db.models import Q, QuerySet
from django.db.models.expressions import RawSQL

from invoices.models.invoice import Invoice
from invoices.patience import groups
from providers.models import ProviderAccount

LONGEST = 150
AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Named:
    """Which invoices were meant. `ambiguous` names stand for several, `unmatched` for none."""

    ids: tuple[int, ...]
    unmatched: tuple[str, ...]
    ambiguous: tuple[str, ...]

    def invoices(self) -> QuerySet[Invoice]:
        """The invoices, however many: their ids travel as one value."""
        chosen = ",".join(map(str, self.ids))
        listed = RawSQL(_SPLIT[connection.vendor], [f"[{chosen}]"])  # noqa: S611 - fixed text
        return Invoice.objects.filter(pk__in=listed)


_SPLIT = {
    "sqlite": "SELECT value FROM json_each(%s)",
    "postgresql": "SELECT value::bigint FROM json_array_elements_text(%s::json)",
}


def resolve(account: ProviderAccount, names: Sequence[str]) -> Named:
    """Find each name among the account's invoices, as provider id or as number, exactly.

    A name that is the id of one invoice and the number of another is ambiguous, too.
    """
    wanted = list(dict.fromkeys(names))
    found: dict[str, set[int]] = defaultdict(set)
    for group in groups([name for name in wanted if _is_name(name)], AT_ONCE):
        for pk, external_id, number in _candidates(account, group):
            found[external_id].add(pk)
            found[number].add(pk)
    return Named(
        ids=tuple(
            dict.fromkeys(pk for name in wanted if len(found[name]) == 1 for pk in found[name])
        ),
        unmatched=tuple(name for name in wanted if not found[name]),
        ambiguous=tuple(name for name in wanted if len(found[name]) > 1),
    )


def _is_name(name: str) -> bool:
    return 0 < len(name) <= LONGEST and name.isprintable()


def _candidates(account: ProviderAccount, names: Sequence[str]) -> Iterable[tuple[int, str, str]]:
    meant = Q(external_id__in=names) | Q(number__in=names)
    rows = Invoice.objects.filter(meant, account=account)
    return rows.values_list("pk", "external_id", "number").iterator(chunk_size=2000)
