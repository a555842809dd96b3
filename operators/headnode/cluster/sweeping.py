"""Finding the jobs of this Airflow that are in a cluster's queue, whoever follows them or does not.

A task's directory holds the labels of the task (dag, run, task, map index), so that what is found there can be looked
up in Airflow.
"""

from __future__ import annotations

import base64
import re
import shlex
from dataclasses import dataclass
from typing import Final

from headnode.cluster.place import JobPlace
from headnode.cluster.procedures import Procedure, ask, shell
from headnode.cluster.secrets import LEFT_AFTER_MINUTES
from headnode.errors import ControllerUnavailable
from headnode.slurm.record import Labels
from headnode.slurm.refusals import message_of

LABELS_NAME: Final = "labels.json"
_KEY: Final = re.compile(r"(?P<owner>[A-Za-z0-9-]{1,64})-(?P<number>[0-9]{1,6})")

_FIND: Final = r"""
queue=$(env SLURM_BITSTR_LEN=0 squeue --noheader --me --format='%i|%Z' 2>/dev/null) || { echo unseen; return 0; }
while IFS='|' read -r id directory; do
  case "$directory" in "$root"/tasks/*/work) ;; *) continue;; esac
  job=${directory%/work} task=${job%/*}
  [ -s "$task/LABELS" ] || continue
  printf '%s %s %s\n' "${id%%[_+]*}" "${job##*/}" "$(base64 -w0 < "$task/LABELS")"
done <<< "$queue"
if [ -d "$root/secrets" ]; then
  find "$root/secrets" -mindepth 1 -maxdepth 1 -type d -mmin +MINUTES | while read -r directory; do
    case "$queue" in *"/${directory##*/}/work"*) ;; *) rm -rf "$directory";; esac
  done
fi
return 0
""".replace("LABELS", LABELS_NAME).replace("MINUTES", str(LEFT_AFTER_MINUTES))


@dataclass(frozen=True, kw_only=True)
class QueuedJob:
    """One of this Airflow's jobs in the queue, and where it lives."""

    job_id: str
    place: JobPlace


def find_jobs(work_directory: str, deployment_id: str) -> Procedure[list[QueuedJob]]:
    """Return the jobs in the queue that run below the deployment's directory; of an array or several, one each.

    On the way, secrets are removed that were written for jobs which are not in the queue any more.

    Raises:
        ControllerUnavailable: squeue failed.
    """
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", deployment_id):
        raise ValueError(f"{deployment_id!r} must consist of letters, digits and dashes")
    body = (
        f"root={shlex.quote(work_directory)}\n"
        'case "$root" in "~/"*) root=$HOME/${root#"~/"};; esac\n'
        f"root=$root/{deployment_id}\n{_FIND.strip()}"
    )
    output = yield from ask(shell(body, purpose="looking for jobs that were left"))
    if output.status != 0 or output.stdout.strip() == "unseen":
        raise ControllerUnavailable(f"squeue can't tell which jobs there are: {message_of(output.stderr)}")
    found: dict[str, QueuedJob] = {}
    for line in filter(None, output.stdout.split("\n")):
        job_id, _, rest = line.partition(" ")
        key, _, labels = rest.partition(" ")
        place = _place(work_directory, deployment_id, key, labels)
        if place is not None:
            found[job_id] = QueuedJob(job_id=job_id, place=place)
    return list(found.values())


def _place(work_directory: str, deployment_id: str, key: str, encoded: str) -> JobPlace | None:
    """Return where the job lives; None where the directory was not made by headnode and says something else."""
    match = _KEY.fullmatch(key)
    try:
        labels = Labels.model_validate_json(base64.b64decode(encoded, validate=True))
    except ValueError:  # pydantic's is one, too
        return None
    if match is None:
        return None
    return JobPlace(
        work_directory=work_directory,
        deployment_id=deployment_id,
        labels=labels,
        owner=match["owner"],
        number=int(match["number"]),
    )
