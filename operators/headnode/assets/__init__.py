"""Triggers for asset watchers: what happens on a cluster starts DAGs."""
