"""Annul: the Django project that puts providers and invoices into one back office."""
