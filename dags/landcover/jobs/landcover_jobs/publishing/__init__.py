"""Versions that appear whole: STAC, legend, quicklook, report, rollback."""
