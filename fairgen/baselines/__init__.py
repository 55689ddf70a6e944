"""Rivals on the same base model, one file each, reimplemented from their papers."""
