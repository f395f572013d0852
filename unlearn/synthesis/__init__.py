"""Images without data: generator, noise and inversion; and sources of labelled images."""
