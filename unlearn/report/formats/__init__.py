"""Table formats, one module each: `write` makes text of a table and the notes below it."""
