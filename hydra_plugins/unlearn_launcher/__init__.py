"""Hydra plugin: sweeps on a SLURM cluster. Hydra takes plugins from `hydra_plugins` only."""
