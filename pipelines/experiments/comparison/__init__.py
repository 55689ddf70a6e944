"""FairGen beside its rivals on one base model."""
