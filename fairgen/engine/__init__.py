"""Rows that join and leave between denoising steps: every picture shares each forward pass."""
