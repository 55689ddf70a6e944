"""Who is in the picture, and what follows: judges, scores, metrics, prompt sets."""
