"""Slurm's words as data: states, descriptions, scripts, commands and answers. Pure: no I/O, no clock."""
