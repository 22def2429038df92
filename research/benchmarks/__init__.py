"""Accuracy, speed and smoothness of the models: each module writes a table to `docs/`."""
