"""Who may ask for what: keys, rates, errors, the log of decisions."""
