"""The back office's pages; importing this registers them."""

from invoices.admin import accounts, batches, evidence, invoices, reviews, syncs

__all__ = ["accounts", "batches", "evidence", "invoices", "reviews", "syncs"]
