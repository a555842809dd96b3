"""How the workers of a study are started: one step of srun, and around it what begins and ends the study."""

from __future__ import annotations

from typing import Final

from headnode.sites.launchers.launcher import Launch, Layout, Machine
from headnode.sites.launchers.optuna import OptunaWorkers
from headnode.sites.launchers.shell import joined, own_gpus_option, srun, step_lines
from headnode.tuning.on_cluster.setting import ONCE_MORE
from headnode.tuning.packing import ARCHIVE_NAME

# The first word names the study and its content, so that each has a script of its own; nothing reads it.
_FUNCTION: Final = """\
headnode_tune() {
  shift
  headnode_warned=0 headnode_step='' headnode_round=0
  trap 'headnode_warned=$((headnode_warned + 1)); [ -z "$headnode_step" ] || kill -USR1 "$headnode_step" || :' USR1
  while :; do
    headnode_round=$((headnode_round + 1))
    headnode_session="${SLURM_JOB_ID:-0}.${SLURM_RESTART_COUNT:-0}.$headnode_round"
    HERE begin "$headnode_session" || return
    if [ "$headnode_warned" = 0 ]; then
      SRUN work "$headnode_session" &
      headnode_step=$!
      [ "$headnode_warned" = 0 ] || kill -USR1 "$headnode_step" || :
      while :; do
        headnode_before=$headnode_warned
        wait "$headnode_step" || :
        [ "$headnode_warned" != "$headnode_before" ] || break
      done
      headnode_step=
    fi
    headnode_status=0
    HERE end "$headnode_session" "$headnode_warned" || headnode_status=$?
    [ "$headnode_status" = AGAIN ] || return "$headnode_status"
  done
}"""


class TuneWorkers(OptunaWorkers):
    """The workers of a ``TuneOperator``. The command's words are a name for the study and the Python on the cluster.

    A worker, or a node with workers, may end without harm to the others; how the job ends is decided by the study.
    """

    def start(self, machine: Machine, layout: Layout, command: list[str] | str) -> Launch:  # noqa: ARG002 - its words follow
        """Return the function that does all of it, and its name as the command's start."""
        here = joined([machine.wrapper, f'"$@" -u "$HEADNODE_DIRECTORY/{ARCHIVE_NAME}"'])
        step = joined([srun("--kill-on-bad-exit=0 --wait=0 --no-kill", own_gpus_option(machine, layout)), here])
        function = _FUNCTION.replace("HERE", here).replace("SRUN", step).replace("AGAIN", str(ONCE_MORE))
        return Launch(lines=(*step_lines(layout), function), prefix="headnode_tune")
