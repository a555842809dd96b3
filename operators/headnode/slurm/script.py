"""The text of a batch script: directives, prologue, set-up lines and the command.

The prologue relies on what the submission does: the script starts in ``<job directory>/work``, which holds a copy
of the code.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Final

from headnode.errors import JobSpecError
from headnode.slurm.arrays import count_elements
from headnode.slurm.element_arguments import READ_ARGUMENTS
from headnode.slurm.jobspec import JobSpec
from headnode.slurm.secrets import read_secrets

# What a job says that has written a checkpoint and wants to go on (EX_TEMPFAIL of sysexits.h).
RUN_AGAIN: Final = 75

_PLAIN_VALUE = re.compile(r"[A-Za-z0-9_.,:;/@%+=~\[\]&|*-]+")
_COMMAND_NAME = re.compile(
    r"(?!(?:case|coproc|do|done|elif|else|esac|fi|for|function|if|in|select|then|until|while)$)[A-Za-z0-9_./:@+,-]+"
)
_SHELL = re.compile(r"#!\s*/(?:usr/)?(?:bin/)?(?:env\s+)?(?:/?(?:bin/)?)(?:ba|da|k|z)?sh\b.*")
_ARRAY_DIRECTIVE = re.compile(r"^#SBATCH\s+(?:--array\b|-a)[=\s]*(?P<indexes>\S*)", re.MULTILINE)
_AUTHOR_OPTION = re.compile(r"^#SBATCH\s+(?:--(mem|mem-per-cpu|mem-per-gpu|exclude)[=\s]|-x)\s*(\S+)", re.MULTILINE)
_HETEROGENEOUS = re.compile(r"^#SBATCH\s+hetjob\b", re.MULTILINE)

# The last word of a script is its exit code, in a file beside it: sites without accounting know no other. bash runs
# an EXIT trap also when a signal kills it, with the status of the command before, which may be 0; so a 0 counts only
# where the script came to an ``exit``. ksh and zsh may do the like, and have no way to tell: they leave no marker. The
# variable EPOCHSECONDS (bash 5) and the test before rm spare processes, of which an array of 10,000 has many.
_PROLOGUE = """\
export HEADNODE_DIRECTORY="${PWD%/work}"
export HEADNODE_CODE="$PWD"
export HEADNODE_SUBMISSION="${HEADNODE_DIRECTORY##*-}"
export HEADNODE_CHECKPOINT="${HEADNODE_DIRECTORY%-*}-checkpoint"
export HEADNODE_RESULT="$HEADNODE_DIRECTORY/result.json"
headnode_end="$HEADNODE_DIRECTORY/end"
if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
  headnode_offset=0
  [ ! -s "$HEADNODE_DIRECTORY/element_offset" ] || read -r headnode_offset < "$HEADNODE_DIRECTORY/element_offset"
  export HEADNODE_ELEMENT=$((SLURM_ARRAY_TASK_ID + headnode_offset))
  export HEADNODE_RESULT="$HEADNODE_DIRECTORY/result.$HEADNODE_ELEMENT.json"
  headnode_end="$headnode_end.$SLURM_ARRAY_TASK_ID"
fi
export PYTHONPATH="$HEADNODE_CODE${PYTHONPATH:+:$PYTHONPATH}"
if [ -e "$HEADNODE_RESULT" ] || [ -e "$headnode_end" ]; then rm -f "$HEADNODE_RESULT" "$headnode_end"; fi
headnode_began=${EPOCHSECONDS:-$(date +%s)}
headnode_mark_end() {
  case "$1 $2" in "0 exit"|"0 exit "*) ;; "0 "*) return 0;; esac
  {
    printf '%s %s %s %s %s\\n' "$1" "$headnode_began" "${EPOCHSECONDS:-$(date +%s)}" "${SLURM_JOB_ID:-0}" \
      "${SLURM_RESTART_COUNT:-0}" > "$headnode_end.new" && mv -f "$headnode_end.new" "$headnode_end"
  } 2>/dev/null || :
}
[ -n "${ZSH_VERSION:-}${KSH_VERSION:-}" ] || trap 'headnode_mark_end "$?" "${BASH_COMMAND:-exit}"' EXIT
"""

# A job that goes on for an adopted one of an earlier try finds that try's checkpoint.
_CHECKPOINT = """\
if [ -s "$HEADNODE_DIRECTORY/checkpoint_of" ] && [ ! -e "$HEADNODE_CHECKPOINT" ]; then
  ln -s "$(cat "$HEADNODE_DIRECTORY/checkpoint_of")-checkpoint" "$HEADNODE_CHECKPOINT"
