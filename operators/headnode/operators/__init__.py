"""Operators that run jobs on a cluster."""
