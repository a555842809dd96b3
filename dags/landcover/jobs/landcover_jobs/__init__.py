"""The cluster side of landcover_map: each module with a `main` is one step, run as `python -m landcover_jobs.STEP`."""
