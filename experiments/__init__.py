"""Experiments: agents on environments from seeds, run many at once, kept on disk, and set beside the truth."""
