"""Data sets in the formats of others: read into items, written from examples."""
