"""Workflows on Ray and MLflow: train, evaluate, register. The only package that imports them."""