fi
mkdir -p "$HEADNODE_CHECKPOINT"
"""

# ``wait`` returns early when the trap has run, so what it returned counts only where no signal came meanwhile.
_FORWARDING = """\
headnode_signals=0 headnode_command=
trap 'headnode_signals=$((headnode_signals + 1)); kill -USR1 "$headnode_command" 2>/dev/null || :' USR1
{command} <&0 &
headnode_command=$!
[ "$headnode_signals" = 0 ] || kill -USR1 "$headnode_command" 2>/dev/null || :
while :; do
  headnode_before=$headnode_signals
  headnode_status=0
  wait "$headnode_command" || headnode_status=$?
  [ "$headnode_signals" != "$headnode_before" ] || break
done
[ "$headnode_signals" = 0 ] || [ "$headnode_status" = 0 ] || exit {again}
exit "$headnode_status"
"""


def at_end(command: str) -> str:
    """Return the line of a bash script by which ``command`` (shell text without a single quote) runs as it ends.

    The script leaves its exit code after that, which is the one that it had before.
    """
    return f"""trap 'set -- "$?" "${{BASH_COMMAND:-exit}}"; {command} || :; headnode_mark_end "$1" "$2"' EXIT"""


def render_directive(name: str, value: str | None) -> str:
    """Return one ``#SBATCH`` line, quoted as sbatch itself unquotes it (src/sbatch/opt.c, ``_get_argument``)."""
    if value is None:
        return f"#SBATCH --{name}"
    if not _PLAIN_VALUE.fullmatch(value):
        value = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"#SBATCH --{name}={value}"


def render_script(spec: JobSpec, *, checkpoint: bool = False, takes_arguments: bool = False) -> str:
    """Return the whole batch script of ``spec``.

    Its last act, whichever way it ends but by a signal, is to leave its exit code in the file ``end`` (of an array
    ``end.<index>``) of its directory; an author's shell text that sets its own EXIT trap, or ends by ``exec``, takes
    that away. With ``checkpoint`` the directory ``$HEADNODE_CHECKPOINT`` is there, and a
    command given as a list gets the USR1 that the batch shell gets; if it then ends with another code than 0 the
    script ends with ``RUN_AGAIN``. With ``takes_arguments`` each element of an array has its own words as ``"$@"``,
    which are added to a command given as a list.

    Raises:
        JobSpecError: ``script`` is not a shell script, so that nothing can be put before it.
    """
    head, body = _split_author_script(spec.script) if spec.script is not None else ("#!/bin/bash -l\n", "")
    shebang, _, author_directives = head.partition("\n")
    directives = [("job-name", spec.job_name), *spec.directives()]
    lines = [shebang, *(render_directive(name, value) for name, value in directives)]
    if author_directives.strip():
        lines.append(author_directives.rstrip("\n"))
    for component in spec.component_directives():
        lines += ["#SBATCH hetjob", *(render_directive(name, value) for name, value in component)]
    lines += ["", _PROLOGUE.rstrip("\n")]
    if checkpoint:
        lines.append(_CHECKPOINT.rstrip("\n"))
    lines += render_exports(spec.env)
    if spec.secret_env:
        lines += ["", read_secrets(spec.secret_env)]
    if spec.setup:
        lines += ["", spec.setup.rstrip("\n")]
    if takes_arguments:
        lines += ["", READ_ARGUMENTS]
    command = _job_command(spec, checkpoint=checkpoint, takes_arguments=takes_arguments)
    lines += ["", body.rstrip("\n") if spec.script is not None else command]
    lines += ["", "exit $?"]
    return "\n".join(lines) + "\n"


