"""Subcommands of `unlearn-report`, one module each.

The module's docstring is the help of the command. `add_options` adds the options to its parser;
`run` makes the text that is printed, or written to the file of `--output`.
"""
