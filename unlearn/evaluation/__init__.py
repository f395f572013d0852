"""Metrics and audits of the original, retrained and unlearned networks: one file a figure."""
