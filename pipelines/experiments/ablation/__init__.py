"""One setting of discovery changed at a time."""
