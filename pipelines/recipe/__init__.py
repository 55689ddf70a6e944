"""One YAML file drives every stage."""
