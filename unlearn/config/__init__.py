"""The config of a run: its schema, how it is resolved, and errors in one line."""
