"""Hydra plugins: the sweepers and the SLURM launcher."""
