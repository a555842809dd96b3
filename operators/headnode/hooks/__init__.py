"""Airflow connections to clusters, and the synchronous way in."""
