"""One Ray Train job an attribute."""
