"""Data sets: registry, download, one module a format, splits."""
