"""The `fairgen` command: one verb a stage."""
