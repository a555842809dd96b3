"""Sensors that wait for something on a cluster."""
