"""A cluster for a run, jobs on one, steps that are not done twice, progress."""
