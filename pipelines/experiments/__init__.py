"""Rivals and ablations."""