def _job_command(spec: JobSpec, *, checkpoint: bool, takes_arguments: bool) -> str:
    command, prefix = spec.command, f"{spec.launch_prefix} " if spec.launch_prefix else ""
    text = prefix + render_command(command)
    if isinstance(command, list):
        text += ' "$@"' if takes_arguments else ""
    elif not prefix or "#" in str(command):
        return text  # it may be many commands, or end in a comment; behind a prefix it is one
    return _FORWARDING.format(command=text, again=RUN_AGAIN).rstrip("\n") if checkpoint else text


def render_command(command: list[str] | str | None) -> str:
    """Return the command as shell text: a list is quoted element by element, a text is the author's own shell text."""
    if command is None:
        return ""
    if isinstance(command, str):
        return command.rstrip("\n")
    # An unquoted first word may be an assignment or a word of the shell's grammar; quoted, it is a command's name.
    first = command[0] if _COMMAND_NAME.fullmatch(command[0]) else f"''{_quoted(command[0])}"
    return " ".join([first, *map(_quoted, command[1:])])


def render_exports(variables: Mapping[str, str]) -> list[str]:
    """Return a line of shell text for each variable, by name."""
    return [f"export {name}={_quoted(value)}" for name, value in sorted(variables.items())]


def _quoted(value: str) -> str:
    # Slurm refuses a script with DOS line breaks in it, but forms in browsers send them. sbatch takes lines that begin
    # with #PBS or #BSUB for options wherever in a script they are (src/sbatch/opt.c, ``_opt_wrpr_batch_script``), so
    # that no value may begin a line with a ``#``.
    return shlex.quote(value).replace("\r", """'"$(printf '\\r')"'""").replace("\n#", "\n''#")


def asks_for_array(spec: JobSpec) -> bool:
    """Whether Slurm makes a job array of it, by an option or by a directive in the author's script."""
    return _array_indexes(spec) is not None


def expected_elements(spec: JobSpec) -> int | None:
    """Return how many elements (1 for a plain job) Slurm will account for, None where that can't be told."""
    if spec.script and _HETEROGENEOUS.search(_split_author_script(spec.script)[0]):
        return None
    if spec.components:
        return 1 + len(spec.components)
    indexes = _array_indexes(spec)
    return 1 if indexes is None else count_elements(indexes)


def author_options(spec: JobSpec) -> dict[str, str]:
    """Return the memory and the excluded nodes that the directives of the author's script ask for, by long names."""
    if not spec.script:
        return {}
    directives = _AUTHOR_OPTION.findall(_split_author_script(spec.script)[0])
    return {name or "exclude": str(value).strip("\"'") for name, value in directives}


def array_indexes(script: str) -> str:
    """Return what the directives of a batch script say of its array's elements, empty where they say nothing."""
    directives = _ARRAY_DIRECTIVE.findall(_split_author_script(script)[0])
    return str(directives[-1]).strip("\"'") if directives else ""  # of several, sbatch takes the last


def _array_indexes(spec: JobSpec) -> str | None:
    if spec.script and (indexes := array_indexes(spec.script)):
        return indexes
    return spec.sbatch_options.get("array", "") if spec.is_array else None


def _split_author_script(script: str) -> tuple[str, str]:
    """Return the leading comment block with its shebang, and the rest."""
    if "\r\n" in script:
        raise JobSpecError("script", "has DOS line breaks (\\r\\n), which Slurm refuses; save it with Unix line breaks")
    lines = re.findall(r"[^\n]*\n|[^\n]+", script.lstrip("\n"))
    if lines and lines[0].startswith("#!"):
        if not _SHELL.match(lines[0]):
            raise JobSpecError(
                "script",
                f"starts with {lines[0].strip()!r}; only shell scripts can be given, start others with command=",
            )
    else:
        lines.insert(0, "#!/bin/bash -l\n")
    end = next((at for at, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    return "".join(lines[:end]), "".join(lines[end:])
