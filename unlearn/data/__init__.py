"""Image data sets: one file a source, and the splits every run sees."""
