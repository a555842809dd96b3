"""Where a job lives on the cluster: names of directories, derived so that they are safe and the same every time.

<work directory>/<deployment>/tasks/<task>/owners           the tries that took the task over, in order
<work directory>/<deployment>/tasks/<task>/<key>/            one submission
    script.sh  job_id  output.log  result.json  work/        (work/ is where the job runs: a copy of the code)
<work directory>/<deployment>/code/<sha256>/                 uploaded once per content
<work directory>/<deployment>/secrets/<key>/                 until the job starts: its secrets, of mode 0600
"""

from __future__ import annotations

import hashlib
import re
import shlex
from dataclasses import dataclass

from headnode.slurm.record import Labels


@dataclass(frozen=True, kw_only=True)
class JobPlace:
    """The directories of one submission. ``owner`` is the UUID of the task instance, ``number`` counts from 1."""

    work_directory: str
    deployment_id: str
    labels: Labels
    owner: str
    number: int = 1

    def __post_init__(self) -> None:
        """Refuse names that would lead elsewhere.

        Raises:
            ValueError: ``deployment_id`` or ``owner`` is not made of letters, digits and dashes.
        """
        for name in (self.deployment_id, self.owner):
            if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", name):
                raise ValueError(f"{name!r} must consist of letters, digits and dashes")

    @property
    def key(self) -> str:
        """The key that marks the job everywhere: owner and number of the submission."""
        return f"{self.owner}-{self.number}"

    @property
    def task_name(self) -> str:
        """A readable and unique directory name for the task within its DAG run."""
        labels = self.labels
        identity = "\0".join((labels.dag_id, labels.run_id, labels.task_id, str(labels.map_index)))
        digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
        mapped = f".{labels.map_index}" if labels.map_index >= 0 else ""
        readable = re.sub(r"[^A-Za-z0-9._-]", "_", f"{labels.dag_id}.{labels.task_id}")[:80].lstrip(".-") or "task"
        return f"{readable}{mapped}.{digest}"

    def shell_variables(self) -> str:
        """Return the lines that set ``root``, ``task``, ``job`` and ``key`` in a remote script."""
        return (
            f"root={shlex.quote(self.work_directory)}\n"
            'case "$root" in "~/"*) root=$HOME/${root#"~/"};; esac\n'
            f"root=$root/{self.deployment_id}\n"
            f"task=$root/tasks/{shlex.quote(self.task_name)}\n"
            f"owner={self.owner} key={self.key}\n"
            "job=$task/$key"
        )
