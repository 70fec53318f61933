"""The back office's pages; importing this registers them."""

from invoices.admin import (
    accounts,
    approval_rules,
    approvals,
    batches,
    evidence,
    invoices,
    packs,
    reviews,
    syncs,
)

__all__ = [
    "accounts",
    "approval_rules",
    "approvals",
    "batches",
    "evidence",
    "invoices",
    "packs",
    "reviews",
    "syncs",
]
