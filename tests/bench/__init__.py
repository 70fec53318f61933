"""Measurements. Each figure is a ratio to a baseline that runs beside it."""
