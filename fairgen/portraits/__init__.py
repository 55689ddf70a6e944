"""Portraits: the embedded base model, a drawn and deliberately biased world of known truth."""
