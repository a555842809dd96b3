"""Choosing labelled pixels from the old map, or reading given ones."""
