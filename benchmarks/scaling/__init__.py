"""Nets by width, data size, labels and order: what the papers claim of their counts."""
