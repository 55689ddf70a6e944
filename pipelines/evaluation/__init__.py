"""Paint, judge, summarise, show."""
