"""Measurements of the land-cover product: accuracy, speed, memory; run with the jobs' Python."""
