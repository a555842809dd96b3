"""What the jobs run, a module a step: `python -m landcover_jobs.steps.<step> --data DIR --map FILE --year YEAR`."""
