"""A batch script that is submitted by hand: without anything that a job of headnode's own needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from headnode.errors import JobSpecError
from headnode.slurm.jobspec import JobSpec
from headnode.slurm.script import render_command, render_directive, render_exports

#: The output's file: the job's name and id, in the folder where it was submitted.
OUTPUT: Final = "%x-%j.out"

_NEEDS_HEADNODE: Final = ("script", "secret_env", "components")


def render_standalone_script(spec: JobSpec, header_comments: Sequence[str] = ()) -> str:
    """Return a script for ``sbatch FILE``: comments, directives, variables, set-up lines and the command.

    Each of ``header_comments`` becomes a comment, one line for each of its own; an empty one an empty comment line.

    Raises:
        JobSpecError: the job has something that only headnode can give it (``secret_env``, ``components``), or is a
            script already.
    """
    for name in _NEEDS_HEADNODE:
        if getattr(spec, name):
            raise JobSpecError(name, "has no place in a script that is submitted by hand")
    directives = [("job-name", spec.job_name), ("output", OUTPUT), *spec.directives()]
    lines = ["#!/bin/bash -l", *_comments(header_comments)]
    lines += [render_directive(name, value) for name, value in directives]
    if spec.env:
        lines += ["", *render_exports(spec.env)]
    if spec.setup:
        lines += ["", spec.setup.rstrip("\n")]
    prefix = f"{spec.launch_prefix} " if spec.launch_prefix else ""
    return "\n".join([*lines, "", prefix + render_command(spec.command)]) + "\n"


def _comments(comments: Sequence[str]) -> list[str]:
    # The blank makes a comment of what sbatch would take for its options (src/sbatch/opt.c: #SBATCH, #PBS, #BSUB).
    return [f"# {line}".rstrip() for comment in comments for line in comment.splitlines() or [""]]
