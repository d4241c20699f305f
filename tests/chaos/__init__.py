"""Proves under faults that what was approved runs exactly once, and nothing else runs."""
