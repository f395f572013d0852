"""Observers of a run: progress bar, Weights & Biases. Nothing flows back from them."""
