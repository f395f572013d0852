"""The pages of the documentation site that are generated at build time."""
