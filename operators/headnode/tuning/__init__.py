"""Hyperparameter search: its description, and what runs on the cluster (``on_cluster``, in the jobs' own Python)."""
