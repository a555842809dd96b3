"""Task decorators: functions that run as Slurm jobs."""
