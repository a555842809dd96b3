"""Staging: files and folders between a worker and a cluster, planned as data, apart from how they travel."""
